"""Each score against values worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.measuring.scores import (
    chrf,
    distinct,
    grounding,
    layout,
    length,
    mean,
    rouge_l,
)
from harness.records import bootstrap


def test_rouge_l_by_hand() -> None:
    # Reference of 4 words, text of 3; the longest common subsequence is "the cat mat", 3 words:
    # precision 3/3, recall 3/4, F1 = 2·1·0.75/1.75 = 6/7.
    values = rouge_l.score(["the cat mat", "dog"], ["The cat, the mat!", "a cat"])
    assert values[0] == pytest.approx(6 / 7)
    assert values[1] == 0.0


def test_chrf_by_hand() -> None:
    # "ab" against "abc" (β = 2; orders that neither side has are left out):
    # n=1: precision 2/2, recall 2/3; n=2: precision 1/1, recall 1/2; longer n-grams: the text
    # has none. Mean precision 1, mean recall (2/3 + 1/2)/2 = 7/12,
    # F2 = 5·1·(7/12) / (4·1 + 7/12) = 35/55 = 7/11.
    assert chrf.score(["ab"], ["abc"])[0] == pytest.approx(100 * 7 / 11, abs=0.01)
    assert chrf.score(["same text"], ["same text"])[0] == pytest.approx(100.0)
    assert chrf.score(["xyz"], ["abc"])[0] == 0.0


def test_length_counts_words() -> None:
    assert length.score(["two words", "", "a\n\nb  c"]) == [2.0, 0.0, 3.0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three four five six seven eight nine #Tag #Two", 1.0),
        ("#Tag one two three four five six seven eight nine ten", 0.75),  # not last
        ("Short #Tag", 0.75),
        ("**one** two three four five six seven eight nine ten", 0.25),  # markup, no tags
        ("one two three four five six seven eight nine ten", 0.5),
        ("", 0.0),
    ],
)
def test_format_checks(text: str, expected: float) -> None:
    assert layout.score([text]) == [expected]


def test_distinct_by_hand() -> None:
    assert distinct.corpus(["a b a", "a b"], 1) == pytest.approx(2 / 5)
    assert distinct.corpus(["a b a", "a b"], 2) == pytest.approx(2 / 3)
    assert distinct.corpus([""], 1) == 0.0


TRUTH = {"kind": "mug", "colour": "red", "shape": "round", "mark": "star"}


def test_grounding_counts_only_the_right_value_named_alone() -> None:
    assert grounding.score(["A round red mug with a star"], [json.dumps(TRUTH)]) == [1.0]
    hits = grounding.hits("A red or blue mug with a heart", TRUTH)
    assert hits == {"kind": True, "colour": False, "shape": False, "mark": False}
    shares = grounding.shares(["red mug", "blue mugs"], [TRUTH, TRUTH])
    assert shares == {"kind": 1.0, "colour": 0.5, "shape": 0.0, "mark": 0.0}
    assert grounding.chance() == {"kind": 1 / 6, "colour": 1 / 8, "shape": 1 / 4, "mark": 1 / 4}


def test_bootstrap_of_a_constant_difference_has_no_width() -> None:
    interval = bootstrap.paired([1.5, 2.5, 3.5], [1.0, 2.0, 3.0])
    assert (interval.mean, interval.low, interval.high) == (0.5, 0.5, 0.5)


def test_bootstrap_width_is_the_normal_one() -> None:
    # 100 differences of ±1: the mean's standard error is 1/10, so the interval is ±0.196.
    interval = bootstrap.paired([1.0, -1.0] * 50, [0.0] * 100)
    assert interval.mean == 0.0
    assert interval.high == pytest.approx(0.196, abs=0.03)
    assert interval.low == pytest.approx(-0.196, abs=0.03)


def test_bootstrap_refuses_what_does_not_pair() -> None:
    with pytest.raises(ValueError, match="pair"):
        bootstrap.paired([1.0], [1.0])
    with pytest.raises(ValueError, match="no texts"):
        mean([])


# A busy machine is slow at drawing inputs too.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=2, max_size=20))
def test_bootstrap_holds_its_mean_and_turns_with_its_sign(pairs: list[tuple[float, float]]) -> None:
    new, old = [a for a, _ in pairs], [b for _, b in pairs]
    forward, backward = bootstrap.paired(new, old), bootstrap.paired(old, new)
    assert forward.low - 1e-9 <= forward.mean <= forward.high + 1e-9
    assert math.isclose(forward.low, -backward.high, abs_tol=1e-9)


@pytest.mark.parametrize("module", [rouge_l, chrf, grounding])
def test_metrics_are_evaluate_metrics_that_work_offline(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import evaluate

    monkeypatch.setenv("HF_EVALUATE_OFFLINE", "1")
    built = module.build(str(tmp_path))
    assert isinstance(built, evaluate.Metric)
    references = [json.dumps(TRUTH)] * 2 if module is grounding else ["a red mug", "a lamp"]
    texts = ["a red mug", "lamp"]
    result = built.compute(predictions=texts, references=references)
    assert result["per_text"] == module.score(texts, references)


@pytest.mark.parametrize("module", [length, layout, distinct])
def test_measurements_are_evaluate_measurements(module: Any, tmp_path: Path) -> None:
    import evaluate

    built = module.build(str(tmp_path))
    assert isinstance(built, evaluate.Measurement)
    result = built.compute(data=["a b a", "c"])
    name = next(key for key in result if key != "per_text")
    assert result[name] == mean(result["per_text"])
