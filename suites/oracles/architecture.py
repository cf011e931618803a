"""Counts, bytes and LoRA of any model whose matrices are written out: no torch, no model.

Sources: QLoRA (arXiv 2305.14314) for the sizes of the quantisation state, LoRA (arXiv 2106.09685)
for those of the adapters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import digest
from .ladder import Truth

Shape = tuple[int, ...]
# The recipe's.
RANK = 8
TARGETS = ("q_proj", "v_proj")
COUNTED = "every matrix of the architecture, written out from the config's numbers"
SCHEMES: Mapping[str, Mapping[str, Any]] = {
    "bf16": {"four_bit": False},
    "nf4_double": {},
    "nf4_single": {"double": False},
    "nf4_double_vision_bf16": {"vision_four_bit": False},
    "nf4_double_prepared": {"rest": 4},
}


@dataclass(frozen=True)
class Architecture:
    """A model's matrices and vectors, by canonical name.

    linears: every Linear's (out, in). parameters: every parameter's shape; a tied one stands once.
    part: the component of a parameter or module. whole: names of Linears that 4-bit loading leaves
    alone. sees: whether a Linear is of those that see pictures. decoder: prefix of the decoder's
    numbered layers.
    """

    linears: Mapping[str, Shape]
    parameters: Mapping[str, Shape]
    part: Callable[[str], str]
    whole: frozenset[str]
    sees: Callable[[str], bool]
    decoder: str

    @property
    def count(self) -> int:
        """Elements of all parameters."""
        return sum(math.prod(shape) for shape in self.parameters.values())

    @property
    def quantised(self) -> list[str]:
        """Linears that the recipe holds in 4 bit."""
        return sorted(name for name in self.linears if name not in self.whole)


def nf4_bytes(count: int, double: bool) -> int:
    """Bytes of a weight of `count` values in NF4: codes, block scales, offset, code tables."""
    codes = math.ceil(count / 2)
    blocks = math.ceil(count / 64)
    if double:
        return codes + blocks * 1 + math.ceil(blocks / 256) * 4 + 4 + 16 * 4 + 256 * 4
    return codes + blocks * 4 + 16 * 4


def bytes_by_part(
    model: Architecture,
    *,
    four_bit: bool = True,
    double: bool = True,
    vision_four_bit: bool = True,
    rest: int = 2,
) -> dict[str, int]:
    """Bytes by component. rest: bytes per value that is not quantised."""
    out: dict[str, int] = {}
    quantised = {
        f"{name}.weight"
        for name in (model.quantised if four_bit else ())
        if vision_four_bit or not model.sees(name)
    }
    for name, shape in model.parameters.items():
        count = math.prod(shape)
        size = nf4_bytes(count, double) if name in quantised else count * rest
        out[model.part(name)] = out.get(model.part(name), 0) + size
    return out


def parameter_bytes(model: Architecture) -> int:
    """What counting parameters alone sees of NF4: codes, and two bytes per other value."""
    quantised = {f"{name}.weight" for name in model.quantised}
    return sum(
        math.ceil(math.prod(shape) / 2) if name in quantised else 2 * math.prod(shape)
        for name, shape in model.parameters.items()
    )


def adapted(model: Architecture) -> dict[str, Shape]:
    """The Linears that the recipe's targets name, as peft matches them: by their last name."""
    return {n: s for n, s in model.linears.items() if n.rpartition(".")[2] in TARGETS}


def lora_by_part(model: Architecture) -> dict[str, int]:
    """Elements of the adapters, rank x (in + out) each, by component."""
    out: dict[str, int] = {}
    for name, (fan_out, fan_in) in adapted(model).items():
        out[model.part(name)] = out.get(model.part(name), 0) + RANK * (fan_in + fan_out)
    return out


def strays(model: Architecture) -> list[str]:
    """Adapted Linears outside the decoder's layers."""
    return sorted(name for name in adapted(model) if not name.startswith(f"{model.decoder}."))


def missed(model: Architecture) -> list[int]:
    """The decoder's layers in which nothing is adapted."""
    layer = {name: name.removeprefix(f"{model.decoder}.").split(".")[0] for name in model.linears}
    inside = [name for name in model.linears if name.startswith(f"{model.decoder}.")]
    reached = {layer[name] for name in adapted(model)}
    return sorted({int(layer[name]) for name in inside if layer[name] not in reached})


