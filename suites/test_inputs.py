"""Rung: inputs, judged against its truths and the stack's known findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harness.judging.goldens.judgement import Judgement
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import family, parts
from harness.measuring.probes._batches import batch, forward, one_processor, plain_model
from harness.measuring.probes.inputs import record_pictures, spelled
from harness.measuring.snapshots.loading import load_processor
from harness.pytest_plugin import assert_no_unexpected
from harness.records.context import Context
from harness.records.record import Record, Status
from suites.oracles import mrope


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("inputs"))


def test_the_definition_by_hand() -> None:
    """Two words, a picture of 2×3 merged tokens, two words: text goes on one past the largest."""
    time, height, width = mrope.positions([7, 7, 9, 9, 9, 9, 9, 9, 7, 7], 9, [(1, 2, 3)])
    assert time == [0, 1, 2, 2, 2, 2, 2, 2, 5, 6]
    assert height == [0, 1, 2, 2, 2, 3, 3, 3, 5, 6]
    assert width == [0, 1, 2, 3, 4, 2, 3, 4, 5, 6]


def test_generation_always_has_m_rope(record_of: Callable[[str], Record], context: Context) -> None:
    """Whatever the training forward does, the prefill's rows have three different axes."""
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights")
    metric = record_of("inputs").find("prefill_positions", "left")
    assert isinstance(metric.value, list)
    for row in metric.value:
        time, height, width = str(row).split(" | ")
        assert len({time, height, width}) == 3


def test_the_familys_axes_are_the_librarys(context: Context) -> None:
    """By the library's own rule, whatever a training forward then does with them."""
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights")
    loader, inputs = family(context.family), batch(context, "right")
    positions = loader.position_ids(plain_model(context), inputs)
    several = (loader.POSITION_AXES,) if loader.POSITION_AXES > 1 else ()
    assert positions.shape == (*several, *inputs["input_ids"].shape)


def test_positions_of_one_axis_are_spelled_too() -> None:
    mask = torch.tensor([[0, 1, 1], [1, 1, 1]])
    positions = torch.tensor([[0, 0, 1], [0, 1, 2]])
    assert spelled(positions, mask, 1) == ["0 1", "0 1 2"]
    # One row for all, as a decoder counts that was given no positions.
    assert spelled(positions[1:], mask, 1) == ["1 2", "0 1 2"]
    assert spelled(positions.expand(3, -1, -1), mask, 3)[0] == "0 1 | 0 1 | 0 1"


def test_a_pictures_tokens_see_what_the_family_says(context: Context) -> None:
    """Its last token is changed on its way into the decoder: a causal mask hides that from the
    first one, one that lets pictures see both ways does not."""
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights")
    loader, model, inputs = family(context.family), plain_model(context), batch(context, "right")
    picture = inputs["input_ids"][0] == loader.picture_id(model.config)
    first, last = picture.nonzero()[0], picture.nonzero()[-1]

    def changed(module: Any, args: Any, kwargs: Any) -> Any:
        hidden = (args[0] if args else kwargs["hidden_states"]).clone()
        hidden[0, last] += 1.0
        if args:
            return (hidden, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": hidden}

    with torch.no_grad():
        plain = forward(model, inputs).logits[0]
        handle = parts(model).layers[0].register_forward_pre_hook(changed, with_kwargs=True)
        other = forward(model, inputs).logits[0]
        handle.remove()
    assert not torch.equal(plain[last], other[last])
    hidden_from_the_first = torch.equal(plain[first], other[first])
    assert hidden_from_the_first is (loader.MASK == "causal")


def test_pixels_cast_to_bytes_are_what_they_then_are(
    record_of: Callable[[str], Record], context: Context
) -> None:
    """4-bit weights are held as bytes; a tower that casts its pixels to its weights' dtype cuts
    them to 0, 1, 2 and, below -1, 255. Either nothing changes or exactly that happens."""
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights")
    metric = record_of("inputs").find("patch_gap", "four_bit")
    pixels = batch(context, "right")["pixel_values"].cpu().numpy().astype(np.float64)
    cut = np.trunc(pixels) % 256
    worst = float(np.abs(pixels - cut).max())
    assert worst > 256
    assert metric.value == 0.0 or abs(float(str(metric.value)) - worst) < 1e-4


def test_a_batch_with_another_number_of_patches_is_a_broken_value_with_both_shapes(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No number says how far they are apart."""
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights")

    def short(*args: Any) -> Any:
        given = batch(*args)
        if len(given["input_ids"]) > 1:
            given["pixel_values"] = given["pixel_values"][4:]
        return given

    monkeypatch.setattr("harness.measuring.probes.inputs.batch", short)
    recorder = Recorder("inputs")
    record_pictures(recorder, context, plain_model(context))
    [metric] = recorder.finish(context.provenance(), context.out).metrics
    assert (metric.name, metric.status) == ("picture_rows", Status.BROKEN)
    assert metric.failure is not None
    assert "A batch's pixels are (" in metric.failure.message


def test_a_rungs_batches_of_a_side_come_from_one_processor(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same as from one each, and none is kept for the next rung."""
    loaded: list[str] = []

    def load(*args: Any, **kwargs: Any) -> Any:
        loaded.append(kwargs["padding_side"])
        return load_processor(*args, **kwargs)

    monkeypatch.setattr("harness.measuring.snapshots.loading.load_processor", load)
    sides = ("right", "left", "right")
    apart = [batch(context, side) for side in sides]
    assert loaded == [*sides]
    for _ in range(2):
        loaded.clear()
        with one_processor():
            together = [batch(context, side) for side in sides]
        assert loaded == ["right", "left"]
        for one, other in zip(apart, together, strict=True):
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in one)
