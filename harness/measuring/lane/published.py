"""What the reference libraries do to a 4-bit model's dtypes after their upcast."""

from __future__ import annotations

from typing import Any

# Parts of module names that TRL 0.11.1 casts back (trl/trainer/utils.py:862).
NARROWED = ("lm_head", "embed_tokens", "wte", "wpe")


def cast_back(model: Any) -> None:
    """Norms to float32, embeddings and head from float32 back to bfloat16.

    TRL 0.11.1's peft_module_casting_to_bf16 (trl/trainer/utils.py:858-865), which its SFTTrainer
    calls on a 4-bit model with bf16 (sft_trainer.py:269-275); newer releases have no such
    function. Left alone on a CPU, which trains without autocast and would mix dtypes.
    """
    import torch

    if on_cpu(model):
        return
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.LayerNorm) or "norm" in name:
            module.to(torch.float32)
        elif any(part in name for part in NARROWED):
            weight = getattr(module, "weight", None)
            if weight is not None and weight.dtype == torch.float32:
                module.to(torch.bfloat16)


def on_cpu(model: Any) -> bool:
    """Where a model's first parameter lies."""
    return bool(next(model.parameters()).device.type == "cpu")
