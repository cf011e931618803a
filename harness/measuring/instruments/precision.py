"""What float32 products and convolutions of a GPU are computed in, for as long as it matters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from harness.measuring import _compat

# Rungs that train, generate and count as the recipe does, in whatever it sets.
AS_TRAINED = frozenset({"trajectory", "generation", "cost"})


# Of a user's own training its steps too: they are timed.
AS_AUDITED = AS_TRAINED | {"update"}


def of_rung(
    device: str, rung: str, as_trained: frozenset[str] = AS_TRAINED
) -> AbstractContextManager[None]:
    """On a GPU float32 is float32 where rungs compare it, and no rung sets it for the next."""
    if not device.startswith("cuda"):
        return nullcontext()
    return restored() if rung in as_trained else exact()


@contextmanager
def restored() -> Iterator[None]:
    """What transformers' `tf32` argument, which sets it for the process, and torch's `allow_tf32`
    flags set inside is taken back; not a setting of cuDNN's as a whole, nor the CPU's.

    Source: torch's notes on TensorFloat-32; transformers' `enable_tf32`.
    """
    before = _compat.arithmetic()
    try:
        yield
    finally:
        _compat.set_arithmetic(before)


@contextmanager
def exact() -> Iterator[None]:
    """Nothing float32 is rounded to TF32's ten bits. By default torch lets cuDNN do so in
    convolutions: of a vision tower's patch embedding that is 2e-5 of a loss of 3."""
    with restored():
        _compat.set_exact()
        yield
