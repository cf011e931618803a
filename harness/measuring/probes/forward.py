"""Rung 8: logits at supervised positions, loss, activations, and what must not matter."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.data.samples import (
    OWN_PROMPT,
    SAMPLES,
    conversations,
    gradient,
    has_own_prompt,
    pictures_in,
    plain_conversations,
)
from harness.errors import Lack
from harness.measuring.instruments.capture import captured
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import family, plain_sizes
from harness.measuring.probes._again import record_again, record_dropout
from harness.measuring.probes._batches import (
    SIDES,
    adapted_model,
    batch,
    forward,
    one_processor,
    plain_model,
    without_weights,
)
from harness.measuring.probes._four_bit import record_product
from harness.measuring.probes._frequencies import record_frequencies
from harness.measuring.probes._mixed import record_alone, record_mixed
from harness.measuring.probes._quantised import GAPS, record_loss
from harness.measuring.probes._switched import record_switched
from harness.measuring.probes._trainers import LOSS_GAP, record_loss_gap
from harness.measuring.probes.labels import roles_of
from harness.measuring.snapshots import loading
from harness.measuring.training import adapter
from harness.recipe.published import IGNORE_INDEX, generation_messages
from harness.records.context import Context
from harness.records.record import Record

TRUTHS = (
    "loss_gap",
    "pad_influence",
    "side_gap",
    "side_gap_same_targets",
    "single_gap",
    "order_gap",
    "alone_gap",
    "swap_gap",
    "image_influence",
    LOSS_GAP,
    *GAPS,
)


def cross_entropy(logits: Any, labels: Any) -> tuple[Any, Any]:
    """(negative log-likelihoods in float64, positions) of every trained token, by definition.

    logits (batch, sequence, vocabulary) predict the next token; labels -100 are left out.
    """
    values = logits.detach().double().cpu().numpy()[:, :-1]
    targets = labels.cpu().numpy()[:, 1:]
    kept = targets != IGNORE_INDEX
    rows = values[kept]
    shifted = rows - rows.max(axis=1, keepdims=True)
    log_norm = np.log(np.exp(shifted).sum(axis=1))
    return log_norm - shifted[np.arange(len(rows)), targets[kept]], np.argwhere(kept)


def _loss(model: Any, inputs: dict[str, Any]) -> float:
    import torch

    with torch.no_grad():
        return float(forward(model, inputs).loss)


@dataclass(frozen=True)
class Passed:
    """A batch, and what the model gave for it; nothing is run twice over the same batch."""

    inputs: dict[str, Any]
    loss: float
    logits: Any

    def real(self) -> list[Any]:
        """Per row the logits of its real tokens."""
        rows = zip(self.logits, self.inputs["attention_mask"], strict=True)
        return [row[mask.bool()] for row, mask in rows]


def _passed(model: Any, inputs: dict[str, Any]) -> Passed:
    import torch

    with torch.no_grad():
        out = forward(model, inputs)
    return Passed(inputs, float(out.loss), out.logits)


def _largest(pairs: Any) -> float:
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


def _invariances(
    recorder: Recorder, context: Context, model: Any, usual: Passed, left_loss: float
) -> None:
    """What must have no influence, or exactly the one it has. usual: the batch padded right."""
    import torch

    right, whole = usual.inputs, usual.loss
    scribbled = dict(right)
    pads = right["attention_mask"] == 0
    scribbled["input_ids"] = right["input_ids"].masked_fill(pads, 7)
    recorder.add("pad_influence", abs(_loss(model, scribbled) - whole))
    recorder.add(
        "side_gap",
        abs(left_loss - whole),
        note="padded left, a row's first token becomes a target, predicted from padding",
    )
    left = batch(context, "left")
    first = left["attention_mask"].argmax(dim=1)
    left["labels"][torch.arange(len(first)), first] = IGNORE_INDEX
    recorder.add("side_gap_same_targets", abs(_loss(model, left) - whole))
    chosen = conversations(context, context.recipe, SAMPLES)
    singles = [batch(context, "right", [c]) for c in chosen]
    counts = [int((s["labels"][:, 1:] != IGNORE_INDEX).sum()) for s in singles]
    parts = [_loss(model, s) * n for s, n in zip(singles, counts, strict=True)]
    recorder.add("single_gap", abs(sum(parts) / sum(counts) - whole))
    backwards = _passed(model, batch(context, "right", chosen[::-1])).real()
    recorder.add("order_gap", _largest(zip(usual.real(), backwards[::-1], strict=True)))
    _swapped(recorder, context, model)


def _swapped(recorder: Recorder, context: Context, model: Any) -> None:
    """Two samples of one text: swapping their pictures must swap their logits, and matter."""
    row = {"Product Name": "Kestrel Studio No. 7", "Category": "A | B", "description": "Nice."}

    def pair(first: int, second: int) -> list[Any]:
        conversations = []
        for phase in (first, second):
            messages = generation_messages(
                {**row, "image": gradient(112, 84, phase)}, context.recipe
            )
            answer = {"role": "assistant", "content": [{"type": "text", "text": "Nice."}]}
            conversations.append([*messages, answer])
        return _passed(model, batch(context, "right", conversations)).real()

    one, other = pair(0, 1), pair(1, 0)
    recorder.add("swap_gap", _largest(zip(one, other[::-1], strict=True)))
    recorder.add("image_influence", _largest([(one[0], one[1])]))


def _shares(
    recorder: Recorder, context: Context, inputs: dict[str, Any], losses: Any, at: Any
) -> None:
    """How much of the loss each role carries (contradiction 6)."""
    tokenizer, chat = (
        loading.load_processor(context.snapshot).tokenizer,
        family(context.family).CHAT,
    )
    roles = [roles_of(ids, tokenizer, chat) for ids in inputs["input_ids"].tolist()]
    by_role: dict[str, float] = dict.fromkeys(("system", "user", "assistant", "control"), 0.0)
    for loss, (row, position) in zip(losses, at, strict=True):
        by_role[roles[row][position + 1]] += float(loss)
    for role, total in by_role.items():
        recorder.add("loss_share", round(total / float(losses.sum()), 6), case=role)


def record_plain(recorder: Recorder, context: Context) -> None:
    """The model's own loss, without adapters: a row with a picture, with two, with none."""
    sizes = plain_sizes(context.family, context.snapshot)
    asked = plain_conversations(sizes, context.recipe)
    model = plain_model(context)
    for side in SIDES:
        _record_rows(recorder, context, model, "plain_loss", side, asked)


