"""Truths of rung 13: bytes and FLOPs from the config, the template, resize and BPE oracles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.data.samples import training_conversations
from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.measuring.snapshots.source import STAND_IN
from harness.recipe.published import Recipe
from suites.oracles import bpe, flops, labels
from suites.oracles import footprint as shapes
from suites.truths_footprint import stand_in_config

ORIGIN = "suites/oracles/flops.py over the template, resize and BPE oracles"
ROTARY = Band(
    BandKind.RELATIVE,
    4e-5,
    "the rotary angles, 3.3e-5 of a forward pass, are a matrix product until transformers 4 and "
    "an elementwise one in 5",
    "one adapter of one layer is 4e-4",
)


def lengths(
    rows: Sequence[Sequence[int]], control: Mapping[str, int], header: Sequence[int] | None
) -> dict[str, Any]:
    """What a batch of those rows holds once padded to the longest. header: that of the answer,
    where all before its end is masked."""
    pad = control["<|endoftext|>"]
    trained = [
        labels.completion(list(row), control, pad, header)
        if header
        else labels.recipe(list(row), control, pad)
        for row in rows
    ]
    return {
        "batch": len(rows),
        "length": max(map(len, rows)),
        "tokens": sum(map(len, rows)),
        # Labels shift by one, so the first position of a row is nobody's target. In a row that
        # is padded on the left it is not the row's first token; the first token of every
        # conversation is then a target of the padding before it.
        "trained": sum(label != labels.IGNORED for row in trained for label in row),
        "patches": [4 * list(row).count(control["<|image_pad|>"]) for row in rows],
    }


def unpadded(rows: Sequence[Sequence[int]]) -> int:
    """Rows as long as the longest: their first token has nothing before it."""
    longest = max(map(len, rows))
    return sum(len(row) == longest for row in rows)


def cost_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """What rung 13 predicts of the 7B model."""
    trainable = shapes.lora(shapes.SEVEN_B)["trainable"]
    predicted = {
        "7b.base": sum(shapes.bytes_by_part(shapes.SEVEN_B).values()),
        "7b.adapter": 4 * trainable,
        "7b.gradients": 4 * trainable,
        "7b.optimizer": 8 * trainable,
    }
    yield truth(
        "cost",
        "predicted_bytes",
        predicted,
        "suites/oracles/footprint.py",
        "NF4 base; adapter, gradients and two Adam moments in float32",
    )
    yield truth(
        "cost",
        "flops_per_token",
        {"7b": 4 * flops.decoder(shapes.SEVEN_B)},
        ORIGIN,
        "frozen base: forward and input gradient, 2 FLOPs per weight each",
    )


def step_truths(
    truth: Callable[..., Golden], expanded: Callable[[Any], str], recipe: Recipe
) -> Iterator[Golden]:
    """FLOPs and bytes of the stand-in's step over four products of the recipe's texts.

    expanded: renders a conversation with its image tokens.
    """
    config = stand_in_config()
    encoder = bpe.Encoder.from_folder(STAND_IN)
    header = encoder.encode("<|im_start|>assistant") if recipe.repairs.mask_prompt else None
    rows = [encoder.encode(expanded(m)) for m in training_conversations(4, recipe=recipe)]
    counted = {}
    for case, chosen in (("one", rows[:1]), ("four", rows)):
        batch = lengths(chosen, encoder.control, header)
        sizes = (config, batch["batch"], batch["length"])
        forward = flops.forward(*sizes, batch["patches"])
        counted[f"forward.{case}"] = forward
        counted[f"step.{case}"] = forward + flops.backward(*sizes, inputs_have_gradients=False)
        counted[f"step_checkpointed.{case}"] = (
            forward + flops.backward(*sizes, inputs_have_gradients=True) + flops.recomputed(*sizes)
        )
    golden = truth(
        "cost",
        "flops",
        counted,
        ORIGIN,
        "frozen base and vision tower, pictures attend to themselves, recompute stops before "
        "down_proj",
        ROTARY,
        "stand-in",
    )
    yield replace(golden, data="catalogue")
    # A prompt that is masked begins with no target.
    first = 0 if header else unpadded(rows)
    useful = flops.useful(config, batch["tokens"], batch["trained"] - first, batch["patches"])
    golden = truth(
        "cost",
        "useful_flops",
        {"four": useful},
        ORIGIN,
        "4 P per true token, the head on labels, the vision tower forward",
        model="stand-in",
    )
    yield replace(golden, data="catalogue")
    adapter = 4 * shapes.lora(config)["trainable"]
    logits = 4 * batch["batch"] * batch["length"] * config["vocab_size"]
    bytes_held = {
        "adapter": adapter,
        "gradients": adapter,
        "optimizer": 2 * adapter,
        "logits": logits,
    }
    golden = truth(
        "cost",
        "held_bytes",
        bytes_held,
        "suites/oracles/footprint.py",
        "float32 adapter, gradients, two moments, and logits of every position",
        model="stand-in",
    )
    yield replace(golden, data="catalogue")
