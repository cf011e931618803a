"""Rung 7: what really reaches the inside of the model."""

from __future__ import annotations

from typing import Any

from harness.data.samples import conversations
from harness.errors import Lack
from harness.measuring.instruments.capture import captured
from harness.measuring.instruments.exchange import current
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import of, parts
from harness.measuring.probes._batches import (
    SIDES,
    SIZE,
    batch,
    forward,
    one_processor,
    plain_model,
    without_weights,
)
from harness.measuring.probes._quantised import pixel_gap
from harness.measuring.probes._tower import (
    record_alone,
    record_features,
    record_half,
    record_projected,
)
from harness.records.context import Context
from harness.records.record import Record
from harness.records.typed import Json


def spelled(positions: Any, mask: Any, axes: int) -> list[Json]:
    """Positions of the real tokens, one string per row, axes apart (time | height | width).

    axes: how many the family has; of one, positions have no axis of axes.
    """
    if axes == 1:
        positions = positions.reshape(1, -1, positions.shape[-1])
    rows: list[Json] = []
    for row in range(mask.shape[0]):
        real = positions[:, row if positions.shape[1] > 1 else 0][:, mask[row].bool()]
        rows.append(" | ".join(" ".join(map(str, axis)) for axis in real.tolist()))
    return rows


def _merged_gaps(model: Any, inputs: dict[str, Any], seen: Any) -> tuple[float, float]:
    """(image rows against the tower's output, text rows against the embedding's)."""
    ids = inputs["input_ids"]
    image = ids == of(model).picture_id(model.config)
    width = seen.embeddings.shape[-1]
    pictures = (seen.embeddings[image] - seen.vision.reshape(-1, width)).abs().max()
    # By the module: some scale what the table holds.
    own = parts(model).embedding(ids[~image]).detach()
    texts = (seen.embeddings[~image] - own).abs().max()
    return float(pictures), float(texts)


def keyless_rows(model: Any, inputs: dict[str, Any]) -> str:
    """What the first layer's attention gives rows that see no key (left padding): `zeros`, or an
    `average` of all values."""
    import torch

    seen: list[Any] = []
    attention = parts(model).attention[0]
    handle = attention.register_forward_hook(
        lambda module, args, output: seen.append(output[0].detach())
    )
    try:
        with torch.no_grad():
            forward(model, inputs)
    finally:
        handle.remove()
    rows = seen[0][inputs["attention_mask"] == 0]
    return "zeros" if float(rows.abs().max()) == 0.0 else "average"


def record_pictures(recorder: Recorder, context: Context, model: Any) -> None:
    """A batch's pixels against those of its rows collated one by one, in their order; nothing of a
    family whose rows are padded to each other."""
    import torch

    rows = conversations(context, context.recipe, SIZE)
    whole = of(model).entering(batch(context, "right", rows))
    alone = [of(model).entering(batch(context, "right", [row])) for row in rows]
    if any(each.shape[1:] != whole.shape[1:] for each in alone):
        return
    apart = torch.cat(alone)

    def gap() -> float:
        if apart.shape != whole.shape:
            raise ValueError(
                f"A batch's pixels are {tuple(whole.shape)}, its rows' {tuple(apart.shape)}."
            )
        return float((apart - whole).abs().max())

    distance, failed = recorder.attempt("picture_rows", gap)
    if failed is None and distance is not None:
        recorder.add("picture_rows", distance)


@one_processor()
def run(context: Context) -> Record:
    """Hook one training forward per padding side, and one generation prefill."""
    import torch

    empty = without_weights(
        context,
        "inputs",
        (
            "patch_gap",
            "positions",
            "prefill_positions",
            "mask_gap",
            "image_rows",
            "text_rows",
            "image_features",
        ),
    )
    if empty is not None:
        return empty
    recorder = Recorder("inputs")
    model = plain_model(context).train()
    axes = of(model).POSITION_AXES
    for side in SIDES:
        inputs = batch(context, side)
        with captured(model) as seen, torch.no_grad():
            forward(model, inputs)
        pixels = of(model).entering(inputs)
        gap = (seen.patches.float() - pixels.float()).abs().max()
        recorder.add("patch_gap", float(gap), case=side)
        mask = inputs["attention_mask"]
        recorder.add("positions", spelled(seen.positions, mask, axes), case=side, unit="positions")
        recorder.tensor("position_tensor", seen.positions.cpu().numpy(), case=side)
        if seen.mask is None:
            reason = "this stack hands the decoder no 2-D mask"
            recorder.not_run("mask_gap", reason, Lack.LIBRARY, case=side)
        else:
            recorder.add("mask_gap", int((seen.mask.long() - mask).abs().max()), case=side)
        pictures, texts = _merged_gaps(model, inputs, seen)
        recorder.add("image_rows", pictures, case=side)
        recorder.add("text_rows", texts, case=side)
    record_pictures(recorder, context, model)
    record_alone(recorder, context, model)
    record_features(recorder, context, model)
    record_projected(recorder, context, model, "float32")
    inputs = batch(context, "left")
    given = keyless_rows(model, inputs)
    recorder.add("keyless_rows", given, case="left", unit="text")
    exchange = current()
    if exchange:
        exchange.keyless_rows(given)
    inputs.pop("labels")
    with captured(model.eval()) as seen, torch.no_grad():
        model.generate(**inputs, max_new_tokens=1, do_sample=False)
    mask = inputs["attention_mask"]
    recorder.add(
        "prefill_positions", spelled(seen.positions, mask, axes), case="left", unit="positions"
    )
    # A real model in float32 fills a machine: one at a time.
    del model
    record_half(recorder, context)
    cut, broken = recorder.attempt("patch_gap", lambda: pixel_gap(context), case="four_bit")
    if broken is None and cut is not None:
        recorder.add("patch_gap", cut[0], case="four_bit", how=cut[1])
    return recorder.finish(context.provenance("training 4"), context.out)