def record_tuned(recorder: Recorder, context: Context, model: Any) -> None:
    """The loss of a row without pictures, with an adapter whose numbers an oracle knows.

    model: with the recipe's LoRA, whose numbers are replaced. Rows with pictures stand beside it in
    the batch and not in the record: not every release places their tokens right.
    """
    sizes = plain_sizes(context.family, context.snapshot)
    asked = plain_conversations(sizes, context.recipe)
    adapter.number_lora(model)
    texts = {case for case, messages in asked.items() if not pictures_in(messages)}
    _record_rows(recorder, context, model, "tuned_loss", "right", asked, texts)


def _record_rows(
    recorder: Recorder,
    context: Context,
    model: Any,
    metric: str,
    side: str,
    asked: dict[str, Any],
    wanted: Container[str] | None = None,
) -> None:
    """The loss of each row of a batch by itself. asked: conversations by case. wanted: cases that
    are recorded; all by default."""
    out, broken = recorder.attempt(
        metric, lambda: _passed(model, batch(context, side, list(asked.values()))), case=side
    )
    if broken is not None or out is None:
        return
    labels = out.inputs["labels"].masked_fill(out.inputs["attention_mask"] == 0, IGNORE_INDEX)
    first = out.inputs["attention_mask"].argmax(dim=1)
    for row, case in enumerate(asked):
        # A row's first token is predicted by nothing, or by padding.
        labels[row, first[row]] = IGNORE_INDEX
        losses, _ = cross_entropy(out.logits[row : row + 1], labels[row : row + 1])
        if wanted is None or case in wanted:
            recorder.add(metric, float(losses.mean()), case=f"{side}_{case}")


@one_processor()
def run(context: Context) -> Record:
    """One adapted model, float32, no dropout; losses, activations and invariances."""
    import torch

    empty = without_weights(context, "forward", TRUTHS)
    if empty is not None:
        return empty
    recorder = Recorder("forward")
    model, by_side = adapted_model(context), {}
    for side in SIDES:
        inputs = batch(context, side)
        with captured(model) as seen:
            out = _passed(model, inputs)
        by_side[side] = out.loss
        losses, at = cross_entropy(out.logits, inputs["labels"])
        recorder.add("loss", out.loss, case=side, unit="nats/token")
        recorder.add("loss_gap", abs(out.loss - float(losses.mean())), case=side)
        recorder.add("trained_tokens", len(losses), case=side, unit="tokens")
        rows = torch.as_tensor(at[:: max(1, len(at) // 32)])
        picked = out.logits[rows[:, 0], rows[:, 1]].float().cpu().numpy()
        recorder.tensor("logits", picked, case=side)
        norms = [float(layer[inputs["attention_mask"].bool()].norm()) for layer in seen.layers]
        for depth, norm in enumerate(norms):
            recorder.add("layer_norm", norm, case=f"{side}_{depth}")
    _shares(recorder, context, inputs, losses, at)
    _invariances(recorder, context, model, out, by_side["left"])
    _contradictions(recorder, context, model, out.loss)
    record_again(recorder, context, model, out.loss)
    record_mixed(recorder, context, model)
    record_alone(recorder, context, model)
    record_switched(recorder, context, model, out.inputs, out.logits)
    record_tuned(recorder, context, model)
    record_frequencies(recorder, model)
    del model
    record_loss_gap(recorder, context)
    record_dropout(recorder, context)
    record_loss(recorder, context)
    record_product(recorder, context)
    record_plain(recorder, context)
    return recorder.finish(context.provenance("training 4"), context.out)


def _contradictions(recorder: Recorder, context: Context, model: Any, usual: float) -> None:
    """Effects on the loss of the recipe's contradictions 1 and 8, whichever of them it repairs.

    usual: the loss under the recipe as it is.
    """
    if has_own_prompt(context):
        for name in ("order_effect", "space_effect"):
            recorder.not_run(name, OWN_PROMPT, Lack.DATA)
        return
    chosen = conversations(context, context.recipe, SAMPLES)
    turned = [
        [m if m["role"] != "user" else {**m, "content": m["content"][::-1]} for m in c]
        for c in chosen
    ]
    recorder.add(
        "order_effect",
        _loss(model, batch(context, "right", turned)) - usual,
        unit="nats/token",
        note="image before text, as when generating, less text before image, as when training",
    )

    def loss_of(tutorial_prompt: bool) -> float:
        if tutorial_prompt == context.recipe.repairs.tutorial_prompt:
            return usual
        repairs = replace(context.recipe.repairs, tutorial_prompt=tutorial_prompt)
        prompted = conversations(context, replace(context.recipe, repairs=repairs), SAMPLES)
        return _loss(model, batch(context, "right", prompted))

    recorder.add(
        "space_effect",
        loss_of(True) - loss_of(False),
        unit="nats/token",
        note="the tutorial's empty fourth line less the post's single space",
    )
