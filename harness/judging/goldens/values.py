"""Two values: whether they are the same, within a band, and how far apart they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.judging.goldens.golden import Band, BandKind
from harness.records.typed import Json, numbers_of

if TYPE_CHECKING:
    import numpy.typing as npt

Tensors = Mapping[str, "npt.NDArray[Any]"]


def _plain(value: Json) -> Json:
    """A tensor's value without the address of its data; anything else as it is."""
    if isinstance(value, dict) and "digest" in value:
        return {k: v for k, v in value.items() if k != "key"}
    return value


def _same(one: Json, other: Json) -> bool:
    """Equal JSON; to Python False is 0 and True is 1, to a reader of a verdict they are not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def inside(band: Band, golden: Json, now: Json) -> bool:
    """Whether a value is within its band. Raises TypeError on a numeric band of a golden that is
    no number; a value that is none is outside."""
    if band.kind is BandKind.EXACT:
        return _same(_plain(golden), _plain(now))
    old, new = numbers_of(golden), numbers_of(now)
    if old is None:
        raise TypeError(f"a {band.kind.value} band needs numbers, got {golden!r}")
    if new is None or len(old) != len(new):
        return False
    pairs = zip(old, new, strict=True)
    if band.kind is BandKind.ABSOLUTE:
        return all(abs(b - a) <= band.limit for a, b in pairs)
    if band.kind is BandKind.RELATIVE:
        return all(abs(b - a) <= band.limit * abs(a) for a, b in pairs)
    if band.kind is BandKind.AT_MOST:
        return all(b <= a + band.limit for a, b in pairs)
    return all(b >= a - band.limit for a, b in pairs)


def distance(old: Json, new: Json) -> float | None:
    """Largest absolute difference of two numbers or flat lists of one length, else None; None
    too where a float cannot hold it."""
    a, b = numbers_of(old), numbers_of(new)
    if a is None or b is None or len(a) != len(b):
        return None
    return _finite(max((abs(x - y) for x, y in zip(a, b, strict=True)), default=0.0))


def _finite(gap: float) -> float | None:
    """A distance that JSON can hold: none to NaN, which tensors may contain, nor beyond a float."""
    return gap if math.isfinite(gap) else None


def within(band: Band, old: Json, new: Json) -> bool:
    """Whether two values agree, the same whichever comes first.

    A relative band is taken of the larger of the two; bounds (at_most, at_least) compare nothing
    between two sides, so they are exact here. What is no number is exact under any band.
    """
    if band.kind in {BandKind.EXACT, BandKind.AT_MOST, BandKind.AT_LEAST}:
        return inside(Band(), old, new)
    if distance(old, new) is None:
        return inside(Band(), old, new)
    return inside(band, old, new) or (band.kind is BandKind.RELATIVE and inside(band, new, old))


def is_tensor(value: Json) -> bool:
    """Whether a value stands for a tensor: its digest, shape and dtype."""
    return isinstance(value, dict) and "digest" in value


def stored(value: Json, tensors: Tensors) -> npt.NDArray[Any] | None:
    """The data of a tensor's value from the tensors beside its record; None where it is none."""
    key = value.get("key") if isinstance(value, dict) else None
    return tensors.get(key) if isinstance(key, str) else None


def tensor_gap(old: npt.NDArray[Any] | None, new: npt.NDArray[Any] | None) -> float | None:
    """Largest distance of two tensors of one shape; None where either is not stored, or there is
    none."""
    if old is None or new is None or old.shape != new.shape:
        return None
    import numpy as np

    gap = np.abs(old.astype(np.float64) - new.astype(np.float64)).max(initial=0.0)
    return _finite(float(gap))
