"""How weights are held: 4-bit ones unpacked once, embeddings and head without the upcast."""

from __future__ import annotations

from functools import partial
from typing import Any

from harness.measuring import _compat
from harness.measuring.ways.applied import Change, Ledger


def unpack(model: Any, ledger: Ledger, *, keep_dtype: bool, keep: bool = True) -> int:
    """Replace every 4-bit Linear by a bfloat16 one of the same values; returns how many.

    bitsandbytes' own product unpacks to the compute dtype, multiplies, and gives back its input's
    dtype: with keep_dtype this is the same arithmetic with the unpacking done once. keep: the
    packed weights wait in host memory for the way back; without, there is none. Nothing to do on
    unquantised weights.
    """
    import torch

    class Alike(torch.nn.Linear):
        def forward(self, x: Any) -> Any:
            return super().forward(x).to(x.dtype)

    core, packed = _compat.core(model), 0
    for owner in list(core.modules()):
        for name, module in list(owner.named_children()):
            # Its own: peft's layer shows its base's weight as its.
            state = getattr(module._parameters.get("weight"), "quant_state", None)
            if state is None:
                continue
            from bitsandbytes.functional import dequantize_4bit

            linear = (Alike if keep_dtype else torch.nn.Linear)(1, 1, bias=False)
            weight = dequantize_4bit(module.weight.data, state).to(state.dtype)
            linear.in_features, linear.out_features = int(weight.shape[1]), int(weight.shape[0])
            linear.weight = torch.nn.Parameter(weight, requires_grad=False)
            linear.bias = module.bias
            linear.training = module.training
            setattr(owner, name, linear)
            packed += 1
            if keep:
                _return_later(owner, name, module, ledger)
    # peft chooses its layer class by this flag, and would expect packed weights.
    for attribute in ("is_loaded_in_4bit", "is_quantized", "hf_quantizer", "quantization_method"):
        if packed and attribute in vars(core):
            named = "quantiz" in attribute and "is_" not in attribute
            ledger.attribute(core, attribute, None if named else False)
    if packed:
        ledger.changes.append(
            Change("weights", "4-bit Linears", "unpacked in every product", "bfloat16", packed)
        )
    return packed


def _return_later(owner: Any, name: str, module: Any, ledger: Ledger) -> None:
    device, bias = module.weight.device, module._parameters.pop("bias", None)
    # The bias is shared with its stand-in and stays where it is.
    module.to("cpu")
    module._parameters["bias"] = bias

    def back() -> None:
        module._parameters.pop("bias")
        module.to(device)
        module._parameters["bias"] = bias
        setattr(owner, name, module)

    ledger.backwards.append(back)


def narrow(model: Any, ledger: Ledger) -> None:
    """Take back the upcast of the two largest tensors, embeddings and head, without a rounding.

    Their values came from bfloat16, the head's product is bfloat16 under autocast anyway, and
    what the embedding gives is widened to float32 as before. Left alone: what is bfloat16
    already, values that a rounding would change, and a CPU, which trains without autocast.
    """
    import torch

    core = _compat.core(model)
    embeddings, head = core.get_input_embeddings(), core.get_output_embeddings()
    wide = [
        module
        for module in (embeddings, head)
        if module.weight.is_cuda
        and module.weight.dtype == torch.float32
        and torch.equal(module.weight.bfloat16().float(), module.weight)
    ]
    if embeddings in wide:
        hook = embeddings.register_forward_hook(lambda *seen: seen[-1].float())
        ledger.backwards.append(hook.remove)
    for module in wide:
        module.to(torch.bfloat16)
        ledger.backwards.append(partial(module.to, torch.float32))
    if wide:
        ledger.changes.append(
            Change("upcast", "embeddings and head", "float32", "bfloat16", len(wide))
        )
