"""The register explains no more than it knows: no crash, no absurd number, no other kind of value.

A crash that is called known is worse than an unknown difference: nobody looks at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.judging.compare.pairs import Pair, Side
from harness.judging.compare.predicates import Predicate
from harness.judging.compare.register import Change, read_register
from harness.records.folders import REGISTER as REGISTER_FOLDER
from harness.records.record import Status, Verdict
from harness.records.typed import Json
from suites.selftest.differences import (
    CASES,
    REGISTER,
    a_case,
    causes,
    change,
    explains,
    explanation,
    of,
    pair,
)

CRASH = "RuntimeError: CUDA error: an illegal memory access was encountered (foo.py:1)"
REFERENCE = {
    "transformers": "4.45.1",
    "torch": "2.4.0",
    "peft": "0.13.0",
    "pillow": "10.4.0",
    "bitsandbytes": "0.44.0",
    "trl": "0.11.1",
}
LATEST = {
    "transformers": "5.23.0",
    "torch": "2.15.0",
    "peft": "0.21.2",
    "pillow": "13.0.0",
    "bitsandbytes": "0.50.2",
    "trl": "1.16.0",
}
SIZED = [
    case
    for case in CASES
    if not (case.values[1].line or case.values[1].broken or case.values[1].not_run)
]


def broken(difference: Pair, side: str, error: str = CRASH, standing: str = "") -> Pair:
    """The same difference, but one side ends in an error."""
    failed = Side(Status.BROKEN, error=error)
    sides: dict[str, Any] = {side: failed}
    if side == "both":
        sides = {"old": failed, "new": failed}
    return replace(
        difference, verdict=Verdict.BROKEN, broken=side, standing=standing, gap=None, **sides
    )


def names(difference: Pair, **new: str) -> tuple[str, ...]:
    versions = REFERENCE, {**LATEST, **new}
    among = [moved for known in REGISTER for moved in causes(known)]
    entries = explanation(difference, REGISTER, *versions, among=among)
    return tuple(known.name for known in entries)


def at(finding: str, old: Json = 1.0, new: Json = 2.0, **changes: object) -> Pair:
    """A difference of a finding, with its distance where both are numbers."""
    rung, metric, *case = finding.split(".")
    difference = pair(f"{rung}.{metric}", old, new, case=".".join(case))
    if all(isinstance(x, int | float) and not isinstance(x, bool) for x in (old, new)):
        difference = replace(difference, gap=abs(float(new) - float(old)))  # type: ignore[arg-type]
    return replace(difference, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("known", "predicate"), CASES)
def test_no_change_explains_any_other_error(known: Change, predicate: Predicate) -> None:
    difference = of(predicate, predicate.metric, a_case(predicate.case))
    before, first = {known.library: known.before}, {known.library: known.first}
    for side, standing in product(("old", "new", "both"), ("", "fixed", "broke", "both wrong")):
        crash = broken(difference, side, standing=standing)
        for one, other in ((before, first), (first, before)):
            named = explanation(crash, REGISTER, one, other, among=causes(known))
            assert named == (), (side, standing)


@pytest.mark.parametrize(
    ("finding", "standing", "release"),
    [
        ("trajectory.adapter_read.saved_by_new", "", "5.23.0"),
        ("backward.tower_ran_backward.checkpointed", "broke", "5.23.0"),
        ("inputs.keyless_rows.left", "", "5.23.0"),
        ("forward.logits.left", "", "5.23.0"),
        ("trajectory.padded_gradient_is_finite", "broke", "5.23.0"),
        ("images.levels.photo", "broke", "5.23.0"),
        ("images.processor_class", "", "5.23.0"),
        ("trajectory.dropout_stream", "", "5.23.0"),
        ("text.rendered.several_images_numbered", "broke", "4.49.0"),
        ("generation.batch_gap", "broke", "4.54.1"),
        ("update.loss.1", "", "5.3.0"),
    ],
)
def test_a_crash_is_unknown(finding: str, standing: str, release: str) -> None:
    crash = broken(at(finding), "new", standing=standing)
    assert names(crash, transformers=release) == ()


def tensor(digest: str, shape: list[int], dtype: str) -> Json:
    return {"digest": digest, "shape": [*shape], "dtype": dtype, "key": "x"}


LOGITS = tensor("a", [33, 960], "float32")
POSITIONS = tensor("a", [3, 4, 169], "int64")


@pytest.mark.parametrize(
    ("difference", "release"),
    [
        # NEW loses the adapter that it has saved itself.
        (at("trajectory.adapter_lost.saved_by_new", 0, 16), "5.23.0"),
        (at("trajectory.adapter_lost.saved_by_old", 16, 0), "5.23.0"),
        (at("update.loss.1", 0.4, 900.0), "5.3.0"),
        (at("update.gradient_norm", 0.4, 1e-9), "5.3.0"),
        (at("cost.flops.forward.four", 2083839360, 10, standing="both wrong"), "4.54.1"),
        (at("generation.gain.format.sampled42", 1.0, -1.0), "4.45.1"),
        (at("generation.gain_low.rouge_l.greedy", 1.0, -1.0), "4.54.1"),
        (at("forward.logits.left", LOGITS, tensor("b", [3, 1], "float32")), "5.23.0"),
        (at("forward.logits.left", LOGITS, tensor("b", [33, 960], "float64")), "5.23.0"),
        (at("forward.logits.left", LOGITS, tensor("b", [33, 960], "float32"), gap=1e9), "5.23.0"),
        (at("inputs.position_tensor.right", POSITIONS, tensor("b", [1], "int64")), "5.23.0"),
        (
            at(
                "inputs.position_tensor.right",
                POSITIONS,
                tensor("b", [3, 4, 169], "float32"),
                gap=1.0,
            ),
            "5.23.0",
        ),
        (at("inputs.position_tensor.right", POSITIONS, "gone"), "5.23.0"),
        (at("inputs.keyless_rows.left", "average", "garbage"), "5.23.0"),
        (at("images.processor_class", "Qwen2VLImageProcessor", "NoneType"), "5.3.0"),
        # 4.52.1 mended it: lost again it is something new.
        (
            at("text.rendered.several_images_numbered", "Picture 1: x", "x", standing="broke"),
            "4.52.4",
        ),
    ],
)
def test_what_is_too_large_or_of_another_kind_is_unknown(difference: Pair, release: str) -> None:
    assert names(difference, transformers=release) == ()


def absurd(difference: Pair) -> Iterator[Pair]:
    """The difference a thousand million times too large, either way, and of other kinds."""
    old = difference.old.value
    small = abs(float(old)) if isinstance(old, int | float) and old else 1.0
    for one, other in ((small, 1e9 * small), (1e9 * small, small), (small, -1e9 * small)):
        yield _values(difference, one, other, abs(other - one))
    yield _values(difference, [small], [1e9 * small], 1e9 * small)
    yield _values(difference, "this", "that", None)
    yield _values(difference, POSITIONS, tensor("b", [3, 4, 169], "int64"), 1e9)
    yield _values(difference, POSITIONS, tensor("b", [1], "int64"), None)


def _values(difference: Pair, old: Json, new: Json, gap: float | None) -> Pair:
    sides = (replace(difference.old, value=old), replace(difference.new, value=new))
    return replace(difference, old=sides[0], new=sides[1], gap=gap)


@pytest.mark.parametrize(("known", "predicate"), SIZED)
def test_no_change_explains_an_absurd_value(known: Change, predicate: Predicate) -> None:
    difference = of(predicate, predicate.metric, a_case(predicate.case))
    before, first = {known.library: known.before}, {known.library: known.first}
    among = causes(known)
    assert explanation(difference, [known], before, first, among=among) == (known,)
    for wrong in absurd(difference):
        assert explanation(wrong, [known], before, first, among=among) == (), wrong
        assert explanation(wrong, [known], first, before, among=among) == (), wrong


@pytest.mark.parametrize(("known", "predicate"), [case for case in SIZED if case.values[1].sign])
def test_an_effect_with_a_sign_explains_nothing_of_the_other(
    known: Change, predicate: Predicate
) -> None:
    difference = of(predicate, predicate.metric, a_case(predicate.case))
    swapped = replace(difference, old=difference.new, new=difference.old)
    before, first = {known.library: known.before}, {known.library: known.first}
    assert explanation(swapped, [known], before, first, among=causes(known)) == ()


def test_an_error_matches_only_a_predicate_that_asks_for_it() -> None:
    crash = broken(pair(standing="broke"), "new", "TypeError: no such argument (x.py:1)", "broke")
    assert not explains(change(Predicate("forward.loss")), crash)
    assert not explains(change(Predicate("forward.loss", standing="broke")), crash)
    asked = Predicate("forward.loss", broken="new", error="no such argument")
    assert explains(change(asked), crash)
    assert not explains(change(asked), broken(pair(), "old", "no such argument"))
    assert not explains(change(asked), broken(pair(), "new"))


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (Predicate("a.b", old="average", new="zeros"), True),
        (Predicate("a.b", old="average"), True),
        (Predicate("a.b", old="averag"), False),
        (Predicate("a.b", new="average"), False),
    ],
)
def test_values_are_matched_as_a_whole(predicate: Predicate, expected: bool) -> None:
    difference = pair("a.b", "average", "zeros")
    back = pair("a.b", "zeros", "average")
    assert explains(change(predicate), difference) is expected
    assert explains(change(predicate), back, old="2.0", new="1.9") is expected


def test_what_is_no_text_is_matched_as_json() -> None:
    predicate = Predicate("a.b", old='\\{"k": 50, "t": null\\}', new="true")
    assert explains(change(predicate), pair("a.b", {"t": None, "k": 50}, True))
    assert not explains(change(predicate), pair("a.b", {"t": None, "k": 50}, 1))


def test_a_bound_needs_a_distance_but_a_tensor_that_is_not_stored() -> None:
    """Its shape and dtype can still be compared, and must be the same."""
    bounded = change(Predicate("a.b", most=1.0))
    same, other = tensor("b", [33, 960], "float32"), tensor("b", [33, 961], "float32")
    assert explains(bounded, pair("a.b", LOGITS, same))
    assert not explains(bounded, pair("a.b", LOGITS, other))
    assert not explains(bounded, pair("a.b", LOGITS, same, gap=2.0))
    assert not explains(bounded, pair("a.b", "this", "that"))
    assert not explains(change(Predicate("a.b", least=0.5)), pair("a.b", LOGITS, same))


@pytest.mark.parametrize(
    ("bounds", "distance", "expected"),
    [
        ({"most": 0.5}, 0.5, True),
        ({"most": 0.5}, 0.75, False),
        ({"least": 0.5, "most": 1.0}, 0.5, True),
        ({"least": 0.5, "most": 1.0}, 0.25, False),
        # Half of the larger side, 2.
        ({"most": 0.25, "relative": True}, 0.5, True),
        ({"most": 0.25, "relative": True}, 0.75, False),
    ],
)
def test_both_bounds_belong_to_what_is_explained(
    bounds: dict[str, Any], distance: float, expected: bool
) -> None:
    """The numbers are exact in binary."""
    known = change(Predicate("a.b", **bounds))
    assert explains(known, pair("a.b", 2.0 - distance, 2.0)) is expected


@pytest.mark.parametrize(
    ("when", "complaint"),
    [
        ('metric = "forward.loss"', "says no limit"),
        ('metric = "forward.loss"\nsign = 1\nstanding = "broke"', "says no limit"),
        ('metric = "forward.loss"\nleast = 1.0', "says no limit"),
        ('metric = "forward.loss"\nbroken = "new"', "broken and error"),
        ('metric = "forward.loss"\nerror = "x"\nmost = 1.0', "broken and error"),
        ('metric = "forward.loss"\nold = "("\nnew = "x"', "no pattern"),
    ],
)
def test_a_predicate_without_a_limit_is_refused(tmp_path: Path, when: str, complaint: str) -> None:
    whole = (REGISTER_FOLDER / "mrope-in-training.toml").read_text(encoding="utf-8")
    head = whole.split("[[when]]")[0]
    (tmp_path / "x.toml").write_text(f"{head}[[when]]\n{when}\n", encoding="utf-8")
    with pytest.raises(BadInput, match=rf"x\.toml.*{complaint}"):
        read_register(tmp_path)
