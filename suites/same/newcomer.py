"""`python -m suites.same.newcomer FOLDER HOW`: what a machine of a kind that no golden was observed
on is told about its records.

FOLDER: what `harness probe --out FOLDER` wrote there. HOW: a sentence on the machine, which begins
with `measured` or `emulated`. Judged here with the committed goldens and the stack's expected list,
as its own verdict would be; written to golden/power/<device key>/newcomer.json, sealed, and to the
page beside it.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.golden import read_goldens
from harness.judging.goldens.judgement import Judgement
from harness.judging.goldens.verdicts import judge
from harness.records.folders import GOLDEN
from harness.records.record import RUNGS, Record, Verdict, read_records
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import build
from suites.same.record import PAGE, placed

# History: 1 (2026-11) first format.
SCHEMA = 1
MEND = "write it again with `python -m suites.same.newcomer FOLDER HOW`"
END = "<!-- end of newcomer -->"
OBTAINED = ("measured", "emulated")


@dataclass(frozen=True)
class Newcomer:
    """how: the sentence, of which the first word says how every value was obtained. versions: of
    the libraries. verdicts: how many values have each, by rung. red: the findings that are wrong
    and not the stack's known ones. not_run: the reason of every value without one, by finding.
    """

    device_key: str
    how: str
    stack: str
    commits: tuple[str, ...]
    python: str
    platform: str
    versions: Mapping[str, str]
    verdicts: Mapping[str, Mapping[str, int]]
    red: tuple[str, ...]
    not_run: Mapping[str, str]
    schema: int = SCHEMA

    def count(self, *verdicts: Verdict) -> int:
        """Of the values of all rungs, those with one of these verdicts; all without any."""
        return sum(
            number
            for by_verdict in self.verdicts.values()
            for verdict, number in by_verdict.items()
            if not verdicts or Verdict(verdict) in verdicts
        )


def newcomer_path(device_key: str, root: Path = GOLDEN) -> Path:
    """Where the power tables of its kind would stand."""
    return root / "power" / device_key / "newcomer.json"


def read(path: Path) -> Newcomer:
    """Raises BadInput naming a file that is malformed, Damaged one that was edited."""
    return build(Newcomer, read_sealed(path, MEND))


def judged(records: Mapping[str, Record], stack: str) -> Judgement:
    """With the committed goldens, as `harness run` judges on the machine itself."""
    return judge(records, read_goldens(), read_expected(stack), facts=None)


def summarised(records: Mapping[str, Record], how: str) -> Newcomer:
    """Raises ValueError where the records are of several machines or stacks, or `how` does not say
    how they were obtained."""
    if how.split(" ", 1)[0] not in OBTAINED:
        raise ValueError(f"{how!r} does not begin with {' or '.join(OBTAINED)}")
    seen = [record.provenance for record in records.values()]
    several = {(one.device_key, one.stack, one.platform) for one in seen}
    if len(several) != 1:
        raise ValueError(f"records of one machine and stack are needed, these are of {several}")
    judgement = judged(records, seen[0].stack)
    verdicts = Counter((item.rung, item.verdict.value) for item in judgement.items)
    return Newcomer(
        device_key=seen[0].device_key,
        how=how,
        stack=seen[0].stack,
        commits=tuple(sorted({one.commit for one in seen})),
        python=seen[0].python,
        platform=seen[0].platform,
        versions=dict(seen[0].versions),
        verdicts={
            rung: {verdict: n for (of, verdict), n in sorted(verdicts.items()) if of == rung}
            for rung in RUNGS
            if rung in records
        },
        red=tuple(item.finding for item in judgement.red),
        not_run={
            item.finding: item.reason for item in judgement.items if item.verdict is Verdict.NOT_RUN
        },
    )


def section(one: Newcomer) -> str:
    """What the page says of it, between its marks."""
    rungs = [RUNGS.index(rung) for rung in one.verdicts]
    red = ", ".join(one.red) or "none"
    return "\n".join(
        [
            _begin(one.device_key),
            f"{one.device_key}: {one.count()} values of {one.stack}'s rungs "
            f"{', '.join(map(str, rungs))} judged with goldens that were observed on x86_64 or "
            f"follow from truths: {len(one.red)} wrong ({red}) beside the stack's known findings, "
            f"{len(one.not_run)} not run "
            f"({', '.join(one.not_run) or 'none'}). {one.how[0].upper()}{one.how[1:]}; "
            f"Python {one.python}, {one.platform}, at {', '.join(one.commits)}.",
            END,
        ]
    )


def _begin(device_key: str) -> str:
    return f"<!-- newcomer {device_key}: written by suites.same.newcomer -->"


def on_page(text: str, one: Newcomer) -> str:
    """The page with a kind of machine's section in the place of its last one, or at the end."""
    return placed(text, _begin(one.device_key), section(one), END)


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0 where nothing is wrong, else 1."""
    parser = argparse.ArgumentParser(prog="python -m suites.same.newcomer", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("how")
    options = parser.parse_args(words)
    one = summarised(read_records(options.folder), options.how)
    path = newcomer_path(one.device_key)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, asdict(one))
    PAGE.write_text(on_page(PAGE.read_text(encoding="utf-8"), one), encoding="utf-8")
    print(section(one))
    return int(bool(one.red))


if __name__ == "__main__":
    sys.exit(main())
