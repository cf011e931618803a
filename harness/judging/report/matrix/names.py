"""What a matrix calls its stacks, models and cells, the same in every form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.judging.matrix.kept import State
from harness.judging.matrix.table import CellEntry, Table, is_training

# A package and its release.
_RELEASE = re.compile(r"([a-z0-9_.]+)[ -]([0-9][^ ,]*)")


def stack_names(labels: Sequence[str]) -> dict[str, str]:
    """A short name by label: of varied stacks of one base, the first thing that varies them where
    that tells them apart, else all of it; of others the label."""
    bases = {label.partition(",")[0] for label in labels}
    varied = {label: label.partition(",")[2].replace("==", " ") for label in labels}
    if len(bases) > 1 or sum(map(bool, varied.values())) < 2:
        return {label: label for label in labels}
    first = {label: text.partition(",")[0] or label for label, text in varied.items()}
    whole = {label: text or label for label, text in varied.items()}
    plain = {label: label for label in labels}
    return next(names for names in (first, whole, plain) if len(set(names.values())) == len(labels))


def column_names(names: Sequence[str]) -> tuple[str, list[str]]:
    """What the names of several columns begin with, a package, and each without it: of
    `transformers 4.46.3` and `transformers-5.0.0` the release alone."""
    heads = {match[1] for name in names if (match := _RELEASE.fullmatch(name))}
    if len(heads) != 1 or sum(bool(_RELEASE.fullmatch(name)) for name in names) < 2:
        return "", list(names)
    (head,) = heads
    return head, [match[2] if (match := _RELEASE.fullmatch(name)) else name for name in names]


def names_of(table: Table) -> dict[str, str]:
    """Short names of stacks by label: of releases of one package their numbers."""
    names = stack_names(table.stacks)
    _, short = column_names([names[label] for label in table.stacks])
    return dict(zip(table.stacks, short, strict=True))


def model_name(model: str) -> str:
    """A tiny model by its family, a training by its file's name."""
    if is_training(model):
        return model.rpartition("/")[2].removeprefix("training:")
    return model.removeprefix("tiny:")


def row_name(cell: CellEntry, table: Table) -> str:
    """A row by its model, and by recipe and device where there are several."""
    words = [model_name(cell.model)]
    words += [cell.recipe] if len(table.recipes) > 1 and cell.recipe else []
    words += [cell.device] if len(table.devices) > 1 else []
    return " · ".join(words)


@dataclass(frozen=True)
class Told:
    """A cell in two words. tone: as the page colours it."""

    symbol: str
    word: str
    tone: str


_STATES = {
    State.DIED: Told("✗", "died", "bad"),
    State.NOT_RUN: Told("○", "does not run", "missing"),
    State.REFUSED: Told("○", "refused", "missing"),
    State.UNBUILT: Told("○", "not installed", "missing"),
    State.PENDING: Told("○", "not measured", "missing"),
}


def against_truth(cell: CellEntry) -> Told:
    """The first rung that is wrong against the truth as nobody has listed it, else as it is listed,
    by another symbol; and how many others are wrong in the same way."""
    if cell.state is not State.MEASURED:
        return _STATES[cell.state]
    if cell.wrong:
        # What nobody has listed is where to look, before what is known.
        unknown = tuple(wrong for wrong in cell.wrong if not wrong.known)
        rungs = dict.fromkeys(wrong.rung for wrong in unknown or cell.wrong)
        rung, others = next(iter(rungs)), len(rungs) - 1
        more = f" +{others}" if others else ""
        return Told("✗", f"{rung}{more}", "bad") if unknown else Told("◐", f"{rung}{more}", "known")
    if not cell.right:
        return Told("○", "no truth", "missing")
    return Told("✓", "right", "good")


def against_left(cell: CellEntry) -> Told | None:
    """The first rung that moved against the left neighbour; None where there is none."""
    if cell.state is not State.MEASURED or not cell.left:
        return None
    if not cell.moved:
        return Told("=", "same", "soft")
    known = all(moved.changes or moved.accepted for moved in cell.moved)
    return Told("≠", cell.first_moved, "known" if known else "bad")
