"""A snapshot's processor, config and model, loaded as the recipe loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from harness.errors import Lack, NotRunnable
from harness.measuring import _compat
from harness.measuring._compat import Kernels
from harness.measuring.instruments.exchange import attach_positions, current
from harness.measuring.instruments.nf4 import emulate_
from harness.measuring.models import family, of, of_snapshot
from harness.recipe.published import REFERENCE, Recipe

QuantisationMode = Literal["bitsandbytes", "emulated", "none"]


def has_weights(snapshot: Path) -> bool:
    """Whether the snapshot holds safetensors weights (whole or sharded)."""
    return any(snapshot.glob("*.safetensors"))


def load_processor(snapshot: Path, *, padding_side: str | None = None) -> Any:
    """The stack's own processor, with its defaults; padding_side is where it pads instead."""
    processor = family(of_snapshot(snapshot)).processor(snapshot)
    if padding_side is not None:
        processor.tokenizer.padding_side = padding_side
        if padded_side(processor) != padding_side:
            # A processor's own side comes before its tokenizer's, unless the tokenizer was made
            # with one: then what the tokenizer says now counts.
            processor.tokenizer.init_kwargs["padding_side"] = padding_side
    return processor


def padded_side(processor: Any) -> str:
    """Where the recipe's own call pads a short text beside a long one: `left` or `right`."""
    mask = processor(text=["a", "a b c d"], return_tensors="pt", padding=True)["attention_mask"]
    return "right" if int(mask[0, 0]) else "left"


def load_config(snapshot: Path) -> Any:
    """The stack's AutoConfig of the snapshot."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(str(snapshot))


def meta_model(snapshot: Path) -> Any:
    """The architecture with every parameter on the meta device: no memory, exact shapes."""
    return _compat.on_meta(load_config(snapshot), family(of_snapshot(snapshot)).ARCHITECTURE)


def published_model(name: str, size: str) -> Any:
    """A family's published architecture on the meta device, from the numbers in its file."""
    loader = family(name)
    return _compat.on_meta(loader.config(loader.PUBLISHED[size].config), loader.ARCHITECTURE)


def quantisation_mode(device: str) -> QuantisationMode:
    """How this stack can quantise here: bitsandbytes on CUDA, and on CPU where it can.

    Elsewhere the weights pass through our own NF4 arithmetic and every number that depends on
    them is labelled emulated.
    """
    if device.startswith("cuda") or _compat.quantises_on_cpu():
        return "bitsandbytes"
    return "emulated"


def load_model(
    snapshot: Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    quantisation: str = "none",
    recipe: Recipe = REFERENCE,
    attention: str | None = None,
    device_map: str | None = None,
    kernels: Kernels = "cuda",
    storage: str = "uint8",
) -> Any:
    """The model with weights, in eval mode.

    dtype: a torch dtype's name; the recipe's is bfloat16, the arithmetic truths use float32.
    quantisation: a QuantisationMode; `emulated` passes every Linear but what the family leaves
    alone through NF4 with double quantisation and back, rounding as `kernels` do: the recipe's
    are CUDA's. attention: attn_implementation, the library's default if None. device_map: the
    recipe's `auto` places a 4-bit model itself; by default it goes to `device`. storage: the
    dtype that bitsandbytes packs 4-bit values into; sharding needs a float one (see
    training/sharded.py).
    Raises NotRunnable where the snapshot has no weights.
    """
    import torch

    if not has_weights(snapshot):
        raise NotRunnable(
            f"{snapshot} has no weights (*.safetensors); give a full snapshot or use the stand-in.",
            Lack.WEIGHTS,
        )
    arguments: dict[str, Any] = {_compat.dtype_argument(): getattr(torch, dtype)}
    exchange = current()
    attention = exchange.attention(attention) if exchange else attention
    if attention is not None:
        arguments["attn_implementation"] = attention
    if quantisation == "bitsandbytes":
        from transformers import BitsAndBytesConfig

        q = recipe.quantisation
        arguments["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=q.load_in_4bit,
            bnb_4bit_use_double_quant=q.bnb_4bit_use_double_quant,
            bnb_4bit_quant_type=q.bnb_4bit_quant_type,
            bnb_4bit_compute_dtype=getattr(torch, dtype),
            bnb_4bit_quant_storage=getattr(torch, storage),
        )
        arguments["device_map"] = device_map or {"": device}
    model = _compat.vision_to_text_class(load_config(snapshot)).from_pretrained(
        str(snapshot), **arguments
    )
    if quantisation != "bitsandbytes":
        model = model.to(device)
    if quantisation == "emulated":
        # There: on a CPU's side of a GPU, 7B take minutes.
        emulate_(model, skip=of(model).NOT_QUANTISED, kernels=kernels)
    # What infers on some CPUs would be repacked, in another arithmetic than any GPU's, or not at
    # all: a Linear's rows have to be a multiple of 32 then.
    _compat.keep_4_bit_trainable(model)
    return attach_positions(model.eval())
