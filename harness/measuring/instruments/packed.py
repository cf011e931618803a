"""What bitsandbytes keeps of a double-quantised weight, as our own NF4 arithmetic has it."""

from __future__ import annotations

from typing import Any

from harness.measuring.instruments.nf4 import Quantised


def unpacked(weight: Any) -> Quantised:
    """The bytes of a Params4bit as they lie there, on its device; not of one that was repacked to
    infer on a CPU. Raises AttributeError where its scales are not quantised."""
    state = weight.quant_state
    return Quantised(
        packed=weight.detach().reshape(-1),
        absmax=state.absmax,
        nested_absmax=state.state2.absmax,
        offset=state.offset,
        table=state.code,
        nested_table=state.state2.code,
        shape=tuple(state.shape),
        dtype=state.dtype,
    )


def codes_off(ours: Quantised, theirs: Quantised) -> tuple[int, int]:
    """How many 4-bit codes of a weight and how many 8-bit codes of its scales differ; all of them
    where their number does."""

    def off(one: Any, other: Any) -> int:
        return int((one != other).sum()) if one.shape == other.shape else int(one.numel())

    nibbles = [_nibbles(each.packed) for each in (ours, theirs)]
    return off(nibbles[0], nibbles[1]), off(ours.absmax, theirs.absmax)


def _nibbles(packed: Any) -> Any:
    import torch

    return torch.stack((packed >> 4, packed & 15), 1).reshape(-1)
