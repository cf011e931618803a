"""What one cell says: what is wrong in it, what moved, which packages differ."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from harness.judging.environments.installed import IDENTIFYING
from harness.judging.matrix.kept import State
from harness.judging.matrix.table import CellEntry, Moved, Table, Wrong, is_training
from harness.judging.report.html.markup import Child, Html, join, limited, rows, tag
from harness.judging.report.html.values import SYMBOLS, text_of
from harness.judging.report.matrix.findings import counted, metric_of
from harness.judging.report.matrix.grid import anchor
from harness.judging.report.matrix.names import against_left, against_truth, row_name
from harness.recipe.published import REFERENCE

# Of one cell; the document beside the page has all.
MOST = 8


def card(cell: CellEntry, left: CellEntry | None, table: Table) -> Html:
    """One cell. left: the one that it is compared with."""
    truth, moved = against_truth(cell), against_left(cell)
    chips = [_chip(truth.symbol, truth.word, truth.tone)]
    if moved is not None:
        tone = "missing" if moved.tone == "soft" else moved.tone
        chips.append(_chip(moved.symbol, moved.word, tone))
    heading = tag("h3", f"{row_name(cell, table)} on {cell.stack}")
    body: list[Child] = [tag("header", heading, *chips)]
    if cell.reason:
        body.append(tag("p", f"{cell.state.value}: {limited(cell.reason, 400)}"))
    if cell.state is State.MEASURED:
        body.append(tag("p", _counts(cell), class_="soft small"))
    if left is not None:
        body.append(_packages(left.versions, cell.versions, cell.left))
    if cell.wrong:
        body.append(_wrong(cell.wrong))
    if cell.moved:
        body.append(_moved(cell))
    if left is not None and (command := bisect_command(cell, left)):
        words = tag("p", "Which release between them:", class_="small")
        body += [words, tag("pre", command, class_="command")]
    if cell.page:
        body.append(tag("p", tag("a", "The whole comparison with the left one", href=cell.page)))
    tone = "bad" if "bad" in {truth.tone, moved.tone if moved else ""} else truth.tone
    return tag("div", *body, class_=f"card {tone}", id=anchor(cell))


def _chip(symbol: str, word: str, tone: str) -> Html:
    return tag("span", tag("span", symbol, aria_hidden="true"), " ", word, class_=f"chip {tone}")


def _counts(cell: CellEntry) -> str:
    parts = [f"{cell.right} values true"]
    parts += [f"{len(cell.wrong)} wrong"] if cell.wrong else []
    parts += [f"{cell.missing} with a truth not run"] if cell.missing else []
    if cell.left:
        parts.append(f"{cell.same} the same as on {cell.left}, {len(cell.moved)} moved")
    if cell.calls:
        parts.append(f"{len(cell.calls)} calls of the recipe broke")
    where = f"; measured {cell.measured} on {cell.device_key}" if cell.measured else ""
    return f"{', '.join(parts)}{where}."


def _packages(old: Mapping[str, str], new: Mapping[str, str], left: str) -> Child:
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if not names:
        return None
    shown = [f"{name} {old.get(name, '—')} → {new.get(name, '—')}" for name in names]
    return tag("p", f"Since {left}: {', '.join(shown)}.", class_="small")


def bisect_command(cell: CellEntry, left: CellEntry) -> str:
    """The command that finds the release of the first thing that moved and nobody knows; '' where
    more than one of the recipe's own libraries differs, or all of it is known."""
    unknown = [moved for moved in cell.moved if not (moved.changes or moved.accepted)]
    old, new = left.versions, cell.versions
    differing = [name for name in IDENTIFYING if old.get(name) != new.get(name)]
    if not unknown or len(differing) != 1 or not (old.get(differing[0]) and new.get(differing[0])):
        return ""
    (name,) = differing
    words = ["harness", "bisect", name, "--good", old[name], "--bad", new[name]]
    words += ["--base", cell.stack.partition(",")[0]]
    own = is_training(cell.model)
    words += ["--training", cell.model.partition(":")[2]] if own else ["--model", cell.model]
    words += ["--recipe", cell.recipe] if cell.recipe not in {"", REFERENCE.name} else []
    metric = ".".join(unknown[0].finding.split(".")[:2])
    return shlex.join([*words, "--metric", metric])


def _wrong(wrong: tuple[Wrong, ...]) -> Html:
    """What nobody has listed, value by value; what is listed in a line: the row's table has it."""
    unknown = [each for each in wrong if not each.known]
    body = [
        (
            tag("code", each.finding),
            each.error or text_of(each.value),
            text_of(each.truth),
            limited(each.reason, 240),
        )
        for each in unknown[:MOST]
    ]
    columns = ("Value", "Here", "Truth", "Why")
    table = rows("Wrong as nobody has listed", columns, body) if body else None
    listed = counted(metric_of(each.finding) for each in wrong if each.known)
    line = tag("p", f"Wrong as listed: {listed}.", class_="small") if listed else None
    return join([table, _more(len(unknown), "wrong"), line])


def _moved(cell: CellEntry) -> Html:
    """What no known change explains, value by value; the rest in a line."""
    unknown = [each for each in cell.moved if not each.changes]
    body = [
        (
            tag("code", each.finding),
            _verdict(each),
            limited(text_of(each.old), 120),
            limited(text_of(each.new), 120),
        )
        for each in unknown[:MOST]
    ]
    columns = ("Value", "Verdict", cell.left, "Here")
    caption = f"Moved since {cell.left}, and no known change explains it"
    table = rows(caption, columns, body) if body else None
    known = counted(name for each in cell.moved for name in each.changes)
    words = f"Moved since {cell.left} by known changes: {known}."
    line = tag("p", words, class_="small") if known else None
    return join([table, _more(len(unknown), "moved"), line])


def _verdict(moved: Moved) -> str:
    standing = f" ({moved.standing})" if moved.standing else ""
    return f"{SYMBOLS[moved.verdict]} {moved.verdict.value.replace('_', ' ')}{standing}"


def _more(count: int, word: str) -> Child:
    if count <= MOST:
        return None
    return tag("p", f"{count - MOST} more {word}: in matrix.json.", class_="soft small")
