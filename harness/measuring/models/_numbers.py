"""The numbers that a model's modules compute with beside their matrices, by whatever names their
release keeps them under."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# What is asked for, by the names that modules of any release keep it under.
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "epsilon": ("variance_epsilon", "eps"),
    "window": ("sliding_window",),
    "patch": ("patch_size",),
    "frames": ("temporal_patch_size",),
    "merge": ("spatial_merge_size",),
}
SCALING, DROPOUT = ("scaling", "scale"), ("attention_dropout", "dropout")
ACTIVATIONS: Mapping[str, str] = {
    "SiLU": "silu",
    "SiLUActivation": "silu",
    "GELUActivation": "gelu",
    "GELUTanh": "gelu_pytorch_tanh",
    "PytorchGELUTanh": "gelu_pytorch_tanh",
    "QuickGELUActivation": "quick_gelu",
}
BY_TORCH = {"none": "gelu", "tanh": "gelu_pytorch_tanh"}
BASES = ("rope_theta", "rope_local_base_freq")


def numbers_of(module: Any) -> Iterator[tuple[str, Any]]:
    """What one module, without its children, keeps: by name a number, or an activation's name."""
    for name, attributes in ATTRIBUTES.items():
        value = _kept(module, *attributes)
        if value is not None:
            yield name, value
    if activation := _activation(module):
        yield "activation", activation
    yield from _attention(module)


def _kept(module: Any, *attributes: str) -> Any:
    """The number that it keeps under one of these names; None where it keeps none."""
    values = (vars(module).get(name) for name in attributes)
    return next((v for v in values if isinstance(v, int | float) and not isinstance(v, bool)), None)


def _attention(module: Any) -> Iterator[tuple[str, Any]]:
    """Of a module that attends. One that keeps no dropout drops nothing, one without a number of
    shared keys shares none, one without a factor leaves it to torch, which divides by the root of a
    head's width, and one that is not causal sees everything."""
    count, width = _kept(module, "num_heads"), _kept(module, "head_dim")
    if width is None and count is None:
        return
    linears = [child for child in module.children() if hasattr(child, "in_features")]
    if width is None:
        width = linears[0].in_features // count
    elif count is None and hasattr(getattr(module, "o_proj", None), "in_features"):
        count = module.o_proj.in_features // width
    if count is not None:
        yield "heads", count
    yield "width", width
    for name, kept, otherwise in (
        ("shared", _kept(module, "num_key_value_groups"), 1),
        ("dropout", _kept(module, *DROPOUT), 0.0),
        ("scaling", _kept(module, *SCALING), width**-0.5),
    ):
        yield name, otherwise if kept is None else kept
    yield "causal", bool(vars(module).get("is_causal"))


def _activation(module: Any) -> str:
    """Its name in a config; a class that has none there by itself; '' of what is none."""
    kind = type(module)
    if kind.__name__ == "GELU":
        return BY_TORCH[module.approximate]
    if kind.__name__ in ACTIVATIONS:
        return ACTIVATIONS[kind.__name__]
    return kind.__name__ if kind.__module__ == "transformers.activations" else ""


def bases_of(module: Any) -> Iterator[float]:
    """Of the rotary embedding, in whatever module a release keeps its base."""
    for name in BASES:
        if isinstance(vars(module).get(name), int | float):
            yield float(vars(module)[name])
    config = getattr(module, "config", None)
    if config is not None and any("inv_freq" in name for name, _ in module.named_buffers()):
        yield from _said(getattr(config, "rope_parameters", None) or _bases_of_config(config))


def _said(numbers: Mapping[str, Any]) -> Iterator[float]:
    """Bases anywhere in a config's numbers: layers may be of several kinds."""
    for name, value in numbers.items():
        if name in BASES and isinstance(value, int | float):
            yield float(value)
        elif isinstance(value, Mapping):
            yield from _said(value)


def _bases_of_config(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in BASES if hasattr(config, name)}
