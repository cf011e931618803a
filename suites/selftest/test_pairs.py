"""Two made-up records of one rung: every class of a difference once, and what must always hold."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import Lack
from harness.judging.compare.lost import why_lost
from harness.judging.compare.pairs import Pair, pair_records
from harness.judging.goldens.bands import Allowed, Bands, read_bands
from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.records.failure import Failure
from harness.records.record import PROBE, Direction, Metric, Provenance, Record, Status, Verdict
from harness.records.typed import Json

RELATIVE = Allowed(Band(BandKind.RELATIVE, 0.01), "test")
ABSOLUTE = Allowed(Band(BandKind.ABSOLUTE, 0.5), "test")
BANDS = Bands(
    {"forward.loss": RELATIVE, "forward.logits": ABSOLUTE}, {"forward.note": "our own words"}
)
PLACE = Provenance(
    "a", "stand-in", "catalogue", "cpu-x", "r", "s", vocabulary="stand-in", family="qwen2_vl"
)


def record(*metrics: Metric, **provenance: object) -> Record:
    return Record("forward", replace(PLACE, **provenance), metrics)  # type: ignore[arg-type]


def metric(value: Json = None, name: str = "loss", **changes: object) -> Metric:
    return replace(Metric("forward", name, value=value), **changes)  # type: ignore[arg-type]


def broken(kind: str = "TypeError") -> Metric:
    return metric(status=Status.BROKEN, failure=Failure(kind, "no", "x.py:1"))


def one(old: Metric | None, new: Metric | None, truth: Golden | None = None) -> Pair:
    sides = (record(*filter(None, [old])), record(*filter(None, [new])))
    (pair,) = pair_records(*sides, BANDS, [truth] if truth else [])
    return pair


def truth(value: Json, band: Band | None = None) -> Golden:
    return Golden(
        "forward", "qwen2_vl", "loss", "truth", "hand", "why", {"": value}, band or Band()
    )


@pytest.mark.parametrize(
    ("old", "new", "direction", "expected"),
    [
        (1.0, 1.005, Direction.NONE, Verdict.SAME),
        (1.0, 1.1, Direction.NONE, Verdict.CHANGED),
        (1.0, 1.1, Direction.LOWER, Verdict.WORSE),
        (1.0, 1.1, Direction.HIGHER, Verdict.IMPROVED),
        ("a", "b", Direction.HIGHER, Verdict.CHANGED),
        ([1, 2], [1, 3], Direction.NONE, Verdict.CHANGED),
        (True, False, Direction.NONE, Verdict.CHANGED),
        (0.0, 0.0, Direction.NONE, Verdict.SAME),
    ],
)
def test_values(old: Json, new: Json, direction: Direction, expected: Verdict) -> None:
    pair = one(metric(old, direction=direction), metric(new, direction=direction))
    assert pair.verdict is expected


def test_a_metric_without_a_band_is_exact() -> None:
    assert one(metric(1.0, "other"), metric(1.0 + 1e-12, "other")).verdict is Verdict.CHANGED


@pytest.mark.parametrize(
    ("old", "new", "standing", "verdict"),
    [
        (2, 1, "fixed", Verdict.IMPROVED),
        (1, 2, "broke", Verdict.WORSE),
        (2, 3, "both wrong", Verdict.CHANGED),
        (2, 2, "both wrong", Verdict.SAME),
        (1, 1, "both right", Verdict.SAME),
    ],
)
def test_a_truth_tells_a_fix_from_a_regression(
    old: int, new: int, standing: str, verdict: Verdict
) -> None:
    # The direction says the opposite: the truth outranks it.
    pair = one(
        metric(old, direction=Direction.HIGHER), metric(new, direction=Direction.HIGHER), truth(1)
    )
    assert (pair.standing, pair.verdict) == (standing, verdict)


def test_within_the_band_but_on_two_sides_of_the_truth_is_no_silence() -> None:
    bound = truth(1.0, Band(BandKind.AT_MOST, 0.001))
    assert one(metric(1.002), metric(1.0), bound).verdict is Verdict.IMPROVED


def test_a_broken_side_is_named_and_may_be_mended() -> None:
    pair = one(broken(), metric(1), truth(1))
    assert (pair.verdict, pair.broken, pair.standing) == (Verdict.BROKEN, "old", "fixed")
    assert "TypeError: no" in pair.old.error
    pair = one(metric(1), broken(), truth(1))
    assert (pair.broken, pair.standing) == ("new", "broke")
    assert one(broken(), broken()).broken == "both"
    # Right against an error is a fix, wrong against an error is not.
    assert one(broken(), metric(2), truth(1)).standing == ""


def test_what_was_not_run_keeps_its_reason() -> None:
    absent = metric(status=Status.NOT_RUN, reason="needs CUDA")
    assert one(absent, metric(1)).verdict is Verdict.NOT_RUN
    assert one(absent, metric(1)).old.error == "needs CUDA"
    assert one(None, metric(1)).old.error == "the probe left no such metric"


def test_a_probe_that_broke_says_why_its_values_are_absent() -> None:
    whole = metric(None, "probe", status=Status.BROKEN, failure=Failure("E", "m", "w"))
    pairs = pair_records(record(metric(1.0)), record(whole, samples="none"), BANDS)
    assert {p.finding: p.verdict for p in pairs} == {
        "forward.loss": Verdict.NOT_RUN,
        "forward.probe": Verdict.BROKEN,
    }
    assert pairs[0].new.error == "forward.probe is BROKEN"


def test_a_time_that_broke_on_one_side_is_a_finding() -> None:
    times = record(metric(1.0, volatile=True)), record(broken())
    (pair,) = pair_records(*times, BANDS)
    assert (pair.verdict, pair.broken) == (Verdict.BROKEN, "new")


def test_a_tensor_of_another_dtype_is_not_the_same_however_close() -> None:
    values = np.ones(3)
    sides = []
    for dtype in ("float32", "float64"):
        tensor: Json = {"digest": dtype, "shape": [3], "dtype": dtype, "key": "logits"}
        sides.append(record(metric(tensor, "logits")))
    tensors = ({"logits": values}, {"logits": values})
    (pair,) = pair_records(sides[0], sides[1], BANDS, tensors=tensors)
    assert (pair.verdict, pair.gap) == (Verdict.CHANGED, 0.0)


@pytest.mark.parametrize("dead", [0, 1])
def test_a_side_whose_process_died_is_broken_and_no_other_device(dead: int) -> None:
    """It died before it could say what it runs on."""
    whole = metric(None, "probe", status=Status.BROKEN, failure=Failure("ChildDied", "m", "w"))
    sides = [record(metric(1)), record(metric(1))]
    sides[dead] = record(whole, device_key="", samples="none")
    by_finding = {p.finding: p for p in pair_records(sides[0], sides[1], BANDS)}
    assert by_finding["forward.probe"].broken == ("old", "new")[dead]


def test_what_breaks_on_new_is_not_hidden_by_olds_broken_probe() -> None:
    whole = metric(None, "probe", status=Status.BROKEN, failure=Failure("E", "m", "w"))
    by_finding = {p.finding: p for p in pair_records(record(whole), record(broken()), BANDS)}
    assert (by_finding["forward.loss"].verdict, by_finding["forward.loss"].broken) == (
        Verdict.BROKEN,
        "both",
    )


def test_a_call_that_broke_is_not_compared_with_a_probe_that_broke_as_a_whole() -> None:
    whole = metric(None, "probe", status=Status.BROKEN, failure=Failure("E", "m", "w"))
    pairs = pair_records(record(broken()), record(whole, samples="none"), BANDS)
    by_finding = {p.finding: (p.verdict, p.broken) for p in pairs}
    assert by_finding["forward.loss"] == (Verdict.NOT_RUN, "")
    assert by_finding["forward.probe"] == (Verdict.BROKEN, "new")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"device_key": "cuda-h200"}, "device_key is 'cpu-x' on one side and 'cuda-h200'"),
        ({"samples": "t"}, "the samples differ"),
        ({"recipe": "q"}, "recipe"),
        ({"model_digest": "m"}, "model_digest"),
        ({"seed": 7}, "seed"),
    ],
)
def test_other_conditions_are_not_comparable_and_named(
    change: dict[str, object], named: str
) -> None:
    (pair,) = pair_records(record(metric(1.0)), record(metric(2.0), **change), BANDS)
    assert pair.verdict is Verdict.NOT_COMPARABLE
    assert [condition.name for condition in pair.conditions] == list(change)
    assert pair.conditions[0].new == next(iter(change.values()))
    assert named in pair.reason


def test_threads_and_stacks_may_differ() -> None:
    (pair,) = pair_records(record(metric(1.0)), record(metric(1.0), threads=8, stack="b"), BANDS)
    assert pair.verdict is Verdict.SAME


def test_times_and_our_own_notes_are_left_out() -> None:
    left = record(metric("a", "note"), metric(1.0, "seconds", volatile=True))
    right = record(metric("b", "note"), metric(9.0, "seconds", volatile=True))
    assert pair_records(left, right, BANDS) == ()


@pytest.mark.parametrize(
    ("more", "expected"), [(6 * 2**20, Verdict.SAME), (100 * 2**20, Verdict.WORSE)]
)
def test_what_a_gpus_libraries_keep_for_a_process_is_no_difference(
    more: int, expected: Verdict
) -> None:
    """Two runs of one stack on an H200 allocated 18,338,907,648 bytes and 6 MiB more: other rungs
    had run before."""

    def side(allocated: int) -> Record:
        peak = Metric("cost", "cuda_allocated", value=allocated, direction=Direction.LOWER)
        return Record("cost", PLACE, (peak,))

    sides = side(18_338_907_648), side(18_338_907_648 + more)
    assert pair_records(*sides, read_bands())[0].verdict is expected


def test_tensors_are_compared_by_their_numbers_where_they_are_kept() -> None:
    def tensor(digest: str) -> Metric:
        kept = {"digest": digest, "shape": [2], "dtype": "float32", "key": "k"}
        return metric(kept, "logits")

    near = ({"k": np.array([1.0, 2.0])}, {"k": np.array([1.0, 2.4])})
    far = ({"k": np.array([1.0, 2.0])}, {"k": np.array([1.0, 2.6])})
    sides = (record(tensor("a")), record(tensor("b")))
    assert pair_records(*sides, BANDS, tensors=near)[0].verdict is Verdict.SAME
    edge = ({"k": np.array([1.0, 2.0])}, {"k": np.array([1.5, 2.0])})
    assert pair_records(*sides, BANDS, tensors=edge)[0].verdict is Verdict.SAME
    (pair,) = pair_records(*sides, BANDS, tensors=far)
    assert pair.verdict is Verdict.CHANGED
    assert pair.gap == pytest.approx(0.6)
    assert pair_records(*sides, BANDS)[0].verdict is Verdict.CHANGED


NUMBERS = st.one_of(st.integers(-5, 5), st.floats(-2, 2), st.text(max_size=2), st.booleans())
METRICS = st.builds(
    lambda value, status, direction: metric(
        value if status is Status.OK else None,
        direction=direction,
        status=status,
        failure=Failure("E", "m", "w") if status is Status.BROKEN else None,
        reason="why" if status is Status.NOT_RUN else None,
    ),
    NUMBERS,
    st.sampled_from(Status),
    st.sampled_from(Direction),
)
MIRROR = {Verdict.IMPROVED: Verdict.WORSE, Verdict.WORSE: Verdict.IMPROVED}
SIDES = {"old": "new", "new": "old", "fixed": "broke", "broke": "fixed"}


@given(METRICS, st.sampled_from([None, truth(1), truth("a")]))
def test_a_record_against_itself_is_silent(value: Metric, wish: Golden | None) -> None:
    assert one(value, value, wish).verdict in {Verdict.SAME, Verdict.NOT_RUN, Verdict.BROKEN}
    if value.status is Status.OK:
        assert one(value, value, wish).verdict is Verdict.SAME


@given(METRICS, METRICS, st.sampled_from([None, truth(1), truth("a")]))
def test_the_way_back_tells_the_mirror_image(old: Metric, new: Metric, wish: Golden | None) -> None:
    new = replace(new, direction=old.direction)
    there, back = one(old, new, wish), one(new, old, wish)
    assert back.verdict is MIRROR.get(there.verdict, there.verdict)
    assert back.broken == SIDES.get(there.broken, there.broken)
    assert back.standing == SIDES.get(there.standing, there.standing)


def test_committed_bands_state_reason_and_origin() -> None:
    bands = read_bands()
    assert bands.allowed
    for name, allowed in bands.allowed.items():
        assert allowed.band.reason, name
        assert allowed.origin, name
        assert allowed.band.limit > 0, name
        assert allowed.band.detectable, name
    # A gradient scaled by 1 % is a planted fault; its band must let it be seen.
    assert bands.allowed["backward.gradient_norm"].band.limit < 0.01 / 10
    assert all(reason for reason in bands.left_out.values())


def test_a_band_that_rounding_explains_is_as_wide_as_its_own_arithmetic() -> None:
    arithmetic = re.compile(r"rounding: ([\d. ×^-]+?)(?:;|$)")
    checked = 0
    for name, allowed in read_bands().allowed.items():
        stated = arithmetic.match(allowed.origin)
        if stated is None:
            continue
        factors = (factor.strip().partition("^") for factor in stated[1].split("×"))
        product = math.prod(float(base) ** float(power or 1) for base, _, power in factors)
        # Written with one or two figures; a band ten times too wide is a blind judge.
        assert product / 1.5 <= allowed.band.limit <= product * 2, name
        checked += 1
    assert checked >= 10


def test_a_stack_that_lacks_the_model_says_so_for_every_value() -> None:
    """A probe that could not be run is the reason of all that it would have left."""
    why = "A model needs library>=2, here is 1; measure it on a newer stack."
    probe = metric(name=PROBE, status=Status.NOT_RUN, reason=why, lack=Lack.LIBRARY)
    sides = [record(probe), record(metric(1.0))]
    for old, new in (sides, sides[::-1]):
        pairs = pair_records(old, new, BANDS)
        assert {pair.verdict for pair in pairs} == {Verdict.NOT_RUN}
        assert {why_lost(pair) for pair in pairs} == {why}


@pytest.mark.parametrize(("name", "verdict"), [("logits", Verdict.SAME), ("loss", Verdict.CHANGED)])
def test_a_tensors_distance_is_held_against_a_band_of_distances_alone(
    name: str, verdict: Verdict
) -> None:
    """A relative band of a hundredth is of each number: no distance of two tensors is one."""
    sides = [
        record(metric({"digest": d, "shape": [2], "dtype": "float32", "key": "k"}, name))
        for d in "ab"
    ]
    tensors = ({"k": np.array([0.001, 0.0])}, {"k": np.array([0.009, 0.0])})
    (pair,) = pair_records(sides[0], sides[1], BANDS, tensors=tensors)
    assert (pair.verdict, pair.gap) == (verdict, pytest.approx(0.008))


def test_what_is_not_compared_hides_nothing_after_it() -> None:
    """Findings stand in the order of their names: `note` is left out, `order` is not."""
    sides = [record(metric(text, "note"), metric(text, "order")) for text in "ab"]
    assert [p.finding for p in pair_records(sides[0], sides[1], BANDS)] == ["forward.order"]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"recipe": "q"}, ["recipe"]),
        ({"recipe": "q", "device_key": ""}, ["recipe"]),
        # A device that is known is another one.
        ({"device_key": "cuda-h200"}, ["device_key"]),
        ({"device_key": "", "samples": "none"}, []),
    ],
)
def test_a_probe_that_broke_is_compared_under_the_same_conditions_alone(
    changes: dict[str, object], names: list[str]
) -> None:
    """Only what a process that died cannot know does not count."""
    whole = metric(None, PROBE, status=Status.BROKEN, failure=Failure("ChildDied", "m", "w"))
    for sides in (
        (record(metric(1)), record(whole, **changes)),
        (record(whole, **changes), record(metric(1))),
    ):
        seen = [
            condition.name for pair in pair_records(*sides, BANDS) for condition in pair.conditions
        ]
        assert seen == names


def test_records_of_two_rungs_are_no_pair() -> None:
    with pytest.raises(ValueError, match="forward cannot be compared with backward"):
        pair_records(record(), replace(record(), rung="backward"), BANDS)


def test_a_probe_that_ran_is_no_reason_for_a_value_that_it_left_out() -> None:
    """Only one that broke, or could not be run."""
    probe = metric(1, PROBE)
    pairs = pair_records(record(metric(1.0), probe), record(probe), BANDS)
    assert [(p.finding, p.verdict, p.new.error) for p in pairs] == [
        ("forward.loss", Verdict.NOT_RUN, "the probe left no such metric"),
        ("forward.probe", Verdict.SAME, ""),
    ]
    assert pairs[0].new.lack is Lack.METRIC


def test_a_side_says_what_was_measured_and_how() -> None:
    pair = one(metric(1.0, note="of 7"), metric(1.0))
    assert (pair.old.note, pair.new.note) == ("of 7", "")
    assert (pair.old.how, pair.old.error, pair.old.right) == ("measured", "", None)
    pair = one(metric(1, unit="tokens"), metric(2, unit="tokens"), truth(1))
    assert (pair.old.right, pair.new.right) == (True, False)
    assert (pair.unit, pair.truth, pair.reason) == ("tokens", 1, "why")
    assert (pair.metric_id, pair.case, pair.gap) == ("forward.loss", "", 1.0)


@pytest.mark.parametrize("other", [1.0, "d", None, {"shape": [2]}])
def test_a_tensor_and_what_is_none_are_two_values(other: Json) -> None:
    tensor: Json = {"digest": "d", "shape": [2], "dtype": "float32", "key": "k"}
    for old, new in ((tensor, other), (other, tensor)):
        pair = one(metric(old, "logits"), metric(new, "logits"))
        assert (pair.verdict, pair.gap) == (Verdict.CHANGED, None)


def test_a_probe_that_could_not_be_run_and_does_not_say_why_left_no_metric() -> None:
    probe = metric(name=PROBE, status=Status.NOT_RUN, lack=Lack.CUDA)
    by_finding = {p.finding: p for p in pair_records(record(probe), record(metric(1.0)), BANDS)}
    assert by_finding["forward.loss"].old.error == "the probe left no such metric"
    assert by_finding["forward.loss"].old.lack is Lack.CUDA


@pytest.mark.parametrize("value", [1, 2])
def test_what_was_not_run_stands_nowhere_against_the_truth(value: int) -> None:
    absent = metric(status=Status.NOT_RUN, reason="needs CUDA")
    for pair in (one(absent, metric(value), truth(1)), one(metric(value), absent, truth(1))):
        assert (pair.standing, pair.verdict) == ("", Verdict.NOT_RUN)
    for pair in (one(absent, broken(), truth(1)), one(broken(), absent, truth(1))):
        assert pair.standing == ""
