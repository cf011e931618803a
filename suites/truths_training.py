"""Truths of rungs 11 and 12: arithmetic, what the config counts to, and the quality required."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from harness.data.catalogue import products
from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.recipe.published import REFERENCE, Recipe, training_messages
from suites.oracles.ladder import IGNORED, Oracle
from suites.oracles.worked_out import completion_labels, recipe_labels
from suites.truths_kept import merge_truths, reload_truths, resume_truths, saved_truths

# Values per attribute of the catalogue: 6 kinds, 8 colours, 4 shapes, 4 marks. Blind guessing
# reaches one over that.
CHANCE = {"kind": 1 / 6, "colour": 1 / 8, "shape": 1 / 4, "mark": 1 / 4}
# What the recipe's stand-in reads off a picture at least, and any other family's.
FLOORS = dict.fromkeys(CHANCE, 0.6)
FLOORS_OF_OTHERS = {"colour": 0.9, "kind": 0.7}
# The share of 112 products that guessing at 1/4 reaches has a standard deviation of 0.041.
ABOVE_CHANCE = 0.15
# Of a ROUGE-L and a share (to 1), a chrF (to 100): above the zero that the same texts twice give.
LEAST_GAIN = 0.01


def adapter_tensors(folder: Path) -> dict[str, list[int]]:
    """Shapes of the saved adapter from the configuration: A is r × in, B is out × r."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    hidden, rank = config["hidden_size"], REFERENCE.lora.r
    head = hidden // config["num_attention_heads"]
    out = {"q_proj": hidden, "v_proj": head * config["num_key_value_heads"]}
    shapes = {}
    for layer in range(config["num_hidden_layers"]):
        for module in REFERENCE.lora.target_modules:
            stem = f"model.layers.{layer}.self_attn.{module}.lora_"
            shapes[f"{stem}A.weight"] = [rank, hidden]
            shapes[f"{stem}B.weight"] = [out[module], rank]
    return dict(sorted(shapes.items()))


