"""Cells judged: each against the truths, and against the nearest measured one to its left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.judging.compare.causes import compare
from harness.judging.compare.comparison import Comparison, Finding
from harness.judging.compare.pairs import Side
from harness.judging.compare.register import Change, read_register
from harness.judging.compare.rungs import pairs_of
from harness.judging.goldens.bands import Bands, read_bands
from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.golden import Golden, read_goldens
from harness.judging.goldens.judgement import RED, Judged, facts_of
from harness.judging.goldens.own import goldens_for
from harness.judging.goldens.verdicts import judge
from harness.judging.matrix.cells import Cell
from harness.judging.matrix.kept import Kept, Outcome, State
from harness.judging.matrix.memo import PAGES, Measured, Memo, remembering
from harness.judging.matrix.table import CellEntry, Moved, Wrong, short
from harness.judging.matrix.trainings import against_checks, held_to
from harness.records.files import json_digest, text_digest
from harness.records.folders import GOLDEN, PACKAGE
from harness.records.machine import RELEVANT
from harness.records.record import Status, Verdict
from harness.records.typed import Json

# Calls that the recipe makes, and what around them a release may change: no wrong value.
CALLS = ("environment.", "interface.call.", "interface.adapter.", "interface.lora_fields")
# The stacks whose findings are listed and looked at.
COMMITTED = ("reference", "latest")
# A comparison's page.
Draw = Callable[[Comparison], bytes]


@dataclass(frozen=True)
class Yardstick:
    """What every cell is held against: what is committed, what values may move by, the known
    changes of the libraries, and the finding ids that are accepted. digest: of all that decides a
    judgement, '' where nothing that was judged before may be taken as it is."""

    goldens: tuple[Golden, ...]
    bands: Bands
    register: tuple[Change, ...]
    accepted: frozenset[str] = frozenset()
    digest: str = ""

    def of(self, *folders: Path) -> tuple[Golden, ...]:
        """The goldens of records in these folders."""
        return goldens_for(*folders, committed=self.goldens)


def read_yardstick(accepted: frozenset[str] = frozenset()) -> Yardstick:
    """All of it, read once."""
    digest = json_digest([judging_digest(), sorted(accepted)])
    return Yardstick(read_goldens(), read_bands(), read_register(), accepted, digest)


def judging_digest() -> str:
    """16 hex digits over the code that judges and draws, and over what is committed."""
    files = [p for p in (PACKAGE / "judging").rglob("*") if p.suffix != ".pyc" and p.is_file()]
    for name in ("truth", "observed", "expected", "bands"):
        files += (GOLDEN / name).rglob("*.json")
    return json_digest([[str(p), text_digest(p.read_bytes())] for p in sorted(files)])


def judged_cells(
    cells: Sequence[Cell],
    outcomes: Mapping[str, Outcome],
    kept: Kept,
    yardstick: Yardstick,
    draw: Draw | None = None,
    out: Path | None = None,
) -> tuple[CellEntry, ...]:
    """Every cell's entry, in the cells' order. outcomes: by key; a cell without one is pending.
    draw: makes the pages of comparisons, into a folder of `out`."""
    with remembering(kept.root / "judged"):
        return tuple(_entries(cells, outcomes, kept, yardstick, draw, out))


def _entries(
    cells: Sequence[Cell],
    outcomes: Mapping[str, Outcome],
    kept: Kept,
    yardstick: Yardstick,
    draw: Draw | None,
    out: Path | None,
) -> Iterator[CellEntry]:
    # What was judged without a page has none to show.
    digest = f"{yardstick.digest}{'+pages' if draw else ''}" if yardstick.digest else ""
    left: dict[tuple[str, str, str], Measured] = {}
    for cell in cells:
        outcome = outcomes.get(cell.key, Outcome(State.PENDING))
        place = (cell.stack.label, cell.model, cell.recipe, cell.device)
        entry = CellEntry(*place, cell.key, outcome.state, outcome.reason)
        if outcome.state in {State.MEASURED, State.DIED} and kept.has_records(cell):
            row, here = place[1:], Measured(cell, kept)
            memo = Memo(kept.root / "judged", digest, here, left.get(row))
            entry = memo.entry() or _judged(entry, here, left.get(row), yardstick, memo, draw)
            memo.publish(entry, out)
            left[row] = here
        yield entry


def _judged(
    entry: CellEntry,
    here: Measured,
    there: Measured | None,
    yardstick: Yardstick,
    memo: Memo,
    draw: Draw | None,
) -> CellEntry:
    entry = _with_place(entry, here)
    if here.cell.training is not None:
        entry = against_checks(entry, here, yardstick.accepted)
    else:
        entry = _against_truths(entry, here, yardstick)
    page = b""
    if there is not None:
        comparison = compared(there, here, yardstick)
        entry = _against_left(entry, there, comparison)
        if draw is not None and entry.moved:
            page = draw(comparison)
            entry = replace(entry, page=f"{PAGES}/{entry.key}.html")
    memo.keep(entry, page)
    return entry


def _with_place(entry: CellEntry, here: Measured) -> CellEntry:
    """When, on what and with which versions it was measured."""
    one = next((r for r in here.records.values() if r.provenance.device_key), None)
    place = (one or next(iter(here.records.values()))).provenance
    versions = {n: v for n, v in place.versions.items() if n in RELEVANT}
    return replace(
        entry, measured=place.created[:10], device_key=place.device_key, versions=versions
    )


def _against_truths(entry: CellEntry, here: Measured, yardstick: Yardstick) -> CellEntry:
    facts = facts_of(here.records)
    goldens = [g for g in yardstick.of(here.folder) if g.kind == "truth"]
    reasons: dict[str, str] = {}
    items: tuple[Judged, ...] = ()
    # What a committed stack is listed with is known wherever it shows itself of that size; without
    # a size, as the positions of pictures, another stack may well have another fault.
    for stack in (facts.stack_name, *COMMITTED):
        listed = read_expected(stack, recipe=facts.recipe_name, family=facts.family)
        listed = tuple(wish for wish in listed if wish.band or stack == facts.stack_name)
        items = judge(here.records, goldens, listed, facts, yardstick.accepted).items
        why = {wish.finding: wish.reason for wish in listed}
        reasons = {i.finding: why.get(i.finding, "") for i in items if i.known} | reasons
    own = [item for item in items if item.kind in {"truth", "status"}]
    wrong = [item for item in own if item.verdict in RED and not item.finding.startswith(CALLS)]
    calls = [i.finding for i in own if i.verdict is Verdict.BROKEN and i.finding.startswith(CALLS)]
    return replace(
        entry,
        right=sum(i.kind == "truth" and i.verdict is Verdict.SAME for i in own),
        missing=sum(i.kind == "truth" and i.verdict is Verdict.NOT_RUN for i in own),
        wrong=tuple(_wrong(item, reasons) for item in wrong),
        calls=tuple(calls),
    )


def _wrong(item: Judged, known: Mapping[str, str]) -> Wrong:
    """known: the reasons of what a list of expected findings knows, by finding."""
    broken = item.verdict is Verdict.BROKEN
    return Wrong(
        item.finding,
        item.rung,
        item.verdict,
        short(item.golden),
        short(item.now),
        item.reason if broken else "",
        known.get(item.finding, "" if broken else item.reason),
        item.finding in known or item.accepted,
    )


def _against_left(entry: CellEntry, there: Measured, comparison: Comparison) -> CellEntry:
    return replace(
        entry,
        left=there.cell.stack.label,
        moved=tuple(_moved(finding) for finding in comparison.own),
        same=sum(pair.verdict is Verdict.SAME for pair in comparison.pairs),
    )


def compared(there: Measured, here: Measured, yardstick: Yardstick) -> Comparison:
    """Two cells of a row, as `harness compare` compares their folders of records."""
    folders = (there.folder, here.folder)
    own = here.cell.training is not None
    bands, goldens = held_to(*folders) if own else (yardstick.bands, yardstick.of(*folders))
    pairs = pairs_of((there.records, here.records), folders, bands, goldens)
    labels = (there.cell.stack.label, here.cell.stack.label)
    return compare(
        labels,
        (there.records, here.records),
        pairs,
        yardstick.register,
        accepted=yardstick.accepted,
        given=labels,
    )


def _moved(finding: Finding) -> Moved:
    pair = finding.pair
    return Moved(
        pair.finding,
        pair.rung,
        pair.verdict,
        pair.standing,
        tuple(change.name for change in finding.known),
        finding.severity,
        _side(pair.old),
        _side(pair.new),
        finding.accepted,
        finding.is_red,
    )


def _side(side: Side) -> Json:
    return short(side.value) if side.status is Status.OK else side.error
