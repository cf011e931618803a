"""Limits in pixels that a call gives, as they were measured on releases of transformers: what moved
between any two of them is explained, whole, and what stayed is no difference."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations, permutations

import pytest

from harness.judging.compare.pairs import Pair, pair_records
from harness.judging.compare.register import at_work, explanation, read_register
from harness.judging.goldens.bands import read_bands
from harness.judging.goldens.golden import read_goldens
from harness.records.failure import Failure
from harness.records.record import Metric, Record, Status
from harness.records.typed import Json
from suites.selftest.verdicts import record

WAYS = ("most_in_call", "fewest_in_call", "most_in_images_kwargs", "size_in_call")
REFUSED = "Qwen2VLImageProcessor.preprocess() got an unexpected keyword argument 'max_pixels'"
# Of 34 by 46 patches, the picture as it is: 391 image tokens.
WHOLE, SMALL, LARGE = ([1, 34, 46], 391), ([1, 12, 18], 54), ([1, 44, 58], 638)
READ = (SMALL, LARGE, SMALL, SMALL)
# Measured on 2026-11-30 with the probe itself; None: TypeError.
SEEN = {
    "4.45.1": (None, None, None, WHOLE),
    "4.46.3": (None, None, None, WHOLE),
    "4.49.0": (WHOLE, WHOLE, None, WHOLE),
    "4.50.3": READ,
    "4.53.3": READ,
    "4.56.2": (SMALL, LARGE, SMALL, WHOLE),
    "4.57.6": (SMALL, LARGE, SMALL, WHOLE),
    "5.0.0": (WHOLE, WHOLE, WHOLE, SMALL),
    "5.3.0": (WHOLE, WHOLE, WHOLE, SMALL),
    "5.4.0": (WHOLE, WHOLE, WHOLE, SMALL),
    "5.17.0": (WHOLE, WHOLE, WHOLE, SMALL),
    "5.18.0": READ,
    "5.23.0": READ,
    "5.24.0": READ,
}


def measured(release: str) -> Record:
    metrics = []
    for way, seen in zip(WAYS, SEEN[release], strict=True):
        if seen is None:
            failure = Failure("TypeError", REFUSED, "image_processing_utils.py:41")
            metrics.append(
                Metric("images", "limited_grid", way, status=Status.BROKEN, failure=failure)
            )
            continue
        grid, tokens = seen
        metrics += [
            Metric("images", "limited_grid", way, [*grid]),
            Metric("images", "limited_tokens", way, tokens),
        ]
    return record("images", *metrics, versions={"transformers": release})


# Read once for all pairs of releases.
bands, goldens, known = cache(read_bands), cache(read_goldens), cache(read_register)


@cache
def moved(old: str, new: str) -> list[Pair]:
    pairs = pair_records(measured(old), measured(new), bands(), goldens())
    return [pair for pair in pairs if pair.differs]


@pytest.mark.parametrize(("old", "new"), [*combinations(SEEN, 2)])
def test_what_moved_between_two_releases_is_known(old: str, new: str) -> None:
    register = known()
    for before, after in ((old, new), (new, old)):
        pairs = moved(before, after)
        versions = {"transformers": before}, {"transformers": after}
        working = at_work(register, pairs, *versions)
        unknown = [pair.finding for pair in pairs if not explanation(pair, working)]
        assert unknown == [], (before, after)
    assert bool(moved(old, new)) == (SEEN[old] != SEEN[new])


# Measured on 2026-11-30 with the probe itself, on transformers 4.45.1 and 5.24.0 alike.
CONTRADICTED: dict[str, Json] = {
    "0.0.8": [168, 252],
    "0.0.11": [168, 252],
    "0.0.13": "refused: AssertionError",
    "0.0.14": "refused: AssertionError",
}


@pytest.mark.parametrize(("old", "new"), [*permutations(CONTRADICTED, 2)])
def test_limits_of_which_none_is_between_are_known_to_be_refused(old: str, new: str) -> None:
    sides = [
        record(
            "images",
            Metric("images", "contradiction", "in_message", CONTRADICTED[release]),
            versions={"qwen-vl-utils": release},
        )
        for release in (old, new)
    ]
    pairs = [pair for pair in pair_records(*sides, bands()) if pair.differs]
    versions = {"qwen-vl-utils": old}, {"qwen-vl-utils": new}
    working = at_work(known(), pairs, *versions, "qwen2_vl")
    assert bool(pairs) == (CONTRADICTED[old] != CONTRADICTED[new])
    assert all(explanation(pair, working) for pair in pairs)
    odd = [replace(pair, new=replace(pair.new, value=[1, 1])) for pair in pairs]
    assert not any(explanation(pair, working) for pair in odd)
