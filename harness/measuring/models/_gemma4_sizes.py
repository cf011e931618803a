"""Gemma 4's published sizes: config numbers, revisions, ids. The 26B with experts and the 12B
without a tower are other models and not here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.measuring.models._protocol import Published

ARCHITECTURE = "Gemma4ForConditionalGeneration"
_SMALL_VISION: Mapping[str, Any] = {
    "model_type": "gemma4_vision",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 16,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
    "patch_size": 16,
    "pooling_kernel_size": 3,
    "position_embedding_size": 10240,
    "rms_norm_eps": 1e-6,
    "use_clipped_linears": True,
    "standardize": False,
}
_LARGE_VISION: Mapping[str, Any] = {
    **_SMALL_VISION,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 72,
    "use_clipped_linears": False,
    "standardize": True,
}
_AUDIO: Mapping[str, Any] = {
    "model_type": "gemma4_audio",
    "hidden_size": 1024,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "subsampling_conv_channels": [128, 32],
    "conv_kernel_size": 5,
    "output_proj_dims": 1536,
    "use_clipped_linears": True,
}


def _kinds(windows: int, blocks: int) -> list[str]:
    return (["sliding_attention"] * windows + ["full_attention"]) * blocks


_TEXT: Mapping[str, Any] = {
    "model_type": "gemma4_text",
    "hidden_size": 1536,
    "intermediate_size": 6144,
    "num_hidden_layers": 35,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "global_head_dim": 512,
    "hidden_activation": "gelu_pytorch_tanh",
    "rms_norm_eps": 1e-6,
    "sliding_window": 512,
    "layer_types": _kinds(4, 7),
    "num_kv_shared_layers": 20,
    "use_double_wide_mlp": True,
    "hidden_size_per_layer_input": 256,
    "vocab_size_per_layer_input": 262144,
    "attention_k_eq_v": False,
    "final_logit_softcapping": 30.0,
    "vocab_size": 262144,
    "rope_parameters": {
        "full_attention": {
            "partial_rotary_factor": 0.25,
            "rope_theta": 1000000.0,
            "rope_type": "proportional",
        },
        "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
    },
}
_E2B: Mapping[str, Any] = {
    "architectures": [ARCHITECTURE],
    "model_type": "gemma4",
    "boi_token_id": 255999,
    "eoi_token_id": 258882,
    "image_token_id": 258880,
    "video_token_id": 258884,
    "audio_token_id": 258881,
    "eos_token_id": [1, 106],
    "tie_word_embeddings": True,
    "text_config": _TEXT,
    "vision_config": _SMALL_VISION,
    "audio_config": _AUDIO,
}
_E4B: Mapping[str, Any] = {
    **_E2B,
    "text_config": {
        **_TEXT,
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 42,
        "num_key_value_heads": 2,
        "layer_types": _kinds(5, 7),
        "num_kv_shared_layers": 18,
        "use_double_wide_mlp": False,
    },
}
# No tables by layer, nothing shared; full layers take their keys as values.
_THIRTY_ONE_B: Mapping[str, Any] = {
    **_E2B,
    "text_config": {
        **_TEXT,
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "num_hidden_layers": 60,
        "num_attention_heads": 32,
        "num_key_value_heads": 16,
        "num_global_key_value_heads": 4,
        "attention_k_eq_v": True,
        "sliding_window": 1024,
        "layer_types": _kinds(5, 10),
        "num_kv_shared_layers": 0,
        "use_double_wide_mlp": False,
        "hidden_size_per_layer_input": 0,
        "use_bidirectional_attention": "vision",
    },
    "vision_config": _LARGE_VISION,
    "audio_config": None,
}
_CONTROL_IDS: Mapping[str, int] = {
    "<pad>": 0,
    "<eos>": 1,
    "<bos>": 2,
    "<|turn>": 105,
    "<turn|>": 106,
    "<|image>": 255999,
    "<|image|>": 258880,
    "<image|>": 258882,
}
# E2B's revision as public projects pin it; the others' were not looked up.
PUBLISHED = {
    size: Published(f"google/gemma-4-{size.upper()}-it", revision, config, _CONTROL_IDS)
    for size, revision, config in (
        ("e2b", "3e22461f65e89153144f8adb70e3b8c2cc9845a7", _E2B),
        ("e4b", "", _E4B),
        ("31b", "", _THIRTY_ONE_B),
    )
}
