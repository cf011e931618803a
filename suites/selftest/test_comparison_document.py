"""A comparison's document, and what it says of limits and missing rungs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import Lack
from harness.judging.compare.comparison import MissingRung
from harness.judging.compare.document import document_of, read_comparison, to_json, write_comparison
from harness.judging.compare.pairs import Side
from harness.records.record import Status, Verdict
from suites.selftest.comparisons import (
    MEETING,
    blocked,
    broken,
    comparison,
    pair,
)


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        # OLD could, on this very machine.
        (None, Lack.CUDA, True),
        (Lack.CUDA, Lack.CUDA, False),
        (Lack.CUDA, None, False),
        (Lack.QUANTISATION, None, False),
        (Lack.LIBRARY, None, True),
        (Lack.OTHER, Lack.OTHER, False),
    ],
)
def test_a_limit_of_the_machine_is_no_lost_measurement(
    old: Lack | None, new: Lack | None, lost: bool
) -> None:
    """Whatever its sentence says."""
    lacks = {side: lack for side, lack in (("old", old), ("new", new)) if lack}
    sides = {
        side: Side(Status.NOT_RUN, error="one sentence", lack=lack) for side, lack in lacks.items()
    }
    outcome = comparison(
        [pair("model.x", Verdict.NOT_RUN, **sides), pair("forward.y", Verdict.SAME)]
    )
    assert bool(outcome.lost) is lost
    assert outcome.exit_code == (3 if lost else 0)


def test_a_rung_without_a_record_is_missing() -> None:
    outcome = comparison([pair("forward.y", Verdict.SAME)], wanted=("forward", "cost"))
    assert outcome.missing == (MissingRung("cost", ("OLD", "NEW")),)
    assert outcome.missing[0].reason == "OLD and NEW left no record of it"
    entry = to_json(document_of(outcome))["missing"][0]
    assert (entry["rung"], entry["sides"]) == ("cost", ("OLD", "NEW"))
    assert outcome.exit_code == 3


def test_the_document_names_findings_and_packages() -> None:
    outcome = comparison([pair("forward.loss", gap=1.0), pair("update.loss", Verdict.SAME)])
    document = json.loads(json.dumps(to_json(document_of(outcome)), allow_nan=False))
    assert document["schema"] == 2
    assert document["packages"] == {"torch": ["1.9", "2.0"]}
    (finding,) = document["findings"]
    assert finding["id"] == "forward.loss"
    assert finding["old"]["value"] == 1.0
    assert finding["new"]["value"] == 2.0
    assert finding["cause"] == ""
    assert finding["severity"] == "unknown"
    assert document["counts"] == {"CHANGED": 1, "SAME": 1}


def test_the_document_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    pairs = [
        pair("inputs.mask_gap", Verdict.NOT_RUN, new=blocked("forward.loss")),
        broken("forward.loss", "new", "E: gone (a:1)", MEETING),
        pair("update.loss", gap=1.0),
    ]
    document = document_of(comparison(pairs, wanted=("forward", "cost")))
    write_comparison(document, tmp_path)
    assert read_comparison(tmp_path) == document
    (blocking,) = (f for f in document.findings if f.id == "inputs.mask_gap")
    assert (blocking.new.lack, blocking.new.blocked_by) == (Lack.FINDING, "forward.loss")


def test_the_first_rung_that_moved_is_named() -> None:
    outcome = comparison([pair("update.loss"), pair("forward.loss")])
    assert outcome.first_rung == "forward"
    assert "first at forward" in outcome.headline
