"""Stacks compared by `harness compare`: two releases of a library, or one wheel with an edit."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.cli import main
from harness.judging.compare.document import COMPARISON, Document, FindingEntry, read_comparison
from harness.judging.environments.installed import installed_stack
from harness.records.record import RUNGS
from harness.records.trial import AFTER, RELEASE
from suites.faults import releases, releases_blind, releases_fair
from suites.faults.releases import Change
from suites.faults.wheels import PLANTED, Planted, edited_wheel
from suites.trial.headings import headings, unexplained
from suites.trial.record import BEFORE, ROUND, WHEEL, Tried
from suites.trial.why import OTHERS, SHOWN

CHANGES = (*releases.CHANGES, *releases_blind.CHANGES, *releases_fair.CHANGES)
WHEEL_RUNGS = "2-11"
# Chosen whether the register knows them or not: what is known of them counts.
FAIR = releases_fair.FROZEN
# Of those, up to the change's own rung and these at least: of forty pairs of stacks all rungs take
# hours. Cost trains nothing and stands for itself.
AT_LEAST = RUNGS.index("text")
COSTED = "1-8,13"


def try_releases(root: Path, names: Sequence[str]) -> Iterator[Tried]:
    """Every historic change, its two releases side by side; a comparison that is there is read."""
    for number, change in enumerate(CHANGES):
        if names and not any(name in change.name for name in names):
            continue
        out = root / f"{number:02d}"
        if not (out / COMPARISON).is_file():
            sides = [change.stack(change.before), change.stack(change.after)]
            words = ("--model", change.model, "--recipe", change.recipe)
            _compare(sides, out, rungs_of(change), *words)
        yield release_tried(change, read_comparison(out))


def rungs_of(change: Change) -> str:
    """What is measured of a historic change, as `harness compare` takes it."""
    if change.frozen != FAIR:
        return change.rungs
    return COSTED if change.rung == "cost" else f"1-{max(AT_LEAST, RUNGS.index(change.rung))}"


def _compare(sides: Sequence[str], out: Path, rungs: str, *words: str) -> None:
    common = ("--rungs", rungs, "--out", str(out), "--device", "cpu", "--threads", "1")
    code = main(["compare", *sides, *common, *words])
    if not (out / COMPARISON).is_file():
        raise RuntimeError(f"{' and '.join(sides)} were not compared: exit code {code}")


def release_tried(change: Change, document: Document) -> Tried:
    """What came of a historic change; what moved for others between the releases left out."""
    after = change.frozen == ROUND
    moved = (_shown if change.frozen == FAIR else _unknown)(change, document)
    return Tried(
        kind=RELEASE,
        half=AFTER if after else BEFORE,
        frozen=change.frozen if after else "",
        name=change.name,
        library=f"{change.library} {change.before} → {change.after}",
        stack=f"{document.old_given} → {document.new_given}",
        says=change.says,
        source=f"{change.source}, {change.after}",
        expected=change.rung,
        found=_found(change.rung, moved),
        moved=moved[0].rung if moved else "",
        metrics=tuple(f.id for f in moved if f.rung == _found(change.rung, moved))[:3],
        headings=headings(document),
        headings_frozen=headings(document),
        rungs=document.rungs,
        lost=tuple(missing.rung for missing in document.missing),
    )


def _unknown(change: Change, document: Document) -> list[FindingEntry]:
    """What no entry of the register explains and no other change has moved."""
    others = OTHERS.get(change.name, ())
    return [f for f in unexplained(document) if not f.id.startswith(others)]


def _shown(change: Change, document: Document) -> list[FindingEntry]:
    """What shows a change that was chosen whether it is known or not: by hand, from the values."""
    own = SHOWN.get(change.name, ())
    return [f for f in document.findings if own and f.id.startswith(own)]


def _found(expected: str, moved: Sequence[FindingEntry]) -> str:
    """Two releases differ in more than one change: the expected rung where something stands there,
    else the first that moved."""
    rungs = [finding.rung for finding in moved]
    return expected if expected in rungs else next(iter(rungs), "")


def try_wheels(root: Path, names: Sequence[str]) -> Iterator[Tried]:
    """Every edited wheel of the reference stack against the stack as it is."""
    if installed_stack() != "reference":
        raise SystemExit("the reference stack's files are edited: run this on it")
    site = Path(sysconfig.get_path("purelib"))
    for number, planted in enumerate(PLANTED):
        if names and not any(name in planted.name for name in names):
            continue
        out = root / f"wheel-{number:02d}"
        if not (out / COMPARISON).is_file():
            wheel = edited_wheel(site, planted, out / "wheels")
            _compare(["reference", f"reference,{wheel}"], out, WHEEL_RUNGS)
        yield _wheel_tried(planted, read_comparison(out))


def _wheel_tried(planted: Planted, document: Document) -> Tried:
    unknown = unexplained(document)
    return Tried(
        kind=WHEEL,
        half=BEFORE,
        name=planted.name,
        library=planted.library,
        stack="reference",
        says=f"{planted.old} → {planted.new}",
        source=planted.file,
        expected=planted.rung,
        found=unknown[0].rung if unknown else "",
        moved=unknown[0].rung if unknown else "",
        metrics=tuple(f.id for f in unknown[:3]),
        headings=headings(document),
        headings_frozen=headings(document),
        rungs=document.rungs,
        lost=tuple(missing.rung for missing in document.missing),
    )