# By metric of rung 6.
REASONS: Mapping[str, str] = {
    "inventory": "names and shapes of every parameter",
    "bytes": "codes, block scales, nested scales, offset and code tables of every quantised Linear",
    "bytes_by_component": "codes, block scales, nested scales, offset and code tables of every "
    "quantised Linear",
    "parameter_bytes": "counting parameters sees half a byte per quantised weight and no "
    "quantisation state",
    "lora_modules": f"the Linears called {' and '.join(TARGETS)}, wherever they are",
    "lora_by_component": f"{RANK} × (in + out) of every adapted Linear",
    "lora_reach": f"{RANK} × (in + out) of every adapted Linear",
    "trainable_outside_lora": "QLoRA trains nothing but the adapter",
}


def truths(
    models: Mapping[str, Architecture],
    origin: str,
    reasons: Mapping[str, str] = REASONS,
    misread: Mapping[str, Mapping[str, Architecture]] | None = None,
) -> Iterator[Truth]:
    """Rung 6 of configs by case. origin: the oracle that wrote the matrices out. reasons: by
    metric, where another than that they were counted. misread: by case, and by the name of a fault,
    what a library takes the config for."""
    cases: dict[str, dict[str, Any]] = {}
    otherwise: dict[str, dict[str, dict[str, Any]]] = {}
    for case, model in models.items():
        for metric, values in _counted(model, case).items():
            cases.setdefault(metric, {}).update(values)
        for fault, taken in (misread or {}).get(case, {}).items():
            for metric, values in _counted(taken, case).items():
                otherwise.setdefault(metric, {}).setdefault(fault, {}).update(values)
    for metric, values in cases.items():
        why = reasons.get(metric, COUNTED)
        yield Truth("model", metric, values, origin, why, otherwise=otherwise.get(metric, {}))


def _counted(model: Architecture, case: str) -> dict[str, dict[str, Any]]:
    places: dict[str, list[Shape]] = {}
    for name, shape in sorted(model.linears.items()):
        places.setdefault(name.split(".", 1)[0], []).append(shape)
    shapes = {name: list(shape) for name, shape in model.parameters.items()}
    parts = {name: bytes_by_part(model, **how) for name, how in SCHEMES.items()}
    by_part = lora_by_part(model)
    trainable = sum(by_part.values())
    return {
        "inventory": {case: digest.of_json(shapes)},
        "parameters": {case: model.count},
        "linears": {f"{case}.{place}": len(listed) for place, listed in places.items()},
        "linear_weights": {
            f"{case}.{place}": sum(map(math.prod, listed)) for place, listed in places.items()
        },
        "bytes": {f"{case}.{name}": sum(sizes.values()) for name, sizes in parts.items()},
        "bytes_by_component": {f"{case}.{name}": sizes for name, sizes in parts.items()},
        "parameter_bytes": {f"{case}.nf4_double": parameter_bytes(model)},
        "lora_adapted": {case: len(adapted(model))},
        "lora_trainable": {case: trainable},
        "lora_total": {case: trainable + model.count},
        "lora_modules": {case: sorted(adapted(model))},
        "lora_by_component": {case: by_part},
        "lora_reach": {case: by_part},
        "trainable_outside_lora": {case: []},
    }


def reached_truths(model: Architecture, origin: str) -> Iterator[Truth]:
    """Rung 6: that every layer of the decoder has an adapter, and which have none where the
    recipe's targets are names that those layers do not have."""
    unnamed = {"layers without these names": {"model": missed(model)}}
    why = "the recipe: adapters on the language model's attention"
    yield Truth("model", "lora_missed", {"model": []}, origin, why, otherwise=unnamed)


def loaded_truths(
    model: Architecture, origin: str, misread: Mapping[str, Architecture] | None = None
) -> Iterator[Truth]:
    """Rung 6 of the weights as the recipe loads them. misread: by the name of a fault, what a
    library takes the config for, by which bytes are predicted."""
    parts = bytes_by_part(model)
    gap = "bytes held less bytes predicted, by component"
    gaps = {}
    for fault, taken in (misread or {}).items():
        predicted = bytes_by_part(taken)
        gaps[fault] = {name: size - predicted.get(name, 0) for name, size in parts.items()}
    none = dict.fromkeys(sorted(parts), 0)
    yield Truth("model", "bytes_gap", none, "arithmetic", gap, otherwise=gaps)
    rest = len(model.parameters) - len(model.quantised)
    why = "peft keeps adapters of half-precision models in float32 (autocast_adapter_dtype)"
    for metric, value, reason in (
        ("quantised", model.quantised, "Hugging Face's default keeps only the output head"),
        ("held_bytes", sum(parts.values()), COUNTED),
        ("unquantised_dtypes", {"bfloat16": rest}, "the recipe loads in bfloat16"),
        # One A and one B per adapted module.
        ("lora_dtypes", {"float32": 2 * len(adapted(model))}, why),
    ):
        yield Truth("model", metric, {"model": value}, origin, reason)