def training_identities(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rungs 11 and 12, what holds for any model."""
    why = "the same weights in the same order of operations give the same bits"
    yield truth("trajectory", "reload_gap", {"": 0.0}, "arithmetic", why)
    why = f"every {REFERENCE.training.logging_steps} steps are logged, and no other"
    yield truth("trajectory", "log_strays", {"": []}, "the recipe", why)
    yield from merge_truths(truth)
    why = "LoRA trains its own matrices and nothing else"
    yield truth("trajectory", "base_changed", {"": False}, "definition of LoRA", why)
    why = "nor asks for another gradient: in 16 bits a weight may train and, for now, not move"
    yield truth("trajectory", "trained_strays", {"": []}, "definition of LoRA", why)
    why = (
        "every logged rate is the schedule's: `constant` has no warm-up (contradiction 2), its "
        "repair rises over the first 3 % of the steps"
    )
    yield truth("trajectory", "learning_rate_gap", {"": 0.0}, "definition", why)
    yield from reload_truths(truth)
    yield from resume_truths(truth)
    why = "a masked position has no influence, so padding cannot make a loss infinite"
    yield truth("trajectory", "bf16_loss_is_finite", {"": True}, "arithmetic", why)
    band = Band(
        BandKind.ABSOLUTE,
        0.05,
        "two orders of the same sums; bfloat16 weights round at 2⁻⁸",
        "a gradient that is five per cent off",
    )
    why = "every implementation of attention has the same gradient"
    yield truth("trajectory", "padded_gradient", {"": 1.0}, "arithmetic", why, band)
    why = "padding has no influence, so no length of it makes a gradient that is no number"
    yield truth("trajectory", "padded_gradient_is_finite", {"": True}, "arithmetic", why)
    why = "left padding behind a right mask has no influence, so a batch gives what one gives"
    yield truth("generation", "batch_gap", {"": 0}, "arithmetic", why)
    why = "prompt tokens are trimmed and control tokens skipped"
    yield truth("generation", "prompt_leak", {"": 0}, "definition", why)
    why = "sampling at temperature 0.8 does not give the greedy text every time"
    yield truth("generation", "sampling_is_greedy", {"": False}, "the recipe's intent", why)


def dtype_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 11, in what the recipe trains: peft keeps adapters of half-precision models in float32,
    and AdamW its moments in their parameters' dtype."""
    origin = "peft's autocast_adapter_dtype; arXiv 1711.05101"
    why = "16 bits lose steps that are smaller than a weight's last bit"
    yield truth("trajectory", "trained_dtypes", {"": ["float32"]}, origin, why)
    yield truth("trajectory", "optimizer_dtypes", {"": ["float32"]}, origin, why)


def epoch_truths(truth: Callable[..., Golden], oracle: Oracle, recipe: Recipe) -> Iterator[Golden]:
    """Rung 11: what one epoch over the catalogue trains under a vocabulary, whatever the order.

    A picture's positions are never targets, so texts are enough.
    """
    total = 0
    for product in products("train"):
        row = {
            "image": None,
            "Product Name": product.name,
            "Category": product.category,
            "description": product.description,
        }
        ids = oracle.encode(oracle.render(training_messages(row, recipe)))
        labels = completion_labels if recipe.repairs.mask_prompt else recipe_labels
        total += sum(label != IGNORED for label in labels(oracle, ids))
    why = "the targets of every product's conversation, each counted once"
    origin = "suites/oracles/labels.py over the template and BPE oracles"
    golden = truth("trajectory", "epoch_targets", {"": total}, origin, why, model="stand-in")
    yield replace(golden, data="catalogue")


def stand_in_identities(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rungs 11 and 12 of any family's stand-in."""
    yield from _learning_truths(truth)
    yield from _gain_truths(truth)
    yield from _grounding_truths(truth, FLOORS_OF_OTHERS)


def trajectory_truths(truth: Callable[..., Golden], stand_in: Path) -> Iterator[Golden]:
    """Rung 11 of the recipe's stand-in."""
    yield from _learning_truths(truth)
    why = "A is r × in and B is out × r for q_proj and v_proj of every language layer"
    shapes = adapter_tensors(stand_in)
    yield truth("trajectory", "adapter_tensors", {"": shapes}, "config.json", why, model="stand-in")


def _learning_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """That every product is learnt from, and that something is."""
    why = "an epoch shows every product exactly once"
    yield truth("trajectory", "epoch_target_gap", {"": 0}, "arithmetic", why, model="stand-in")
    band = Band(
        BandKind.AT_LEAST,
        0.0,
        "training lowers the loss",
        "a run that does not learn, or one that diverges",
    )
    # A loss that is logged as 0.0 throughout does not fall either.
    why = "the median of the first quarter of losses is above that of the last, by 0.01 at least"
    yield truth("trajectory", "loss_drop", {"": 0.01}, "requirement", why, band, "stand-in")


def generation_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 12 of the recipe's stand-in."""
    yield from _gain_truths(truth)
    yield from _grounding_truths(truth, FLOORS)


def _gain_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """That training makes the texts better."""
    cases = [f"{score}.greedy" for score in ("rouge_l", "chrf", "format")]
    band = Band(
        BandKind.AT_LEAST,
        0.0,
        "the paired 95 % interval over products lies above a hundredth of a point",
        "training that does not change the texts for the better, an adapter lost on the way to "
        "them",
    )
    why = "tuned beats base on held-out products"
    yield truth(
        "generation",
        "gain_low",
        dict.fromkeys(cases, LEAST_GAIN),
        "requirement",
        why,
        band,
        "stand-in",
    )


def _grounding_truths(
    truth: Callable[..., Golden], floors: Mapping[str, float]
) -> Iterator[Golden]:
    """Floors for what is read off the picture, ceilings for the controls. floors: by attribute."""
    floor = Band(BandKind.AT_LEAST, 0.0, "required of the stand-in", "a model that looks away")
    wanted = {f"base.greedy.{a}": floor_of for a, floor_of in floors.items()}
    why = "the base reads each attribute off the picture, where chance is at most 0.25"
    yield truth("generation", "grounding", wanted, "requirement", why, floor, "stand-in")
    kept = dict.fromkeys(CHANCE, -0.05)
    why = "fine-tuning costs at most 0.05 of grounding"
    yield truth("generation", "grounding_kept", kept, "requirement", why, floor, "stand-in")
    over = dict.fromkeys(CHANCE, 0.1)
    why = "better than a template that never sees the picture"
    yield truth(
        "generation", "grounding_over_template", over, "requirement", why, floor, "stand-in"
    )
    ceiling = Band(
        BandKind.AT_MOST,
        ABOVE_CHANCE,
        "over three standard deviations of a share of 112 products",
        "an attribute that leaks through the text",
    )
    limits = {f"{model}.{a}": c for model in ("base", "tuned") for a, c in CHANCE.items()}
    why = "with another product's picture only chance is left"
    yield truth("generation", "grounding_shuffled", limits, "chance", why, ceiling, "stand-in")
    why = "with a blank picture only chance is left"
    yield truth("generation", "grounding_blank", limits, "chance", why, ceiling, "stand-in")


def training_truths(truth: Callable[..., Golden], stand_in: Path) -> Iterator[Golden]:
    """Both rungs."""
    yield from training_identities(truth)
    yield from saved_truths(truth)
    yield from trajectory_truths(truth, stand_in)
    yield from generation_truths(truth)
