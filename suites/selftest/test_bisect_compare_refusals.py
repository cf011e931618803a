"""What a bisect of a comparison cannot answer, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.judging.bisect.bench import Measured
from harness.judging.bisect.findings import chosen
from harness.judging.compare.document import Document, FactsEntry, FindingEntry
from harness.judging.compare.pairs import CROSSED as CROSSING
from harness.judging.report.bisect.page import sentences
from harness.measuring.child import crossing
from harness.records.context import Context
from harness.records.typed import build
from suites.selftest.compared_stacks import ROUNDING, Comparison, edges, finding


@pytest.fixture
def comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    return Comparison(tmp_path, monkeypatch)


CROSSED = tuple(finding(f"trajectory.adapter_{n}.saved_by_old") for n in ("read", "lost"))


def test_what_needs_both_stacks_at_once_is_refused_in_words(comparison: Comparison) -> None:
    answer = comparison.bisect(finding("forward.one"), *CROSSED)
    assert edges(answer, "one") == [("c", "3.7", "3.8")]
    text = "\n".join(sentences(answer))
    assert "saved_by_old: cannot be bisected: it needs both stacks at once" in text
    assert "does not bring it" not in text
    assert answer.exit_code == 3
    for words in ((), ["trajectory.adapter_read.saved_by_old"]):
        with pytest.raises(BadInput, match="it needs both stacks at once"):
            comparison.bisect(*CROSSED, wanted=words)


def test_what_only_the_crossing_measures_is_known_by_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {"digest": "d", "saved": 2, "kept": 2, "without": []}
    monkeypatch.setattr(crossing, "_read", lambda context, adapter: shown)
    context = Context(
        "reference", "stand-in", "catalogue", Path(), True, tmp_path, family="qwen2_vl"
    )
    record = crossing.run(context, {"saved_by_old": tmp_path})
    assert {m.name for m in record.metrics} == set(CROSSING)


def test_values_that_only_the_truth_tells_apart_are_refused_in_words(
    comparison: Comparison,
) -> None:
    """Within the band of each other, the one just inside the truth's and the other outside."""
    sides = {n: {"status": "OK", "value": v} for n, v in (("old", 1.0), ("new", 1.000001))}
    with pytest.raises(BadInput, match="only the truth tells its two values apart"):
        comparison.bisect(finding("forward.near", band=ROUNDING, standing="broke", **sides))


def test_what_neither_stack_shows_by_itself_is_said(comparison: Comparison) -> None:
    answer = comparison.bisect(finding("forward.gone"))
    (sentence, *_) = sentences(answer)
    assert sentence.startswith(
        "forward.gone: cannot be bisected: There is no forward.gone; near it"
    )
    assert answer.exit_code == 3


def test_a_package_that_could_not_be_tried_leaves_the_answer_open(comparison: Comparison) -> None:
    comparison.bench.broken = "d"
    answer = comparison.bisect(finding("forward.one"))
    assert edges(answer, "one") == [("c", "3.7", "3.8")]
    assert answer.exit_code == 3
    text = "\n".join(sentences(answer))
    assert "Not tried, so another cause may hide there: d (d==4.9 does not resolve)." in text


def test_stacks_whose_packages_cannot_be_swapped(comparison: Comparison) -> None:
    comparison.monkeypatch.setattr(
        comparison.bench, "measure", lambda asked: Measured("x", None, {}, "no room.")
    )
    answer = comparison.bisect(finding("forward.one"))
    assert "forward.one: cannot be bisected: reference" in sentences(answer)[0]
    assert "no room." in sentences(answer)[0]
    assert answer.exit_code == 3


def listed(*findings: tuple[str, str, str]) -> Document:
    entries = tuple(
        build(FindingEntry, finding(name, rung=rung, cause=why)) for name, rung, why in findings
    )
    facts = FactsEntry("stand-in", "catalogue", "m", "cpu-x")
    return Document("reference", "latest", facts, {}, entries)


def test_what_follows_from_another_is_bisected_only_by_name() -> None:
    raw = listed(("inputs.x", "inputs", ""), ("forward.y", "forward", "inputs.x"))
    assert [q.finding for q in chosen(raw, [])[0]] == ["inputs.x"]
    assert [q.finding for q in chosen(raw, ["forward.y"])[0]] == ["forward.y"]
    with pytest.raises(BadInput, match="name one with --finding"):
        chosen(listed(("forward.y", "forward", "inputs.x")), [])
    with pytest.raises(BadInput, match=r"^The comparison has no finding; there is nothing"):
        chosen(listed(), [])
