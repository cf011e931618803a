"""Truths of rungs 7 to 10: zero gaps and the bands that float32 allows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.recipe.published import REFERENCE, Recipe
from suites.oracles.shuffling import epochs
from suites.truths_four_bit import (
    LOGITS,
    below,
    four_bit_gradient_truth,
    four_bit_truths,
    repacked_truth,
)
from suites.truths_schedules import other_schedule_truths

SIDES = ("left", "right")
# The recipe's rows, and rows of two pictures, one and none beside each other.
MIXED = {"": 0.0, "mixed": 0.0}
EPSILON = 2.0**-23


# A loss of about 7 nats, a sum over some 600 tokens of 960 logits each, in float32: reordering
# costs a few units in the last place of 7, that is 4 × 8 × 2⁻²³ ≈ 4e-6.
LOSS = below(
    5e-6, "float32: a few units in the last place of a loss of 7", "one wrong target in 600"
)
EXACT = below(0.0, "copied, not computed", "any change")


def inputs_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 7; the positions depend on the vocabulary and are written with it."""
    both = dict.fromkeys(SIDES, 0.0)
    why = "the processor's pixels reach the patch embedding unchanged"
    yield truth("inputs", "patch_gap", {**both, "four_bit": 0.0}, "arithmetic", why, EXACT)
    why = "the collator's mask reaches the decoder unchanged"
    yield truth("inputs", "mask_gap", dict.fromkeys(SIDES, 0), "arithmetic", why)
    why = "image tokens hold the tower's outputs in order"
    yield truth("inputs", "image_rows", both, "arithmetic", why, EXACT)
    why = "all other tokens hold their embedding"
    yield truth("inputs", "text_rows", both, "arithmetic", why, EXACT)


def row_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rungs 7 and 12, of the recipe's own family: its pictures lie one behind the other, and its
    end token is no padding."""
    why = "the end token, its row's third, is that row's last; the other has all that it may"
    yield truth("generation", "ended_after", {"": [3, 6]}, "arithmetic", why)
    why = "a temperature divides the logits that a token is drawn by"
    yield truth("generation", "temperature_gap", {"": 0.0}, "arXiv 1503.02531", why, LOGITS)
    yield from drawing_truths(truth)
    why = "pixels are rounded to the type of the weights that they meet, and no further"
    rounded = dict.fromkeys(("float32", "bfloat16"), 0.0)
    yield truth("inputs", "projected_gap", rounded, "arithmetic", why, EXACT)
    why = "a picture sees itself alone, whatever stands beside it"
    band = below(2e-5, "float32 of a few blocks, sums in another order", "any other picture seen")
    yield truth("inputs", "alone_gap", {"": 0.0}, "arXiv 2307.06304", why, band)
    why = "a batch holds the pixels of its rows, in their order"
    yield truth("inputs", "picture_rows", {"": 0.0}, "arithmetic", why, EXACT)


def drawing_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 12, one token."""
    why = "without drawing the likeliest token is taken"
    yield truth("generation", "greedy_gap", {"": 0.0}, "definition", why, EXACT)
    why = "the five likeliest; as few of the likeliest as reach nine tenths"
    kept = {"top_k": 0, "top_p": 0}
    yield truth("generation", "kept_gap", kept, "arXiv 1904.09751", why)
    why = "four tokens of known shares at a temperature, drawn 192 times"
    spread = "of 192 draws 0.046 is the mean and 0.021 the standard deviation"
    band = below(0.15, spread, "always the likeliest: 0.56; all as likely: 0.24")
    yield truth("generation", "drawn_gap", {"": 0.0}, "arXiv 1503.02531", why, band)
    why = "what was encoded, its ends of turns left out and no space moved"
    text = {"": "Soft , small . It 's not heavy ?"}
    yield truth("generation", "decoded", text, "arithmetic", why)


