"""A stack against itself: no finding, however often and on however many threads.

The silence counts because the same bands pass the planted faults (test_faults.py,
test_library_faults.py).
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.judging.compare.rungs import pairs_of
from harness.judging.goldens.bands import read_bands
from harness.judging.goldens.golden import read_goldens
from harness.judging.workers.measure import measure
from harness.records.context import Context
from harness.records.record import RUNGS, Record, Verdict

REPETITIONS = 20
THREADS = (1, 2, 3, 4)


def findings(sides: tuple[tuple[Path, dict[str, Record]], ...]) -> list[str]:
    """What differs between two repetitions."""
    (one, old), (other, new) = sides
    pairs = pairs_of((old, new), (one, other), read_bands(), read_goldens())
    assert any(pair.verdict is Verdict.SAME for pair in pairs)
    out = {Verdict.SAME, Verdict.NOT_RUN}
    # BROKEN on both sides alike is a property of the stack, not a difference of two runs.
    return [p.finding for p in pairs if p.verdict not in out and p.broken != "both"]


@pytest.mark.slow
def test_twenty_repetitions_of_rungs_2_to_10_are_silent(context: Context, tmp_path: Path) -> None:
    runs: list[tuple[Path, dict[str, Record]]] = []
    for number in range(REPETITIONS):
        out = tmp_path / str(number)
        threads = THREADS[number % len(THREADS)]
        records = measure(replace(context, out=out, threads=threads), RUNGS[2:11])
        runs.append((out, records))
        shutil.rmtree(out / "work", ignore_errors=True)
    differences = {
        (i, j): moved
        for (i, one), (j, other) in itertools.combinations(enumerate(runs), 2)
        if (moved := findings((one, other)))
    }
    assert not differences
