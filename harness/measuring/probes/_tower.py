"""Rung 7, the tower: what its first weights are multiplied by, and what pictures make of each
other."""

from __future__ import annotations

import contextlib
from typing import Any

from harness.data.samples import conversations, plain_conversations
from harness.measuring.instruments.capture import captured
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import of, parts, plain_sizes
from harness.measuring.probes._batches import SIZE, batch, forward
from harness.measuring.snapshots import loading
from harness.records.context import Context

HALF = "bfloat16"


class _Reached(Exception):
    """What was to be looked at has been; nothing behind it is asked."""


def _reached(*_: Any) -> None:
    raise _Reached


def record_alone(recorder: Recorder, context: Context, model: Any) -> None:
    """What the tower makes of a row's pictures beside other rows' from what it makes of them alone,
    over the largest; nothing of a family whose rows are padded to each other."""
    import torch

    rows = conversations(context, context.recipe, SIZE)
    whole = seen(model, batch(context, "right", rows))
    alone = [seen(model, batch(context, "right", [row])) for row in rows]
    apart = torch.cat(alone)
    if apart.shape != whole.shape:
        return
    gap = float((apart - whole).abs().max() / whole.abs().max())
    recorder.add("alone_gap", gap, note="of the tower's output, over its largest value")


def seen(model: Any, inputs: dict[str, Any]) -> Any:
    """What enters the decoder of a batch's pictures: (tokens, width)."""
    import torch

    handle = parts(model).decoder.register_forward_pre_hook(_reached)
    try:
        with captured(model) as caught, contextlib.suppress(_Reached), torch.no_grad():
            forward(model, inputs)
    finally:
        handle.remove()
    return caught.vision.reshape(-1, caught.vision.shape[-1])


def record_features(recorder: Recorder, context: Context, model: Any) -> None:
    """What the pictures of a row with one and of one with two become before they enter the decoder:
    a number each, their sum under a wave in which no two places weigh the same."""
    asked = plain_conversations(plain_sizes(context.family, context.snapshot), context.recipe)
    inputs = batch(context, "right", [*asked.values()])
    shown, broken = recorder.attempt("image_features", lambda: entering(model, inputs))
    if broken is not None or shown is None:
        return
    image = inputs["input_ids"] == of(model).picture_id(model.config)
    for row, case in enumerate(asked):
        if image[row].any():
            recorder.add("image_features", projection(shown[row][image[row]]), case=case)


def entering(model: Any, inputs: dict[str, Any]) -> Any:
    """What enters the decoder, (rows, tokens, width)."""
    import torch

    with captured(model) as caught:
        # Behind the hook that keeps it.
        handle = parts(model).decoder.register_forward_pre_hook(_reached)
        try:
            with contextlib.suppress(_Reached), torch.no_grad():
                forward(model, inputs)
        finally:
            handle.remove()
    return caught.embeddings


def projection(shown: Any) -> float:
    """Of (tokens, width) on sin(1 + 0.7 token + 1.3 channel), in float64, over the root of their
    number."""
    import torch

    tokens, width = shown.shape
    token, channel = (torch.arange(n, dtype=torch.float64) for n in (tokens, width))
    wave = torch.sin(1 + 0.7 * token[:, None] + 1.3 * channel)
    return float((shown.double().cpu() * wave).sum() / (tokens * width) ** 0.5)


def record_projected(recorder: Recorder, context: Context, model: Any, case: str) -> None:
    """How far what the tower's first weights are multiplied by lies from the processor's pixels in
    the weights' own type; nothing where more than pixels comes in."""
    import torch

    inputs = batch(context, "right")
    first = next(m for m in parts(model).patch_embedding.modules() if _projects(m))
    given: list[Any] = []

    def projected(module: Any, args: Any) -> None:
        given.append(args[0].detach().clone())
        raise _Reached

    handle = first.register_forward_pre_hook(projected)
    try:
        with contextlib.suppress(_Reached), torch.no_grad():
            forward(model, inputs)
    finally:
        handle.remove()
    pixels = of(model).entering(inputs).to(first.weight.dtype)
    if given[0].numel() != pixels.numel():
        return
    gap = (given[0].float().reshape(-1) - pixels.float().reshape(-1)).abs().max()
    recorder.add("projected_gap", float(gap), case=case)


def _projects(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return weight is not None and weight.ndim > 1


def record_half(recorder: Recorder, context: Context) -> None:
    """The same of the model in the recipe's bfloat16: rounded once, and to nothing coarser."""
    model = loading.load_model(context.snapshot, device=context.device, dtype=HALF)
    record_projected(recorder, context, model.train(), HALF)