def forward_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 8."""
    both = dict.fromkeys(SIDES, 0.0)
    why = "mean negative log-likelihood of the next token over what is not -100"
    yield truth("forward", "loss_gap", both, "cross-entropy by its definition, float64", why, LOSS)
    for metric, reason in (
        ("pad_influence", "a masked token has no influence"),
        ("side_gap", "padding left or right does not change the loss"),
        ("side_gap_same_targets", "the same, over targets that a real token predicts"),
    ):
        yield truth("forward", metric, {"": 0.0}, "arithmetic", reason, LOSS)
    why = "a batch is the token-weighted mean of its samples"
    yield truth("forward", "single_gap", MIXED, "arithmetic", why, LOSS)
    why = "reversing a batch reverses its logits"
    yield truth("forward", "order_gap", MIXED, "arithmetic", why, LOGITS)
    why = "a row that is padded left is what it is alone, whichever row is the longest"
    orders = dict.fromkeys(("longest_first", "longest_last"), 0.0)
    # Padding may move a row's positions: 30 × 300 × 2⁻²⁴ ≈ 5e-4.
    turned = "float32: logits of 30, angles of 300 positions, each row turned from elsewhere"
    band = below(1e-3, turned, "any position of padding seen")
    yield truth("forward", "alone_gap", orders, "arithmetic", why, band)
    why = "swapping two pictures swaps the logits"
    yield truth("forward", "swap_gap", {"": 0.0}, "arithmetic", why, LOGITS)
    why = "switched off, an adapter leaves its base; switched on again, it is what it was"
    yield truth("forward", "switched_gap", {"off": 0.0, "on": 0.0}, "arithmetic", why, LOGITS)
    yield from four_bit_truths(truth)
    band = Band(
        BandKind.AT_LEAST, 0.0, "far above float32 rounding of a logit", "a picture ignored"
    )
    why = "another picture gives other logits"
    yield truth("forward", "image_influence", {"": 0.01}, "arithmetic", why, band)


def frequency_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 8, of the recipe's own family: what its published configs say."""
    bases = {"tower": 10000.0, "decoder": 1000000.0}
    band = Band(BandKind.RELATIVE, 1e-5, "float32 of the smallest frequency", "another base")
    why = "rope_theta of the published configs; the tower's code has its own"
    yield truth("forward", "rotary_base", bases, "config.json of Qwen2-VL", why, band)
    band = below(2e-6, "float32 of a power, a few roundings", "frequencies rounded to 16 bits")
    why = "frequencies are the base's powers"
    both = dict.fromkeys(bases, 0.0)
    yield truth("forward", "frequency_gap", both, "arXiv 2104.09864", why, band)
    why = "the rotary frequencies are never rounded to 16 bits"
    types = {part: ["float32"] for part in bases}
    yield truth("forward", "frequency_dtypes", types, "arithmetic", why)
    yield repacked_truth(truth)


