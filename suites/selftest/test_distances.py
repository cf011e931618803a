"""Bands and distances: whether one value is another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import BadInput
from harness.judging.goldens.bands import BANDS_SCHEMA, EXACT, Allowed, Bands, read_bands
from harness.judging.goldens.expected import Expected
from harness.judging.goldens.golden import Band, BandKind
from harness.judging.goldens.values import (
    distance,
    inside,
    is_tensor,
    stored,
    tensor_gap,
    within,
)
from harness.judging.goldens.verdicts import judge
from harness.records.record import Verdict
from harness.records.seals import write_sealed
from harness.records.typed import Json
from suites.selftest.verdicts import golden, loss, record, verdict


@pytest.mark.parametrize(
    ("kind", "limit", "old", "new", "expected"),
    [
        (BandKind.EXACT, 0, "a\n", "a\n", True),
        (BandKind.EXACT, 0, "a\n", "a", False),
        (BandKind.EXACT, 0, 0.0, False, False),
        (BandKind.EXACT, 0, [1, {"a": True}], [1, {"a": 1}], False),
        (BandKind.EXACT, 0, [1, {"a": 2}], [1.0, {"a": 2}], True),
        # The place of a tensor's data is no part of its value; of anything else a key is one.
        (BandKind.EXACT, 0, {"digest": "d", "key": "a"}, {"digest": "d", "key": "b"}, True),
        (BandKind.EXACT, 0, {"text": "d", "key": "a"}, {"text": "d", "key": "b"}, False),
        (BandKind.ABSOLUTE, 0.1, 1.0, 1.09, True),
        (BandKind.ABSOLUTE, 0.1, 1.0, 1.2, False),
        (BandKind.ABSOLUTE, 0.1, 1.0, 0.8, False),
        (BandKind.RELATIVE, 0.1, 10.0, 10.9, True),
        (BandKind.RELATIVE, 0.1, 10.0, 8.9, False),
        (BandKind.AT_MOST, 0, 3, 3, True),
        (BandKind.AT_MOST, 0, 3, 4, False),
        (BandKind.AT_MOST, 0.5, 3, 3.5, True),
        (BandKind.AT_MOST, 0.5, 3, 3.6, False),
        (BandKind.AT_MOST, 0, 3, -300, True),
        (BandKind.AT_LEAST, 0, 3, 2, False),
        (BandKind.AT_LEAST, 0.5, 3, 2.5, True),
        (BandKind.AT_LEAST, 0.5, 3, 2.4, False),
        (BandKind.AT_LEAST, 0, 3, 300, True),
        (BandKind.RELATIVE, 0.1, -10.0, -10.9, True),
        (BandKind.RELATIVE, 0.1, -10.0, -11.1, False),
        (BandKind.ABSOLUTE, 0.1, [1.0, 2.0], [1.0, 2.05], True),
        (BandKind.ABSOLUTE, 0.1, [1.0, 2.0], [1.0], False),
    ],
)
def test_bands(kind: BandKind, limit: float, old: Json, new: Json, expected: bool) -> None:
    assert inside(Band(kind, limit), old, new) is expected


def test_a_numeric_band_over_text_is_an_error_not_a_pass() -> None:
    # A value that is no number is no slip of the golden: it is another value.
    assert verdict(loss("gone"), golden(1.0, Band(BandKind.RELATIVE, 0.1))) is Verdict.CHANGED
    with pytest.raises(TypeError, match="needs numbers"):
        inside(Band(BandKind.ABSOLUTE, 1), "a", "b")


def test_a_tensor_is_compared_by_content_not_by_address() -> None:
    old: Json = {"digest": "d", "shape": [1], "dtype": "float32"}
    assert inside(Band(), old, {"digest": "d", "shape": [1], "dtype": "float32", "key": "k"})
    assert not inside(Band(), old, {"digest": "e", "shape": [1], "dtype": "float32"})


def test_an_exact_value_of_another_shape_is_another_value() -> None:
    for now, wish in ((3, {"a": 1}), ({"a": 1}, 3), (["a"], {"a": 1}), ({"a": 1}, ["a"])):
        assert verdict(loss(now), golden(wish)) is Verdict.CHANGED


@pytest.mark.parametrize(
    "change", [{"bands": [{}]}, {"bands": None}, {"left_out": [{"metric": "x"}]}]
)
def test_bands_that_are_not_complete_name_their_file(
    tmp_path: Path, change: dict[str, object]
) -> None:
    path = tmp_path / "compare.json"
    write_sealed(path, {"schema": BANDS_SCHEMA, "bands": [], "left_out": [], **change})
    with pytest.raises(BadInput, match=f"{path} is not complete"):
        read_bands(path)


@pytest.mark.parametrize("kind", list(BandKind))
def test_a_truths_band_is_between_two_sides_only_where_it_is_a_distance(kind: BandKind) -> None:
    """A bound, and what is exact, says nothing of how far two sides may be apart."""
    band = Band(kind, 0.5)
    distance = kind in {BandKind.ABSOLUTE, BandKind.RELATIVE}
    allowed = Bands({}, {}).of("forward.loss", golden(1.0, band))
    assert allowed == (Allowed(band, "truth") if distance else Allowed(EXACT, "exact"))
    listed = Allowed(Band(BandKind.ABSOLUTE, 0.1), "rounding")
    assert Bands({"forward.loss": listed}, {}).of("forward.loss", golden(1.0, band)) is listed
    assert Bands({}, {}).of("forward.loss", None) == Allowed(EXACT, "exact")


@pytest.mark.parametrize(
    ("old", "new", "gap"),
    [
        (1.0, 4.0, 3.0),
        (4.0, 1.0, 3.0),
        # Of several the largest, whichever it is.
        ([0.0, 1.0, 2.0], [0.5, 6.0, 2.0], 5.0),
        ([0.0, 1.0, 2.0], [0.5, 1.0, -7.0], 9.0),
        ([], [], 0.0),
        ([1.0], [1.0, 2.0], None),
        ("a", 1.0, None),
        (1.0, None, None),
        # What a float cannot hold, JSON cannot either.
        (float("inf"), 1.0, None),
        (1.0, float("nan"), None),
        (1e308, -1e308, None),
    ],
)
def test_the_distance_of_two_values_is_their_largest(
    old: Json, new: Json, gap: float | None
) -> None:
    assert distance(old, new) == gap


@pytest.mark.parametrize(
    ("kind", "old", "new", "same"),
    [
        # Of the larger of the two, so that the way back says the same.
        (BandKind.RELATIVE, 8.0, 10.0, True),
        (BandKind.RELATIVE, 7.0, 10.0, False),
        (BandKind.RELATIVE, -8.0, -10.0, True),
        (BandKind.ABSOLUTE, 8.0, 8.25, True),
        (BandKind.ABSOLUTE, 8.0, 8.26, False),
        (BandKind.ABSOLUTE, [8.0, 1.0], [8.25, 1.26], False),
        # A bound says nothing of two sides: they must be equal.
        (BandKind.AT_MOST, 8.0, 7.9, False),
        (BandKind.AT_MOST, 8.0, 8.0, True),
        (BandKind.AT_LEAST, 8.0, 8.1, False),
        (BandKind.AT_LEAST, 8.0, 8.0, True),
        (BandKind.EXACT, 8.0, 8.0, True),
        (BandKind.EXACT, 8.0, 8.1, False),
        # What is no number is the same or another.
        (BandKind.ABSOLUTE, "a", "a", True),
        (BandKind.ABSOLUTE, "a", "b", False),
        (BandKind.RELATIVE, 8.0, "a", False),
        (BandKind.RELATIVE, [8.0], [8.0, 8.0], False),
        (BandKind.RELATIVE, float("nan"), 8.0, False),
    ],
)
def test_two_sides_agree_whichever_comes_first(
    kind: BandKind, old: Json, new: Json, same: bool
) -> None:
    band = Band(kind, 0.25)
    assert within(band, old, new) is same
    assert within(band, new, old) is same


@pytest.mark.parametrize(
    ("kind", "inside_", "outside"),
    [
        (BandKind.ABSOLUTE, (2.25, 1.75), (2.2500001, 1.7499999)),
        (BandKind.RELATIVE, (2.5, 1.5), (2.5000001, 1.4999999)),
        (BandKind.AT_MOST, (2.25, -9.0), (2.2500001,)),
        (BandKind.AT_LEAST, (1.75, 9.0), (1.7499999,)),
    ],
)
def test_a_bands_edge_belongs_to_it(
    kind: BandKind, inside_: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    """Of two and a quarter, which float64 holds exactly."""
    band = Band(kind, 0.25)
    assert all(inside(band, 2.0, now) for now in inside_)
    assert not any(inside(band, 2.0, now) for now in outside)
    # One of several that is outside is enough.
    assert not inside(band, [2.0, 2.0], [2.0, outside[0]])
    assert not inside(band, [2.0, 2.0], [outside[0], 2.0])
    assert not inside(band, 2.0, "two")


def test_tensors_are_as_far_apart_as_their_furthest_numbers() -> None:
    one = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    other = np.array([[1.5, 2.0], [3.0, 1.0]], dtype=np.float16)
    assert tensor_gap(one, other) == 3.0
    assert tensor_gap(one, one) == 0.0
    assert tensor_gap(one, one[0]) is None
    assert tensor_gap(one, None) is None
    assert tensor_gap(None, one) is None
    assert tensor_gap(one[:0], one[:0]) == 0.0
    assert tensor_gap(one, np.full((2, 2), np.nan)) is None
    # Unsigned numbers do not wrap round.
    assert tensor_gap(np.array([1], np.uint8), np.array([3], np.uint8)) == 2.0


def test_a_tensors_value_is_its_digest_and_its_data_lie_beside_it() -> None:
    value: Json = {"digest": "d", "shape": [1], "dtype": "float32", "key": "k"}
    kept = {"k": np.zeros(1)}
    assert is_tensor(value)
    assert not any(is_tensor(other) for other in ({"shape": [1]}, "digest", ["digest"], None))
    assert stored(value, kept) is kept["k"]
    for other in ({"digest": "d"}, {"digest": "d", "key": 3}, "k", None):
        assert stored(other, kept) is None  # type: ignore[arg-type]
    assert stored(value, {}) is None


def test_what_another_band_of_numbers_expects_is_not_met_by_a_text() -> None:
    """A list that knows a number's size finds a text there: another finding, and no accident."""
    band = Band(BandKind.RELATIVE, 0.1, "rounding")
    for known, value in ((2.0, "gone"), ("gone", 2.0)):
        wish = Expected("forward.loss", "CHANGED", "known upstream", value=known, band=band)
        outcome = judge({"forward": record("forward", loss(value))}, [golden(1)], [wish])
        assert outcome.exit_code == 1


def test_bands_of_another_schema_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "compare.json"
    for schema in (BANDS_SCHEMA + 1, None):
        write_sealed(path, {"schema": schema, "bands": [], "left_out": []})
        with pytest.raises(BadInput, match=f"{path} holds no bands of schema {BANDS_SCHEMA}"):
            read_bands(path)
    write_sealed(path, {"schema": BANDS_SCHEMA, "bands": [], "left_out": []})
    assert read_bands(path) == Bands({}, {})
