"""Qwen2-VL: ids, builders, LoRA targets. The file to copy for another family."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from harness.errors import BadInput, Lack, NotRunnable
from harness.measuring import _compat
from harness.measuring._compat import Kernels
from harness.measuring.instruments.exchange import attach_positions, current
from harness.recipe.published import REFERENCE, Recipe
from harness.records.files import read_json

ARCHITECTURE = "Qwen2VLForConditionalGeneration"
MODEL_TYPE = "qwen2_vl"

# Published control tokens of the 151,657-token vocabulary (recipe.md, "Special tokens"). A
# snapshot whose tokenizer has `<|image_pad|>` at this id carries the real vocabulary.
REAL_IDS = {
    "<|endoftext|>": 151643,
    "<|im_start|>": 151644,
    "<|im_end|>": 151645,
    "<|vision_start|>": 151652,
    "<|vision_end|>": 151653,
    "<|vision_pad|>": 151654,
    "<|image_pad|>": 151655,
    "<|video_pad|>": 151656,
}

# The published config.json of Qwen2-VL-7B-Instruct, shape-giving numbers only: the inventory
# of the recipe's model is judged without any snapshot.
SEVEN_B: Mapping[str, Any] = {
    "architectures": ["Qwen2VLForConditionalGeneration"],
    "model_type": "qwen2_vl",
    "hidden_act": "silu",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "tie_word_embeddings": False,
    "vocab_size": 152064,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "vision_token_id": 151654,
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_config": {
        "depth": 32,
        "embed_dim": 1280,
        "mlp_ratio": 4,
        "num_heads": 16,
        "in_chans": 3,
        "hidden_size": 3584,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}

# Hugging Face's default for 4-bit loading skips only the output head, so the vision tower's
# Linears are quantised too.
NOT_QUANTISED = ("lm_head",)

QuantisationMode = Literal["bitsandbytes", "emulated", "none"]


def check_snapshot(snapshot: Path) -> None:
    """Refuse a folder that is no Qwen2-VL snapshot. Raises BadInput naming what is wrong."""
    if not snapshot.is_dir():
        raise BadInput(f"The model folder {snapshot} does not exist; give a snapshot directory.")
    config = read_json(snapshot / "config.json")
    if config.get("model_type") != MODEL_TYPE:
        raise BadInput(
            f"{snapshot} holds a {config.get('model_type')!r} model, not {MODEL_TYPE!r}; "
            "give a Qwen2-VL snapshot."
        )


def has_weights(snapshot: Path) -> bool:
    """Whether the snapshot holds safetensors weights (whole or sharded)."""
    return any(snapshot.glob("*.safetensors"))


def load_processor(snapshot: Path, *, padding_side: str | None = None) -> Any:
    """The stack's own AutoProcessor, with its defaults; padding_side overrides the tokenizer's."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(str(snapshot))
    if padding_side is not None:
        processor.tokenizer.padding_side = padding_side
    return processor


def has_real_vocabulary(tokenizer: Any) -> bool:
    """Whether the tokenizer carries the published 151,657-token vocabulary."""
    return all(tokenizer.convert_tokens_to_ids(t) == i for t, i in REAL_IDS.items())


def load_config(snapshot: Path) -> Any:
    """The stack's AutoConfig of the snapshot."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(str(snapshot))


def meta_model(snapshot: Path) -> Any:
    """The architecture with every parameter on the meta device: no memory, exact shapes."""
    return _compat.on_meta(load_config(snapshot))


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
    quantisation: QuantisationMode = "none",
    recipe: Recipe = REFERENCE,
    attention: str | None = None,
    device_map: str | None = None,
    kernels: Kernels = "cuda",
    storage: str = "uint8",
) -> Any:
    """The model with weights, in eval mode.

    dtype: a torch dtype's name; the recipe's is bfloat16, the arithmetic truths use float32.
    quantisation: `emulated` passes every Linear but lm_head through NF4 with double
    quantisation and back, rounding as `kernels` do: the recipe's are CUDA's. attention:
    attn_implementation, the library's default if None. device_map: the recipe's `auto` places a
    4-bit model itself; by default it goes to `device`. storage: the dtype that bitsandbytes packs
    4-bit values into; sharding needs a float one (see training/sharded.py).
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
    model = _compat.vision_to_text_class().from_pretrained(str(snapshot), **arguments)
    if quantisation == "emulated":
        from harness.measuring.instruments.nf4 import emulate_

        emulate_(model, skip=NOT_QUANTISED, kernels=kernels)
    if quantisation != "bitsandbytes":
        model = model.to(device)
    return attach_positions(model.eval())


def lora_config(recipe: Recipe = REFERENCE, *, dropout: bool = True) -> Any:
    """peft's LoraConfig of the recipe.

    dropout=False sets lora_dropout to 0: the ladder compares arithmetic, not random masks.
    """
    from peft import LoraConfig

    lora = recipe.lora
    return LoraConfig(
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout if dropout else 0.0,
        r=lora.r,
        bias=lora.bias,
        target_modules=list(lora.target_modules),
        task_type=lora.task_type,
    )


def add_lora(
    model: Any, recipe: Recipe = REFERENCE, *, seed: int = 42, dropout: bool = True
) -> Any:
    """The model wrapped by peft with the recipe's LoRA; B is zero, A seeded."""
    import torch
    from peft import get_peft_model

    torch.manual_seed(seed)
    return get_peft_model(model, lora_config(recipe, dropout=dropout))


def randomise_lora_b(model: Any, *, seed: int, scale: float = 0.02) -> None:
    """Give every LoRA B normal values of that standard deviation, in canonical name order.

    With peft's zero B the gradient of A is exactly zero and half of the backward rung would
    compare zeros.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    named = {n: p for n, p in model.named_parameters() if "lora_B" in n}
    for name in sorted(named, key=_compat.canonical_name):
        values = torch.randn(named[name].shape, generator=generator) * scale
        named[name].data.copy_(values.to(named[name].dtype))


def seven_b_model() -> Any:
    """The recipe's 7B architecture on the meta device, from the embedded numbers."""
    from transformers import Qwen2VLConfig

    return _compat.on_meta(Qwen2VLConfig.from_dict(dict(SEVEN_B)))