def again_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 8: what a model remembers, and dropout."""
    for metric, why in (
        ("repeat_gap", "the same batch twice gives the same loss"),
        ("after_generation_gap", "and so it does after a generation"),
    ):
        yield truth("forward", metric, {"": 0.0}, "arithmetic", why, LOSS)
    why = "kept keys and states are those that are computed anew"
    yield truth("forward", "cache_gap", MIXED, "arithmetic", why, LOGITS)
    rate = REFERENCE.lora.lora_dropout
    band = below(
        0.005,
        "six standard deviations of 0.05 over 60,000 elements are 0.0053; a batch has more",
        "a tenth of the rate",
    )
    cases = {"train": rate, "eval": 0.0}
    yield truth("forward", "dropout_share", cases, "the recipe", "lora_dropout", band)
    why = "every adapter's dropout drops something"
    yield truth("forward", "dropout_silent", {"": []}, "arithmetic", why)
    why = "what is kept is divided by the share that is kept"
    band = below(1e-6, "one rounding of float32", "any other scale")
    yield truth("forward", "dropout_scale_gap", {"": 0.0}, "arXiv 1207.0580", why, band)
    why = "dropout is the adapters' alone: with B of nothing training computes what evaluation does"
    yield truth("forward", "dropout_base_gap", {"": 0.0}, "arXiv 2106.09685", why, LOGITS)


def backward_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 9."""
    # Seen over steps of 0.002 to 0.02 on both stacks: 4e-6 to 3e-4, at the step used below 2e-5.
    band = below(
        2e-4, "float32 inside norms; Richardson over two steps", "a gradient off by 0.03 %"
    )
    why = "autograd agrees with central differences along the gradient"
    yield truth("backward", "finite_difference_gap", {"": 0.0}, "arithmetic", why, band)
    why = "and along a direction in which nothing that is lost of the gradient is lost"
    yield truth("backward", "direction_gap", {"": 0.0}, "arithmetic", why, band)
    why = "a masked target has no gradient"
    yield truth("backward", "masked_gradient", {"": 0.0}, "arithmetic", why, EXACT)
    why = "checkpointing recomputes the same numbers"
    band = below(1e-5, "float32 recomputation in another order", "a lost gradient")
    yield truth("backward", "checkpoint_gap", {"": 0.0}, "arithmetic", why, band)
    why = "what is computed again has the dropout masks that it had"
    yield truth("backward", "dropout_checkpoint_gap", {"": 0.0}, "arithmetic", why, band)
    why = "with B = 0 nothing depends on A"
    yield truth("backward", "gradient_of_a_at_zero_b", {"": 0.0}, "arithmetic", why, EXACT)
    why = "nothing before a frozen tower asks for its gradient"
    cases = {"plain": False, "checkpointed": False}
    yield truth("backward", "tower_ran_backward", cases, "arithmetic", why)
    why = "every LoRA tensor is trained"
    yield truth("backward", "lora_without_gradient", {"": 0}, "arithmetic", why)
    yield four_bit_gradient_truth(truth)
    why = "nothing but LoRA is trained"
    yield truth("backward", "frozen_with_gradient", {"": 0}, "arithmetic", why)


def update_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 10."""
    # Roundings of 2⁻²⁴ that know nothing of each other, at most √n of them in a sum of n: of a 7B's
    # 28 layers seven products each, of 18,944 numbers the widest. Seen on an H200: 2.4e-5.
    limit = round(2.0**-24 * math.sqrt(28 * 7 * 18_944), 6)
    rounded = "float32 sums in another order, through the 28 layers of a 7B"
    band = below(limit, rounded, "one micro-batch weighted 0.05 % wrongly")
    why = "accumulating 2×4 equals one batch of 8"
    yield truth("update", "accumulation_gap", {"": 0.0}, "arithmetic", why, band)
    band = below(1e-4, "torch adds 1e-6 to the norm; float32", "a threshold off by 0.01 %")
    why = "a gradient above the threshold is scaled to it"
    yield truth("update", "clip_gap", {"": 0.0}, "arithmetic", why, band)
    band = Band(BandKind.AT_MOST, 1e-5, "float32 of the total norm", "no clipping")
    why = "no step's gradient is larger than max_grad_norm"
    yield truth("update", "largest_norm", {"": 0.3}, "the recipe", why, band)
    why = "the recipe sets no weight decay"
    yield truth("update", "weight_decay", {"": [0.0] * 4}, "the recipe", why)
    band = below(
        1e-4, "four float32 updates against float64", "a moment's coefficient off by 0.1 %"
    )
    why = "AdamW by its definition"
    for metric in ("adamw_gap", "decayed_gap"):
        yield truth("update", metric, {"": 0.0}, "arXiv 1711.05101, float64", why, band)
    why = "every LoRA tensor moves"
    yield truth("update", "tensors_that_never_moved", {"": 0}, "arithmetic", why)
    band = below(3e-5, "float32 of the total norm, 1e-4 of it", "a threshold off by 0.01 %")
    why = "what is left of a gradient a billion times too large is max_grad_norm"
    threshold = {"": REFERENCE.training.max_grad_norm}
    yield truth("update", "own_threshold", threshold, "the recipe", why, band)
    yield from other_schedule_truths(truth)
    yield from epoch_truths(truth)
    yield from log_truths(truth)
    yield from given_truths(truth)


def log_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 10, what is logged of a step."""
    rounded = "half of 1e-4, for transformers rounded logged losses to four decimals, and float32"
    band = below(5.1e-5, rounded, "a loss off by 0.0001")
    why = "a step's logged loss is its own"
    yield truth("update", "logged_loss_gap", {"": 0.0}, "arithmetic", why, band)
    why = "a step's logged rate is the one that its optimizer used"
    yield truth("update", "logged_rate_gap", {"": 0.0}, "arithmetic", why, EXACT)
    band = below(2e-5, "float32 sums in another order", "a norm off by 0.01 %")
    why = "the logged norm is that of the whole gradient, before it is clipped"
    gaps = dict.fromkeys(("whole", "clipped"), 0.0)
    yield truth("update", "logged_norm_gap", gaps, "arithmetic", why, band)
    why = "steps of four of eight rows end half an epoch each"
    places = {"": [0.5, 1.0, 1.5, 2.0]}
    yield truth("update", "logged_epochs", places, "arithmetic", why)
    why = "the mean loss is the mean of the steps' own"
    yield truth("update", "mean_loss_gap", {"": 0.0}, "arithmetic", why, LOSS)
    # The recipe's trl logs neither.
    why = "tokens so far are those of the rows that the model was given, padding apart"
    counted = truth("update", "logged_tokens_gap", {"": 0.0}, "arithmetic", why, EXACT)
    yield replace(counted, required=False)
    why = "the share of the step's targets that its logits held the likeliest"
    band = below(0.007, "two logits that tie, in one row of 160 targets", "two targets in 160")
    shares = truth("update", "logged_accuracy_gap", {"": 0.0}, "definition", why, band)
    yield replace(shares, required=False)
    why = "the mean entropy, in nats, of what is said of the step's targets"
    band = below(1e-4, "float32 of an entropy of up to 12, summed over 600", "one target in 7000")
    entropy = truth("update", "logged_entropy_gap", {"": 0.0}, "definition", why, band)
    yield replace(entropy, required=False)


