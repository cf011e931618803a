"""Qwen3-VL's published dense sizes: what their config.json say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.measuring.models._chatml import PUBLISHED_IDS
from harness.measuring.models._protocol import Published

ARCHITECTURE = "Qwen3VLForConditionalGeneration"
_TEXT: Mapping[str, Any] = {
    "model_type": "qwen3_vl_text",
    "attention_bias": False,
    "head_dim": 128,
    "hidden_act": "silu",
    "max_position_embeddings": 262144,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-6,
    "rope_theta": 5000000,
    "rope_scaling": {
        "rope_type": "default",
        "mrope_interleaved": True,
        "mrope_section": [24, 20, 20],
    },
    "vocab_size": 151936,
}
_VISION: Mapping[str, Any] = {
    "model_type": "qwen3_vl",
    "deepstack_visual_indexes": [5, 11, 17],
    "depth": 24,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 1024,
    "in_channels": 3,
    "intermediate_size": 4096,
    "num_heads": 16,
    "num_position_embeddings": 2304,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
# That of the 8B.
_LARGER: Mapping[str, Any] = {
    **_VISION,
    "deepstack_visual_indexes": [8, 16, 24],
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
}


def _sized(
    vision: Mapping[str, Any], *, hidden: int, inner: int, heads: int, layers: int, tied: bool
) -> Mapping[str, Any]:
    """A published size's config.json."""
    text = {
        **_TEXT,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "tie_word_embeddings": tied,
    }
    return {
        "architectures": [ARCHITECTURE],
        "model_type": "qwen3_vl",
        "image_token_id": 151655,
        "video_token_id": 151656,
        "vision_start_token_id": 151652,
        "vision_end_token_id": 151653,
        "tie_word_embeddings": tied,
        "text_config": text,
        "vision_config": {**vision, "out_hidden_size": hidden},
    }


# Revisions as others pinned them (READMEs and manifests of projects on GitHub).
PUBLISHED = {
    "4b": Published(
        model_id="Qwen/Qwen3-VL-4B-Instruct",
        revision="ebb281ec70b05090aa6165b016eac8ec08e71b17",
        config=_sized(_VISION, hidden=2560, inner=9728, heads=32, layers=36, tied=True),
        control_ids=PUBLISHED_IDS,
    ),
    "2b": Published(
        model_id="Qwen/Qwen3-VL-2B-Instruct",
        revision="89644892e4d85e24eaac8bacfd4f463576704203",
        config=_sized(_VISION, hidden=2048, inner=6144, heads=16, layers=28, tied=True),
        control_ids=PUBLISHED_IDS,
    ),
    "8b": Published(
        model_id="Qwen/Qwen3-VL-8B-Instruct",
        revision="0c351dd01ed87e9c1b53cbc748cba10e6187ff3b",
        config=_sized(_LARGER, hidden=4096, inner=12288, heads=32, layers=36, tied=False),
        control_ids=PUBLISHED_IDS,
    ),
}
