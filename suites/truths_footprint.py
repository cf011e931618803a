"""Truths of rung 6 and of the predicted part of rung 13, from config numbers alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.recipe.published import PRINTED_LORA, REFERENCE
from suites.oracles import architecture as counts
from suites.oracles import footprint as oracle
from suites.oracles import held, nf4, qwen2_vl

STAND_IN = (
    Path(__file__).resolve().parent.parent / "harness/measuring/stand_in/qwen2_vl/config.json"
)
FROM_CONFIG = "suites/oracles/footprint.py"
REACH = "8 × (in + out) of every q_proj and v_proj: the targets reach the decoder and nothing else"
REASONS = {
    **counts.REASONS,
    "lora_modules": "q_proj and v_proj of the decoder; the vision tower has one fused qkv",
    "lora_by_component": REACH,
    "lora_reach": REACH,
}


def stand_in_config() -> dict[str, Any]:
    """The stand-in's config.json."""
    config: dict[str, Any] = json.loads(STAND_IN.read_text("utf-8"))
    return config


def architecture(
    truth: Callable[..., Golden], configs: Mapping[str, Mapping[str, Any]], model: str
) -> Iterator[Golden]:
    """Counts, bytes and LoRA of configs by case."""
    models = {case: oracle.architecture(config) for case, config in configs.items()}
    for each in counts.truths(models, FROM_CONFIG, REASONS):
        yield truth("model", each.metric, each.cases, each.origin, each.reason, model=model)


def loaded(
    truth: Callable[..., Golden], config: Mapping[str, Any], model: str, required: bool
) -> Iterator[Golden]:
    """What loading the weights must give."""
    for each in counts.loaded_truths(oracle.architecture(config), FROM_CONFIG):
        one = truth("model", each.metric, each.cases, each.origin, each.reason, model=model)
        yield replace(one, required=required)


def footprint_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 6."""
    stand_in = stand_in_config()
    yield from architecture(truth, oracle.SIZES, "any")
    yield from architecture(truth, {"model": stand_in}, "stand-in")
    yield from loaded(truth, stand_in, "stand-in", True)
    for each in held.truth(qwen2_vl.settings(stand_in), "suites/oracles/qwen2_vl.py"):
        one = truth("model", each.metric, each.cases, each.origin, each.reason, model="stand-in")
        yield replace(one, required=each.required)
    yield from recipe_lora_truths(truth)


def recipe_lora_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """The recipe's LoraConfig, and what the library counts of a model."""
    printed = {k: sorted(v) if k == "target_modules" else v for k, v in PRINTED_LORA.items()}
    yield truth(
        "model", "lora_field", printed, "the post, peft 0.13.0's repr", "the recipe's LoraConfig"
    )
    yield truth(
        "model",
        "lora_new_fields",
        {"": []},
        "the post, peft 0.13.0's repr",
        "the printed repr holds every field there is",
    )
    gap = truth(
        "model",
        "library_footprint_gap",
        {"model": 0},
        "arithmetic",
        "get_memory_footprint() is parameters and buffers, without the quantisation state",
    )
    yield replace(gap, required=False)
    why = "the recipe's bnb_4bit_quant_type"
    kind = truth("model", "quant_type", {"model": ["nf4"]}, "the recipe", why)
    yield replace(kind, required=False)
    origin = "arXiv 2305.14314, appendix E; suites/oracles/nf4.py"
    why = "the sixteen values that NF4's codes mean"
    code = truth("model", "quant_code", {"model": [nf4.VALUES.tolist()]}, origin, why)
    yield replace(code, required=False)


def value_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Of the recipe's own family, whose checkpoints hold a model's tensors as it does."""
    why = "a model has its snapshot's tensors, each in the type that it is loaded in"
    yield _of_loaded(truth("model", "loaded_strays", {"model": []}, "the snapshot", why))
    # The nearest two of NF4's values are 0.08 apart, times a block's largest.
    band = Band(BandKind.ABSOLUTE, 2.0**-8, "one rounding to bfloat16", "another code of a weight")
    why = "a 4-bit weight is what NF4 makes of the snapshot's"
    origin = "arXiv 2305.14314; harness/measuring/instruments/nf4.py"
    yield _of_loaded(truth("model", "nf4_gap", {"model": 0.0}, origin, why, band))
    why = "a 4-bit weight has the codes that NF4 gives it"
    yield _of_loaded(truth("model", "weight_codes_off", {"model": 0}, origin, why))
    # The scales' mean is a sum in any order: one of them may lie between two values of the map.
    rounded = "one scale between two codes, whose mean was summed in another order"
    band = Band(BandKind.ABSOLUTE, 1.0, rounded, "another way to look codes up")
    why = "the scales of a double-quantised weight have the codes of the nearest 8-bit values, by "
    why += "the library's own table of them where it has one"
    origin = "arXiv 2305.14314; arXiv 2110.02861; harness/measuring/instruments/nf4.py"
    yield _of_loaded(truth("model", "scale_codes_off", {"model": 0}, origin, why, band))


def start_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """How an adapter begins (arXiv 2106.09685; peft's Kaiming with a slope of √5)."""
    origin = "arXiv 2106.09685"
    why = "B begins at nothing: the first step's model is the base"
    yield _of_loaded(truth("model", "start_of_b", {"model": 0.0}, origin, why))
    origin = "arXiv 1502.01852 with a slope of √5"
    band = Band(BandKind.AT_MOST, 2.0**-8, "one rounding to bfloat16", "any wider distribution")
    why = "A is uniform up to one over the root of its inputs"
    yield _of_loaded(truth("model", "start_reach", {"model": 1.0}, origin, why, band))
    spread = "the mean of 8,192 squares: six standard deviations of 0.005"
    band = Band(BandKind.ABSOLUTE, 0.03, spread, "another distribution, or 3 % more of this one")
    yield _of_loaded(truth("model", "start_spread", {"model": 1.0}, origin, why, band))
    why = "lora_alpha over r"
    factors = {"model": [REFERENCE.lora.lora_alpha / REFERENCE.lora.r]}
    yield _of_loaded(truth("model", "lora_scaling", factors, "arXiv 2106.09685", why))
    why = "every adapted Linear has the recipe's rank and dropout"
    for metric, value in (
        ("lora_ranks", REFERENCE.lora.r),
        ("lora_dropouts", REFERENCE.lora.lora_dropout),
    ):
        yield _of_loaded(truth("model", metric, {"model": [value]}, "the recipe", why))
    why = "every adapter is at work when it is put on: none switched off, none merged"
    yield _of_loaded(truth("model", "lora_idle", {"model": []}, "arXiv 2106.09685", why))


def config_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """What a loaded model makes of its config."""
    why = "a loaded model has its config.json's numbers"
    yield _of_loaded(truth("model", "config_strays", {"": []}, "the snapshot", why))


def _of_loaded(golden: Golden) -> Golden:
    """Where nothing is loaded nothing is asked."""
    return replace(golden, required=False)


def reach_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """What the recipe means its targets to reach."""
    origin = "the recipe: adapters on the language model's attention"
    cases: dict[str, list[str]] = {"model": []}
    why = "only the decoder is adapted: what sees pictures stays as it is"
    yield truth("model", "lora_strays", cases, origin, why)
    why = "every layer of the decoder is adapted"
    yield truth("model", "lora_missed", cases, origin, why)
    origin = "the recipe: adapters on what is called q_proj and v_proj"
    why = "peft adapts every module that the targets name, or none of any"
    yield truth("model", "lora_refused", cases, origin, why)