def given_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 10, what the trainer gives the model."""
    why = "what the collator made of its rows is what the model is given"
    yield truth("update", "batch_gap", {"": []}, "arithmetic", why)
    why = "a model that is trained is in training mode: its adapters' dropout drops"
    yield truth("update", "trained_in", {"": ["training"]}, "arXiv 1207.0580", why)
    why = f"the recipe's optimizer is {REFERENCE.training.optim}"
    yield truth("update", "fused", {"": True}, "the recipe", why)


def epoch_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 10, the rows of an epoch: of the catalogue, where no two rows are alike."""
    rows = epochs(8, REFERENCE.training.seed, 2)
    why = "every row once an epoch, in the order of the seed plus the epoch's number"
    order = {f"epoch_{number}": order for number, order in enumerate(rows)}
    origin = "suites/oracles/shuffling.py"
    yield replace(truth("update", "row_order", order, origin, why), data="catalogue")
    why = "five rows, two a micro-batch and two micro-batches a step, twice: what is left over at "
    why += "the end of an epoch has a step of its own"
    yield truth("update", "rows_of_steps", {"": [4, 1, 4, 1]}, "arithmetic", why)
    band = below(
        2e-4, "float32 of a small gradient, sums in another order", "a row weighted 0.1 % wrongly"
    )
    why = "a step's gradient is the mean over its own rows, and begins at nothing"
    gaps = dict.fromkeys(("first", "later", "shorter"), 0.0)
    origin = "autograd of each row by itself"
    yield truth("update", "step_gap", gaps, origin, why, band)


def share_truths(truth: Callable[..., Golden], recipe: Recipe) -> Iterator[Golden]:
    """What a masked prompt has of the loss; otherwise the weights decide."""
    if recipe.repairs.mask_prompt:
        why = "what is masked is no target and has no loss"
        yield truth("forward", "loss_share", {"system": 0.0, "user": 0.0}, "definition", why)


def inside_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rungs 7 to 10."""
    yield from inputs_truths(truth)
    yield from forward_truths(truth)
    yield from backward_truths(truth)
    yield from update_truths(truth)
