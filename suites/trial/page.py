"""golden/power/TRIAL.md: what of planted faults and historic changes is found, and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.judging.report.ci.markdown import cell, code
from harness.records.folders import GOLDEN
from harness.records.record import RUNGS
from harness.records.trial import AFTER, RELEASE
from suites.trial.record import BEFORE, MOST_HEADINGS, PLANTED, WHEEL, Trial, Tried, read
from suites.trial.why import MISSED, NOTHING

PAGE = GOLDEN / "power" / "TRIAL.md"
TITLES = {
    (PLANTED, BEFORE): "Planted, known while the code was written",
    (WHEEL, BEFORE): "Planted in wheels, known while the code was written",
    (RELEASE, BEFORE): "Historic changes, known while the code was written",
    (PLANTED, AFTER): "Planted, chosen for {frozen}",
    (RELEASE, AFTER): "Historic changes, chosen for {frozen}",
}
# Of every round of the second half: by whom it was chosen.
ROUNDS = {
    "1a775a4": "from the releases' source, by one who had read the probes",
    "eedd55d": "from the libraries' source, by one who had read neither probes nor truths; that "
    "each acts was looked at before, without the judge",
    "df7f64c": "from the libraries' source and issues, by another who had read neither, while the "
    "probes were widened; that each acts was looked at before, without the judge",
    "45935d8": "from the same, by a third who had read neither, while the probes were widened "
    "again; a rung is the earliest that executes and uses what is changed; that each acts was "
    "looked at before, without the judge",
    "0dfde40": "from the same and by the same rule, by a fourth who had read neither, nor the "
    "judge; that each acts was looked at before, without the judge",
    "feb68d7": "forty changes of the libraries from their source, by two who had read neither the "
    "register nor probes nor truths, whether the register knows them or not; *found* is one by a "
    "difference that is its own, told by hand from the values (suites/trial/why.py). Measured up "
    "to the change's own rung, for want of time four pairs of stacks at that alone (a change of "
    "rung 12 not even there) and one at rungs 1 and 4",
}


@dataclass(frozen=True)
class Group:
    """What stands together on the page."""

    kind: str
    half: str
    frozen: str = ""

    @property
    def title(self) -> str:
        return TITLES[self.kind, self.half].format(frozen=self.frozen)

    def of(self, trial: Trial, stack: str = "") -> list[Tried]:
        """Its faults or changes, of one stack where faults are planted into several."""
        mine = self.kind, self.half, self.frozen
        chosen = [one for one in trial.tried if (one.kind, one.half, one.frozen) == mine]
        return [one for one in chosen if one.stack == stack] if stack else chosen


def groups() -> list[Group]:
    """All that the page has, those of no round first."""
    known = [Group(kind, half) for kind, half in TITLES if half == BEFORE]
    kinds = [kind for kind, half in TITLES if half == AFTER]
    return known + [Group(kind, AFTER, frozen) for frozen in ROUNDS for kind in kinds]


def publish() -> None:
    """Write the page from the record."""
    PAGE.write_text(text(read()), encoding="utf-8")


def text(trial: Trial) -> str:
    """The whole page."""
    return "\n".join(_lines(trial)) + "\n"


def _lines(trial: Trial) -> Iterator[str]:
    yield "# The judge judged: which faults and changes are found, and at which rung"
    yield ""
    yield from (
        "Written by `python -m suites.trial page` from trial.json, which `python -m suites.trial`",
        "fills by trying each; a test keeps it so. *Found* is the first rung that the goldens call",
        "wrong and that is right without the fault; of two releases one with a difference that no",
        "entry of the register explains. A round's faults were written down and committed before",
        "one of them was tried, for harness/ as of its commit:",
        "",
        *(f"- {frozen}: {chosen}" for frozen, chosen in ROUNDS.items()),
        "",
        "Known ones are tried again by newer code, those of earlier rounds among them. *Moved* is",
        "the first rung that differs in a comparison with the same stack without the fault.",
        "Headings are those of the comparison's front page. Changes that the register knows are",
        "not counted, but in the last round: where each belongs was said after it was seen.",
        "",
    )
    yield (
        "| | tried | at their own rung | at an earlier one | at a later one | not found | "
        "change nothing executed | first moved at their own rung |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for group in groups():
        for stack in _stacks(group.of(trial), group.kind):
            yield _figures(group.title, group.of(trial, stack), stack)
    yield ""
    yield from _headings(trial.tried)
    for group in groups():
        if tried := group.of(trial):
            yield from ("", f"## {group.title}", "")
            yield from _table(tried)


def _stacks(tried: Sequence[Tried], kind: str) -> list[str]:
    if kind != PLANTED:
        return [""] if tried else []
    return sorted({one.stack for one in tried})


def share(tried: Sequence[Tried]) -> tuple[int, int, int, int, int, int]:
    """Tried, found at their own rung, at an earlier one, at a later one, nowhere, and of all but
    the first what changes nothing."""
    own = sum(one.at_own for one in tried)
    nowhere = sum(not one.found for one in tried)
    earlier = sum(
        bool(one.found) and RUNGS.index(one.found) < RUNGS.index(one.expected) for one in tried
    )
    idle = sum(one.name in NOTHING for one in tried if not one.at_own)
    return len(tried), own, earlier, len(tried) - own - earlier - nowhere, nowhere, idle


def _figures(title: str, tried: Sequence[Tried], stack: str) -> str:
    number, own, earlier, later, nowhere, idle = share(tried)
    where = f", on `{stack}`" if stack else ""
    real = number - idle
    own_share = f"{own} ({100 * own // number} %"
    own_share += f"; of the {real} that change something {100 * own // real} %)" if idle else ")"
    moved = sum(one.moved == one.expected for one in tried)
    counts = f"{earlier} | {later} | {nowhere} | {idle} | {moved}"
    return f"| {title}{where} | {number} | {own_share} | {counts} |"


def _headings(tried: Sequence[Tried]) -> Iterator[str]:
    planted = [one for one in tried if one.kind in {PLANTED, WHEEL}]
    was = [one for one in planted if one.headings_frozen > MOST_HEADINGS]
    now = [one for one in planted if one.headings > MOST_HEADINGS]
    yield (
        f"One planted cause had more than {MOST_HEADINGS} headings in {len(was)} of {len(planted)} "
        f"comparisons by the frozen code, in {len(now)} as the front page puts them together since."
    )
    for one in now:
        yield f"- {cell(one.name)}, on `{code(one.stack)}`: {one.headings}"


def _table(tried: Sequence[Tried]) -> Iterator[str]:
    yield "| expected | found | moved | what | where | by | headings (frozen) |"
    yield "|---|---|---|---|---|---|---|"
    for one in tried:
        name = one.name if one.says in {one.name, ""} else f"{one.name}: `{code(one.says)}`"
        head, _, line = name.partition(": `")
        name = cell(head) + (f": `{line}" if line else "")
        rung = one.found or "–"
        rung = rung if one.at_own else f"**{rung}**"
        source = f"`{code(one.source)}`" if one.source.startswith("suites/") else cell(one.source)
        where = ", ".join(filter(None, (cell(one.library), source)))
        by = ", ".join(f"`{code(metric)}`" for metric in one.metrics[:2])
        note = "" if one.at_own else NOTHING.get(one.name, MISSED.get(one.name, ""))
        yield (
            f"| {one.expected} | {rung} | {one.moved or '–'} | "
            f"{name}{'. ' + cell(note) if note else ''} | "
            f"{where} | {by} | {one.headings} ({one.headings_frozen}) |"
        )
