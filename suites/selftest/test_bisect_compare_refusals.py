"""What a bisect of a comparison cannot answer, in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.judging.bisect.bench import Measured
from harness.judging.bisect.findings import chosen, same_device, same_source
from harness.judging.compare.document import Document, FactsEntry, FindingEntry
from harness.judging.compare.pairs import CROSSED as CROSSING
from harness.judging.goldens.golden import Band, BandKind
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


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("trajectory.adapter_read.saved_by_old", True),
        ("trajectory.adapter_lost.saved_by_new", True),
        # What every stack measures by itself can be bisected, whatever it is called.
        ("trajectory.loss.0", False),
        ("update.adapter_read", False),
    ],
)
def test_only_what_needs_both_stacks_at_once_is_refused(name: str, refused: bool) -> None:
    raw = listed((name, name.split(".")[0], ""), ("ids.x", "ids", ""))
    questions, reasons = chosen(raw, [])
    assert [q.finding for q in questions] == ([] if refused else [name]) + ["ids.x"]
    assert list(reasons) == ([name] if refused else [])


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"standing": "broke"}, True),
        ({"standing": "fixed"}, True),
        # Both wrong, or no truth: the two values are what is asked.
        ({"standing": "both wrong"}, False),
        ({}, False),
        # Apart by more than the band.
        ({"standing": "broke", "band": {"kind": "absolute", "limit": 0.5, "origin": "o"}}, False),
        # What was not measured on one side is a state of its own.
        ({"standing": "broke", "old": {"status": "BROKEN", "error": "E: m"}}, False),
    ],
)
def test_what_only_the_truth_tells_apart_is_asked_of_no_release(
    changes: dict[str, Any], refused: bool
) -> None:
    band = {"kind": "absolute", "limit": 1.0, "origin": "rounding"}
    entries = tuple(
        build(FindingEntry, each)
        for each in (finding("ids.x"), finding("forward.loss", **{"band": band, **changes}))
    )
    facts = FactsEntry("stand-in", "catalogue", "m", "cpu-x")
    document = Document("reference", "latest", facts, {}, entries)
    questions, reasons = chosen(document, [])
    assert ("forward.loss" in reasons) is refused
    assert len(questions) == 2 - refused
    # A band of the user's stands before the comparison's.
    narrow = chosen(document, [], Band(BandKind.ABSOLUTE, 0.01))[0]
    assert {q.band for q in narrow} == {Band(BandKind.ABSOLUTE, 0.01)}
    assert "forward.loss" in {q.finding for q in narrow}


def test_what_is_accepted_or_lists_versions_is_bisected_only_by_name() -> None:
    entries = tuple(
        build(FindingEntry, each)
        for each in (
            finding("environment.versions.torch"),
            finding("interface.call"),
            finding("forward.loss", accepted=True),
        )
    )
    facts = FactsEntry("stand-in", "catalogue", "m", "cpu-x")
    document = Document("reference", "latest", facts, {}, entries)
    assert [q.finding for q in chosen(document, [])[0]] == ["interface.call"]
    named = ["environment.versions.torch", "forward.loss"]
    assert [q.finding for q in chosen(document, named)[0]] == named
    with pytest.raises(
        BadInput,
        match=r"holds no finding 'ids\.y'; it has environment\.versions\.torch, interface\.call, ",
    ):
        chosen(document, ["forward.loss", "ids.y"])
    with pytest.raises(BadInput, match="each follows from another, is accepted, or lists versions"):
        chosen(replace(document, findings=entries[::2]), [])


FACTS = FactsEntry("stand-in", "catalogue", "m", "cpu-x86_64-avx2")


def test_a_comparison_is_bisected_on_its_own_device() -> None:
    cuda = replace(FACTS, device_key="cuda-nvidia-h200")
    assert [same_device(facts, "auto") for facts in (FACTS, cuda)] == ["cpu", "cuda"]
    assert same_device(FACTS, "cpu") == "cpu"
    assert same_device(cuda, "cuda") == "cuda"
    for facts, asked, device in ((FACTS, "cuda", "cpu"), (cuda, "cpu", "cuda")):
        with pytest.raises(BadInput, match=f"measured on {device}; leave --device {asked} out"):
            same_device(facts, asked)


@pytest.mark.parametrize(
    ("changes", "same"),
    [({}, True), ({"model_digest": "n"}, False), ({"data": "mine"}, False)],
)
def test_a_comparison_is_bisected_on_its_own_model_and_data(
    changes: dict[str, str], same: bool
) -> None:
    here = Context("s", "stand-in", "catalogue", Path(), True, Path(), model_digest="m")
    here = replace(here, **changes)
    if same:
        same_source(FACTS, here, Path("kept"))
        return
    with pytest.raises(BadInput, match="kept compares with model stand-in and data catalogue"):
        same_source(FACTS, here, Path("kept"))
