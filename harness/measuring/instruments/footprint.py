"""Exact bytes of a model's weights, from shapes alone: meta device, no memory, no snapshot.

A Linear of n weights in NF4 holds, with b = ceil(n / 64): ceil(n / 2) bytes of codes; b bytes of
absmax codes (uint8) and 4 * ceil(b / 256) of their scales (float32) with double quantisation,
else 4 * b; 4 of offset with double quantisation; 64 of NF4 table, and 1,024 of nested map with
double quantisation. Everything else holds its dtype's size per element. Source: the fields of
bitsandbytes' QuantState, checked against loaded models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.measuring.instruments.nf4 import BLOCK, NESTED_BLOCK, is_skipped
from harness.measuring.models import canonical_name, component, of


@dataclass(frozen=True)
class Scheme:
    """How the weights are held.

    four_bit: Linears in NF4, but for what the family leaves alone. double: double quantisation.
    tower: whether the Linears that see pictures are quantised too. rest_bytes: bytes per element
    of everything else (2 for bfloat16; 4 after peft's prepare_model_for_kbit_training).
    """

    four_bit: bool = True
    double: bool = True
    tower: bool = True
    rest_bytes: int = 2


BF16 = Scheme(four_bit=False)
NF4_DOUBLE = Scheme()
SCHEMES: Mapping[str, Scheme] = {
    "bf16": BF16,
    "nf4_double": NF4_DOUBLE,
    "nf4_single": Scheme(double=False),
    "nf4_double_vision_bf16": Scheme(tower=False),
    "nf4_double_prepared": Scheme(rest_bytes=4),
}


@dataclass(frozen=True)
class Footprint:
    """Bytes. parameters: what `get_memory_footprint()` sees of the parameters (packed codes
    and unquantised weights, without the quantisation state). by_component sums to total."""

    total: int
    parameters: int
    by_component: Mapping[str, int] = field(default_factory=dict)
    quantised: tuple[str, ...] = ()


def nf4_bytes(count: int, *, double: bool = True) -> int:
    """Bytes of one quantised weight of `count` elements, state and code tables included."""
    blocks = -(-count // BLOCK)
    codes = -(-count // 2)
    if not double:
        return codes + 4 * blocks + 64
    return codes + blocks + 4 * -(-blocks // NESTED_BLOCK) + 4 + 64 + 1024


def linears(model: Any) -> dict[str, tuple[int, int]]:
    """(out, in) of every nn.Linear and 4-bit Linear by canonical name, in model order: one whose
    weight is another module's too."""
    import torch

    loader = of(model)
    return {
        canonical_name(f"{name}.weight", loader).removesuffix(".weight"): (
            int(module.out_features),
            int(module.in_features),
        )
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def predict(model: Any, scheme: Scheme) -> Footprint:
    """Bytes of a model (meta or real, not yet quantised) held by a scheme."""
    loader, matrices = of(model), linears(model)
    skip = loader.NOT_QUANTISED + (() if scheme.tower else loader.TOWER)
    parts: dict[str, int] = {}
    quantised: list[str] = []
    parameters = 0
    for raw, parameter in model.named_parameters():
        name = canonical_name(raw, loader)
        owner = name.rsplit(".", 1)[0]
        count = int(parameter.numel())
        four_bit = scheme.four_bit and name.endswith(".weight") and owner in matrices
        if four_bit and not is_skipped(owner, skip):
            nbytes = nf4_bytes(count, double=scheme.double)
            parameters += -(-count // 2)
            quantised.append(owner)
        else:
            nbytes = count * scheme.rest_bytes
            parameters += nbytes
        part = str(component(name, loader))
        parts[part] = parts.get(part, 0) + nbytes
    return Footprint(sum(parts.values()), parameters, parts, tuple(quantised))


def measure(model: Any) -> Footprint:
    """Bytes really held by a loaded model: every parameter, and every tensor of the quantisation
    state of 4-bit weights. Storage shared by several tensors counts once."""
    loader = of(model)
    seen: set[tuple[int, int]] = set()
    parts: dict[str, int] = {}
    quantised: list[str] = []
    parameters = 0

    def held(tensor: Any) -> int:
        key = (int(tensor.data_ptr()), int(tensor.numel()))
        if tensor.device.type != "meta" and key in seen:
            return 0
        seen.add(key)
        return int(tensor.numel()) * int(tensor.element_size())

    for raw, parameter in model.named_parameters():
        name = canonical_name(raw, loader)
        own = held(parameter)
        parameters += own
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            quantised.append(name.removesuffix(".weight"))
            own += sum(held(tensor) for tensor in state_tensors(state))
        part = str(component(name, loader))
        parts[part] = parts.get(part, 0) + own
    return Footprint(sum(parts.values()), parameters, parts, tuple(quantised))


def state_tensors(state: Any) -> list[Any]:
    """The tensors of a bitsandbytes QuantState, nested ones included."""
    tensors = [state.absmax, state.code]
    if state.nested:
        tensors += [state.offset, state.state2.absmax, state.state2.code]
    return tensors


def buffer_bytes(model: Any) -> int:
    """Bytes of the buffers (rotary frequencies): never quantised, not part of a Footprint."""
    return sum(int(b.numel()) * int(b.element_size()) for b in model.buffers())
