"""Truths of rung 6 and of the predicted part of rung 13, from config numbers alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.judging.goldens.golden import Golden
from harness.recipe.published import PRINTED_LORA
from harness.records.files import json_digest
from suites.oracles import footprint as oracle

STAND_IN = (
    Path(__file__).resolve().parent.parent / "harness/measuring/stand_in/qwen2_vl/config.json"
)
FROM_CONFIG = "suites/oracles/footprint.py"
COUNTED = "every matrix of the architecture, written out from the config's numbers"
SCHEMES: Mapping[str, Mapping[str, Any]] = {
    "bf16": {"four_bit": False},
    "nf4_double": {},
    "nf4_single": {"double": False},
    "nf4_double_vision_bf16": {"vision_four_bit": False},
    "nf4_double_prepared": {"rest": 4},
}


def stand_in_config() -> dict[str, Any]:
    """The stand-in's config.json."""
    config: dict[str, Any] = json.loads(STAND_IN.read_text("utf-8"))
    return config


def place(name: str) -> str:
    """Language model, vision tower or output head."""
    return name.split(".", 1)[0]


def architecture(
    truth: Callable[..., Golden], config: Mapping[str, Any], case: str, model: str
) -> Iterator[Golden]:
    """Counts, bytes and LoRA of one config."""

    def said(metric: str, cases: Mapping[str, Any], reason: str = COUNTED) -> Golden:
        return truth("model", metric, cases, FROM_CONFIG, reason, model=model)

    shapes = {name: list(shape) for name, shape in oracle.parameters(config).items()}
    matrices = oracle.linears(config)
    places = sorted(set(map(place, matrices)))
    yield said("inventory", {case: json_digest(shapes)}, "names and shapes of every parameter")
    yield said("parameters", {case: sum(math.prod(s) for s in shapes.values())})
    yield said("linears", {f"{case}.{p}": sum(place(n) == p for n in matrices) for p in places})
    yield said(
        "linear_weights",
        {
            f"{case}.{p}": sum(math.prod(s) for n, s in matrices.items() if place(n) == p)
            for p in places
        },
    )
    parts = {name: oracle.bytes_by_part(config, **how) for name, how in SCHEMES.items()}
    state = "codes, block scales, nested scales, offset and code tables of every quantised Linear"
    yield said("bytes", {f"{case}.{n}": sum(p.values()) for n, p in parts.items()}, state)
    yield said("bytes_by_component", {f"{case}.{n}": p for n, p in parts.items()}, state)
    yield said(
        "parameter_bytes",
        {f"{case}.nf4_double": oracle.parameter_bytes(config)},
        "counting parameters sees half a byte per quantised weight and no quantisation state",
    )
    lora = oracle.lora(config)
    yield said("lora_adapted", {case: lora["adapted"]})
    yield said("lora_trainable", {case: lora["trainable"]})
    yield said("lora_total", {case: lora["total"]})
    adapted = sorted(n for n in matrices if n.endswith(("q_proj", "v_proj")))
    yield said(
        "lora_modules",
        {case: adapted},
        "q_proj and v_proj of the decoder; the vision tower has one fused qkv",
    )
    why = (
        "8 × (in + out) of every q_proj and v_proj: the targets reach the decoder and nothing else"
    )
    for metric in ("lora_by_component", "lora_reach"):
        yield said(metric, {case: oracle.lora_by_part(config)}, why)
    yield said("trainable_outside_lora", {case: []}, "QLoRA trains nothing but the adapter")


def loaded(
    truth: Callable[..., Golden], config: Mapping[str, Any], model: str, required: bool
) -> Iterator[Golden]:
    """What loading the weights must give."""
    gap = "bytes held less bytes predicted, by component"
    parts = sorted(oracle.bytes_by_part(config))
    zero = dict.fromkeys(parts, 0)
    yield replace(
        truth("model", "bytes_gap", zero, "arithmetic", gap, model=model), required=required
    )
    quantised = sorted(n for n in oracle.linears(config) if n != "lm_head")
    shapes = oracle.parameters(config)
    rest = len(shapes) - len(quantised)
    # One A and one B per adapted module.
    adapters = 2 * oracle.lora(config)["adapted"]
    for metric, value, reason in (
        ("quantised", quantised, "Hugging Face's default keeps only the output head"),
        ("held_bytes", sum(oracle.bytes_by_part(config).values()), COUNTED),
        ("unquantised_dtypes", {"bfloat16": rest}, "the recipe loads in bfloat16"),
        (
            "lora_dtypes",
            {"float32": adapters},
            "peft keeps adapters of half-precision models in float32 (autocast_adapter_dtype)",
        ),
    ):
        one = truth("model", metric, {"model": value}, FROM_CONFIG, reason, model=model)
        yield replace(one, required=required)


def footprint_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 6."""
    stand_in = stand_in_config()
    yield from architecture(truth, oracle.SEVEN_B, "7b", "any")
    yield from architecture(truth, stand_in, "model", "stand-in")
    yield from loaded(truth, stand_in, "stand-in", True)
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
