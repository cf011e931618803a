"""`python -m suites.same FOLDER`: measure, compare every two, write what came of it."""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from harness.judging.compare.comparison import Comparison
from harness.judging.compare.question import compare_sides
from harness.judging.compare.sides import Side
from harness.judging.compare.spec import CompareSpec
from harness.judging.goldens.expected import read_expected
from harness.judging.workers.resolve import Request
from harness.records.context import STAND_IN
from harness.records.files import read_object, write_json
from harness.records.machine import snapshot
from harness.records.record import RUNGS, Record, read_records
from harness.records.typed import build
from suites.same import record
from suites.same.circumstances import SEED, STACKS, Circumstance, drawn
from suites.same.measuring import COMPARED, folder_of, is_measured, measure


class Silent:
    """Nobody looks on."""

    def tick(self) -> None:
        """Nothing to draw."""

    def say(self, line: str) -> None:
        """Nothing to say."""


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0 where no comparison is an alarm, 1 where one is, 3 where time did not suffice."""
    parser = argparse.ArgumentParser(prog="python -m suites.same", description=__doc__)
    parser.add_argument("folder", type=Path, help="takes the records; what it holds is kept")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no measurement after it")
    parser.add_argument("--only-compare", action="store_true", help="what is measured so far")
    options = parser.parse_args(words)
    root, begun = options.folder.resolve(), time.monotonic()
    for one in drawn():
        if options.only_compare or is_measured(root, one):
            continue
        if time.monotonic() - begun > options.seconds:
            print("the rest is measured by the same command again")
            return 3
        started = time.monotonic()
        measure(root, one)
        print(f"{one.name} in {time.monotonic() - started:.0f} s", flush=True)
    same = compared(root, measured(root))
    record.write(same, record.same_path(same.device_key))
    text = record.PAGE.read_text(encoding="utf-8")
    record.PAGE.write_text(record.on_page(text, same), encoding="utf-8")
    print(f"{len(same.compared)} comparisons, {same.alarms} alarms")
    return int(same.alarms > 0)


def measured(root: Path) -> tuple[Circumstance, ...]:
    """Those of the drawn ones that have their records."""
    return tuple(one for one in drawn() if is_measured(root, one))


def compared(root: Path, circumstances: tuple[Circumstance, ...]) -> record.Same:
    """Every two of one stack that share a rung, compared from their records."""
    by_name = {one.name: one for one in circumstances}
    folders = {one.name: folder_of(root, one) for one in circumstances}
    records = {name: read_records(folder) for name, folder in folders.items()}
    at = {stack: next(iter(records[f"{stack}-00"].values())).provenance for stack in STACKS}
    outcomes = []
    for old, new in record.sharing(circumstances):
        kept = root / COMPARED / f"{old}+{new}.json"
        if not kept.is_file():
            sides = tuple(Side(name, f"{folders[name]}/", folders[name]) for name in (old, new))
            outcome = _outcome(compare((by_name[old], by_name[new]), sides), old, new)
            kept.parent.mkdir(exist_ok=True)
            write_json(kept, asdict(outcome))
        outcomes.append(build(record.Compared, read_object(kept)))
    seen, first = snapshot(), at[STACKS[0]]
    return record.Same(
        seed=SEED,
        device_key=first.device_key,
        cpu=seen.cpu,
        cores=seen.cores,
        commits=_commits(records),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=round(sum(r.seconds for each in records.values() for r in each.values()), 1),
        versions={stack: dict(provenance.versions) for stack, provenance in at.items()},
        circumstances=circumstances,
        compared=tuple(outcomes),
    )


def _commits(records: Mapping[str, Mapping[str, Record]]) -> dict[str, tuple[str, ...]]:
    """By commit the circumstances that have a record of it."""
    of: dict[str, dict[str, None]] = {}
    for name, by_rung in records.items():
        for each in by_rung.values():
            of.setdefault(each.provenance.commit, {})[name] = None
    return {commit: tuple(names) for commit, names in of.items()}


def compare(
    circumstances: tuple[Circumstance, Circumstance], sides: tuple[Side, ...]
) -> Comparison:
    """What `harness compare OLD/ NEW/ --rungs …` finds on the rungs that both measured, with what
    is broken on the stack accepted: that is on both sides, and no difference."""
    stack, (one, other) = circumstances[0].stack, (set(each.rungs) for each in circumstances)
    accepted = frozenset(wish.finding for wish in read_expected(stack))
    old, new = sides
    spec = CompareSpec(
        old.text,
        new.text,
        Request(stack, STAND_IN, "catalogue"),
        tuple(rung for rung in RUNGS if rung in one & other),
        rungs_named=True,
        accepted=accepted,
    )
    return compare_sides(spec, (old, new), Silent())


def _outcome(comparison: Comparison, old: str, new: str) -> record.Compared:
    """Every finding counts, an accepted one too, and whatever was not compared."""
    alarms = [finding.pair.finding for finding in comparison.findings]
    alarms += [f"{pair.finding} was not compared" for pair in comparison.lost]
    alarms += [f"{missing.rung}: {missing.reason}" for missing in comparison.missing]
    return record.Compared(old, new, comparison.compared, comparison.exit_code, tuple(alarms))


if __name__ == "__main__":
    sys.exit(main())
