"""The committed truths of rungs 2 to 5 are what the oracles say today, not what someone typed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from harness.judging.goldens.golden import Golden, read_goldens
from harness.measuring.snapshots.source import STAND_IN, resolve
from suites import write_truths

# The ids that transformers' own integration test for Qwen2-VL expects, first 17.
INTEGRATION = [
    151644,
    8948,
    198,
    2610,
    525,
    264,
    10950,
    17847,
    13,
    151645,
    198,
    151644,
    872,
    198,
    151652,
    151655,
    151655,
]


def key(golden: Golden) -> tuple[str, str, str]:
    return golden.rung, golden.metric, golden.model


COMMITTED = {key(g): g for g in read_goldens() if g.kind == "truth"}


def worked_out() -> Iterator[Golden]:
    yield from chain(write_truths.text_truths(), write_truths.id_constants())
    yield from write_truths.vocabulary_truths(STAND_IN, "stand-in")
    given = os.environ.get("HARNESS_MODEL")
    if given and Path(given).is_dir() and resolve(given).vocabulary == "real":
        yield from write_truths.vocabulary_truths(Path(given), "real-vocabulary")
    yield from write_truths.image_truths()


@pytest.mark.parametrize("golden", worked_out(), ids=lambda g: "-".join(key(g)))
def test_the_oracle_still_says_so(golden: Golden) -> None:
    committed = COMMITTED[key(golden)].cases
    different = {case for case, value in golden.cases.items() if committed.get(case) != value}
    different |= set(committed) - set(golden.cases)
    assert not different


def test_the_real_vocabularys_truth_begins_with_the_published_ids() -> None:
    """Without the snapshot too: the committed ids agree with the published vector."""
    assert COMMITTED["ids", "encoded", "real-vocabulary"].cases["integration"] == INTEGRATION
