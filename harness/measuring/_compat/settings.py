"""What torch computes float32 in on a GPU: two interfaces, of which torch before 2.9 has one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

IEEE = "ieee"


@dataclass(frozen=True)
class Arithmetic:
    """torch's, as read. flags: `allow_tf32` of products and of convolutions, None where torch
    refuses to say because its two interfaces contradict one another. every, each: `fp32_precision`
    of all and of each kind of operation, '' and () before torch 2.9, which has the flags only."""

    flags: tuple[bool | None, ...]
    every: str
    each: tuple[str, ...]


def _backends() -> Any:
    import torch

    return torch.backends


def _new() -> bool:
    return hasattr(_backends(), "fp32_precision")


def _places() -> tuple[Any, ...]:
    backends = _backends()
    return backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn


def _owners() -> tuple[Any, ...]:
    backends = _backends()
    return backends.cuda.matmul, backends.cudnn


def _flag(owner: Any) -> bool | None:
    try:
        allowed: bool = owner.allow_tf32
    except RuntimeError:
        return None
    return allowed


def _flags() -> tuple[bool | None, ...]:
    return tuple(_flag(owner) for owner in _owners())


def arithmetic() -> Arithmetic:
    """What is set now."""
    if not _new():
        return Arithmetic(_flags(), "", ())
    each = tuple(place.fp32_precision for place in _places())
    return Arithmetic(_flags(), _backends().fp32_precision, each)


def rounds_products() -> bool:
    """Whether a GPU's products may round float32 to TF32's ten bits now, which by default only its
    convolutions do."""
    now = arithmetic()
    if now.each:
        return now.each[0] == "tf32"
    return now.flags[0] is not False


def set_arithmetic(before: Arithmetic) -> None:
    """What was set then. The general setting first: what follows it, as all do at first, is then
    right, and stays one that follows.

    transformers 5 keeps what `enable_tf32` answered: asked again it would set nothing, and a
    training after this would run in another arithmetic than its arguments say; so that is
    forgotten.
    """
    _write_new(before)
    for owner, now, flag in zip(_owners(), _flags(), before.flags, strict=True):
        if flag is not None and now != flag:
            owner.allow_tf32 = flag
    _write_new(before)
    library = sys.modules.get("transformers.utils.import_utils")
    forget = getattr(getattr(library, "enable_tf32", None), "cache_clear", None)
    if forget is not None:
        forget()


def set_exact() -> None:
    """Nothing float32 is rounded to TF32."""
    if not _new():
        for owner in _owners():
            owner.allow_tf32 = False
        return
    _backends().fp32_precision = IEEE
    # One that was set by itself, by its flag for one, does not follow.
    for place in _places():
        if place.fp32_precision != IEEE:
            place.fp32_precision = IEEE


def _write_new(before: Arithmetic) -> None:
    if not _new():
        return
    _backends().fp32_precision = before.every
    for place, value in zip(_places(), before.each, strict=True):
        if place.fp32_precision != value:
            place.fp32_precision = value
