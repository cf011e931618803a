"""What float32 products and convolutions of a GPU are computed in, for as long as it matters."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

IEEE = "ieee"


@dataclass(frozen=True)
class _Settings:
    """torch's, as read. flags: `allow_tf32` of products and of convolutions, None where torch
    refuses to say because its two interfaces contradict one another. every, each: `fp32_precision`
    of all and of each kind of operation, '' and () before torch 2.9, which has the flags only."""

    flags: tuple[bool | None, ...]
    every: str
    each: tuple[str, ...]


@contextmanager
def restored() -> Iterator[None]:
    """What transformers' `tf32` argument, which sets it for the process, and torch's `allow_tf32`
    flags set inside is taken back; not a setting of cuDNN's as a whole, nor the CPU's.

    Source: torch's notes on TensorFloat-32; transformers' `enable_tf32`.
    """
    before = _read()
    try:
        yield
    finally:
        _write(before)
        _forget()


def _forget() -> None:
    """transformers 5 keeps what `enable_tf32` answered: asked again it would set nothing, and a
    training after this would run in another arithmetic than its arguments say."""
    library = sys.modules.get("transformers.utils.import_utils")
    forget = getattr(getattr(library, "enable_tf32", None), "cache_clear", None)
    if forget is not None:
        forget()


@contextmanager
def exact() -> Iterator[None]:
    """Nothing float32 is rounded to TF32's ten bits. By default torch lets cuDNN do so in
    convolutions: of a vision tower's patch embedding that is 2e-5 of a loss of 3."""
    with restored():
        if _new():
            _backends().fp32_precision = IEEE
            # One that was set by itself, by its flag for one, does not follow.
            for place in _places():
                if place.fp32_precision != IEEE:
                    place.fp32_precision = IEEE
        else:
            for owner in _owners():
                owner.allow_tf32 = False
        yield


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


def _read() -> _Settings:
    if not _new():
        return _Settings(_flags(), "", ())
    each = tuple(place.fp32_precision for place in _places())
    return _Settings(_flags(), _backends().fp32_precision, each)


def _write(before: _Settings) -> None:
    """The general setting first: what follows it, as all do at first, is then right, and stays one
    that follows."""
    _write_new(before)
    for owner, now, flag in zip(_owners(), _flags(), before.flags, strict=True):
        if flag is not None and now != flag:
            owner.allow_tf32 = flag
    _write_new(before)


def _write_new(before: _Settings) -> None:
    if not _new():
        return
    _backends().fp32_precision = before.every
    for place, value in zip(_places(), before.each, strict=True):
        if place.fp32_precision != value:
            place.fp32_precision = value
