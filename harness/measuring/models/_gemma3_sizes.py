"""Gemma 3's published sizes: config numbers, revisions, ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.measuring.models._protocol import Published

ARCHITECTURE = "Gemma3ForConditionalGeneration"
# SigLIP So400m at 896 px, the same for every size.
_VISION: Mapping[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "image_size": 896,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "patch_size": 14,
    "vision_use_head": False,
}
_FOUR_B: Mapping[str, Any] = {
    "architectures": [ARCHITECTURE],
    "model_type": "gemma3",
    "boi_token_index": 255999,
    "eoi_token_index": 256000,
    "image_token_index": 262144,
    "eos_token_id": [1, 106],
    "mm_tokens_per_image": 256,
    "tie_word_embeddings": True,
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
        "sliding_window_pattern": 6,
        "vocab_size": 262208,
    },
    "vision_config": _VISION,
}


def _other(**text: int) -> Mapping[str, Any]:
    """Another size's, which differs in its decoder alone."""
    return {**_FOUR_B, "text_config": {**_FOUR_B["text_config"], **text}}


_TWELVE_B = _other(
    hidden_size=3840,
    intermediate_size=15360,
    num_hidden_layers=48,
    num_attention_heads=16,
    num_key_value_heads=8,
)
_TWENTY_SEVEN_B = _other(
    hidden_size=5376,
    intermediate_size=21504,
    num_hidden_layers=62,
    num_attention_heads=32,
    num_key_value_heads=16,
    head_dim=128,
    # The width by the number of heads, not a head's own width.
    query_pre_attn_scalar=168,
)
_CONTROL_IDS: Mapping[str, int] = {
    "<pad>": 0,
    "<eos>": 1,
    "<bos>": 2,
    "<start_of_turn>": 105,
    "<end_of_turn>": 106,
    "<start_of_image>": 255999,
    "<end_of_image>": 256000,
    "<image_soft_token>": 262144,
}
# Revisions as public projects pin them.
PUBLISHED = {
    size: Published(f"google/gemma-3-{size}-it", revision, config, _CONTROL_IDS)
    for size, revision, config in (
        ("4b", "093f9f388b31de276ce2de164bdc2081324b9767", _FOUR_B),
        ("12b", "96b6f1eccf38110c56df3a15bffe176da04bfd80", _TWELVE_B),
        ("27b", "005ad3404e59d6023443cb575daa05336842228a", _TWENTY_SEVEN_B),
    )
}
