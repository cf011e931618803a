"""Exact byte counts of a quantised model, from parameter shapes alone.

Formula (limits.md of the design; counted on the meta device): a quantised Linear of n weights,
b = ceil(n/64) blocks, takes ceil(n/2) bytes of packed nibbles, b bytes of 8-bit block maxima,
4·ceil(b/256) of their maxima, 4 for the offset, 64 and 1,024 for the two code tables. Everything
else takes its dtype's bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, prod

BLOCK, NESTED_BLOCK = 64, 256
TABLE_BYTES, NESTED_TABLE_BYTES, OFFSET_BYTES = 16 * 4, 256 * 4, 4
COMPONENTS = ("language", "vision", "merger", "embed_tokens", "lm_head")


@dataclass(frozen=True)
class Parameter:
    """A parameter by its canonical name; linear: the weight of a torch.nn.Linear."""

    name: str
    shape: tuple[int, ...]
    linear: bool

    @property
    def count(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def component(name: str) -> str:
    """Which part of the model a canonical parameter name belongs to."""
    if name.startswith("lm_head."):
        return "lm_head"
    if ".embed_tokens." in name:
        return "embed_tokens"
    if ".merger." in name:
        return "merger"
    return "vision" if name.startswith("visual.") else "language"


def quantised_bytes(count: int, *, double: bool = True) -> int:
    """Bytes of one quantised weight of `count` elements with everything its state holds."""
    blocks = ceil(count / BLOCK)
    packed = ceil(count / 2)
    if not double:
        return packed + 4 * blocks + TABLE_BYTES
    nested = blocks + 4 * ceil(blocks / NESTED_BLOCK) + OFFSET_BYTES + NESTED_TABLE_BYTES
    return packed + nested + TABLE_BYTES


def is_quantised(parameter: Parameter, skip: Iterable[str]) -> bool:
    """Whether Hugging Face's 4-bit loading quantises it: a Linear's weight not on the skip list."""
    return parameter.linear and not set(parameter.name.split(".")) & set(skip)


def predict(
    parameters: Iterable[Parameter],
    *,
    skip: Iterable[str] = ("lm_head",),
    double: bool = True,
    rest_bytes: int = 2,
    quantise: bool = True,
) -> dict[str, int]:
    """Bytes by component and in all. rest_bytes: per element of what is not quantised."""
    skip = tuple(skip)
    total: dict[str, int] = dict.fromkeys(COMPONENTS, 0)
    for p in parameters:
        if quantise and is_quantised(p, skip):
            total[component(p.name)] += quantised_bytes(p.count, double=double)
        else:
            total[component(p.name)] += rest_bytes * p.count
    return {**total, "total": sum(total.values())}


def parameters_only(parameters: Iterable[Parameter], skip: Iterable[str] = ("lm_head",)) -> int:
    """What get_memory_footprint() sees: packed nibbles and 2 bytes for the rest, no states."""
    skip = tuple(skip)
    return sum(ceil(p.count / 2) if is_quantised(p, skip) else 2 * p.count for p in parameters)


def variants(parameters: Iterable[Parameter]) -> Mapping[str, int]:
    """The totals people ask for, by name."""
    listed = tuple(parameters)
    return {
        "bf16": predict(listed, quantise=False)["total"],
        "nf4_double": predict(listed)["total"],
        "nf4_double_parameters_only": parameters_only(listed),
        "nf4": predict(listed, double=False)["total"],
        "nf4_double_vision_bf16": predict(listed, skip=("lm_head", "visual"))["total"],
        "nf4_double_prepared": predict(listed, rest_bytes=4)["total"],
    }
