"""An out-of-memory, explained: which component, predicted against available, what to change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import footprint
from harness.models.qwen2_vl import meta_model

if TYPE_CHECKING:
    from harness.lane.bench import Lane

FP32, BF16 = 4, 2


def predicted(snapshot: Path, *, size: int, tokens: int) -> dict[str, int]:
    """Bytes of the recipe's step by component, on the low side: what certainly must be held.

    weights: limits.md's k-bit prepared footprint. adapter: LoRA weights, gradients and two Adam
    moments in float32. logits: bfloat16 and float32 copies at every position, and the gradient.
    checkpoints: one bfloat16 hidden state per decoder layer.
    """
    model = meta_model(snapshot)
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else (
        model.config)  # fmt: skip
    positions = size * tokens
    weights = footprint.predict(model, footprint.SCHEMES["nf4_double_prepared"]).total
    rank, layers, width = 8, int(config.num_hidden_layers), int(config.hidden_size)
    heads = int(config.num_key_value_heads) * width // int(config.num_attention_heads)
    lora = layers * rank * ((width + width) + (width + heads))
    return {
        "weights": weights,
        "adapter": lora * FP32 * 4,
        "logits": positions * int(config.vocab_size) * (BF16 + FP32 + FP32),
        "checkpoints": layers * positions * width * BF16,
    }


def explained(lane: Lane, case: str, tokens: int, error: BaseException) -> dict[str, Any]:
    """What to leave as a record of an out-of-memory."""
    import torch

    parts = predicted(lane.snapshot, size=lane.size, tokens=tokens)
    free, total = torch.cuda.mem_get_info(lane.device)
    largest = max(parts, key=lambda name: parts[name])
    mend = {
        "weights": "use a card with more memory",
        "adapter": "lower the rank",
        "logits": "make logits only where a label counts (variant selected_logits or leanest)",
        "checkpoints": "use fewer samples per micro-batch",
    }[largest]
    return {
        "status": "out_of_memory",
        "predicted": parts,
        "predicted_total": sum(parts.values()),
        "available": int(total),
        "free": int(free),
        "largest": largest,
        "message": str(error).splitlines()[0],
        "sentence": f"Out of memory in {case} at {tokens} tokens: "
        f"{sum(parts.values()) / 1e9:.1f} GB predicted at least, {total / 1e9:.1f} GB on the "
        f"card; {largest} take most "
        f"({parts[largest] / 1e9:.1f} GB): {mend}.",
    }
