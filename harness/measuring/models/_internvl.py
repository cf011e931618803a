"""InternVL3's published numbers, and a tiny snapshot's files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.measuring.models._byte_level import spelled_files
from harness.measuring.models._chatml import CONTROLS as QWEN
from harness.measuring.models._protocol import Published
from harness.measuring.models._squares import square_settings

ARCHITECTURE = "InternVLForConditionalGeneration"
BEFORE, CONTEXT, BEHIND, FILM = "<img>", "<IMG_CONTEXT>", "</img>", "<video>"
# Behind Qwen2.5's, in this order; the film's came last, with a later release.
MORE = (
    BEFORE,
    BEHIND,
    CONTEXT,
    "<quad>",
    "</quad>",
    "<ref>",
    "</ref>",
    "<box>",
    "</box>",
    FILM,
)
# InternViT-300M and InternViT-6B, both V2.5: the large one's queries and keys are normed and have
# no biases, and its norms are RMSNorm.
_SMALL: Mapping[str, Any] = {
    "model_type": "internvl_vision",
    "attention_bias": True,
    "attention_dropout": 0.0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": 1024,
    "image_size": [448, 448],
    "intermediate_size": 4096,
    "layer_norm_eps": 1e-6,
    "layer_scale_init_value": 0.1,
    "norm_type": "layer_norm",
    "num_attention_heads": 16,
    "num_channels": 3,
    "num_hidden_layers": 24,
    "patch_size": [14, 14],
    "projection_dropout": 0.0,
    "use_absolute_position_embeddings": True,
    "use_mask_token": False,
    "use_mean_pooling": True,
    "use_qk_norm": False,
}
_LARGE: Mapping[str, Any] = {
    **_SMALL,
    "attention_bias": False,
    "hidden_size": 3200,
    "intermediate_size": 12800,
    "norm_type": "rms_norm",
    "num_attention_heads": 25,
    "num_hidden_layers": 45,
    "use_qk_norm": True,
}


def _config(vision: Mapping[str, Any], **text: int) -> Mapping[str, Any]:
    """A size's, whose decoder is Qwen2.5's with a longer table. It says nothing of a tied head; the
    checkpoints have one of their own. Angles grow in texts of more than 32,768 tokens alone."""
    return {
        "architectures": [ARCHITECTURE],
        "model_type": "internvl",
        "downsample_ratio": 0.5,
        "image_seq_length": 256,
        "image_token_id": 151667,
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
        "text_config": {
            "model_type": "qwen2",
            "hidden_act": "silu",
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
            "rope_scaling": {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"},
            "rope_theta": 1000000.0,
            "sliding_window": None,
            "use_sliding_window": False,
            "vocab_size": 151674,
            **text,
        },
        "vision_config": vision,
    }


def _decoder(width: int, inner: int, layers: int, heads: int, keys: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "max_window_layers": layers,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
    }


# The film's token is as many as the embedding has rows: there is nothing to look up for it.
_CONTROL_IDS: Mapping[str, int] = {
    "<|endoftext|>": 151643,
    "<|im_start|>": 151644,
    "<|im_end|>": 151645,
    **{token: 151665 + place for place, token in enumerate(MORE)},
}
# Revisions as public projects pin them, or as their paths to a cache name them.
PUBLISHED = {
    size: Published(f"OpenGVLab/InternVL3-{size.upper()}-hf", revision, config, _CONTROL_IDS)
    for size, revision, config in (
        (
            "1b",
            "014c0583a0d4bedf29fbe2dbff4f865eb998e171",
            _config(_SMALL, **_decoder(896, 4864, 24, 14, 2)),
        ),
        (
            "2b",
            "cb57a075cb75a2e6d1b668b128d48bb00ae321d2",
            _config(_SMALL, **_decoder(1536, 8960, 28, 12, 2)),
        ),
        (
            "8b",
            "259a3b64a14623c0ec91a045cb43f7c5af5fa6af",
            _config(_SMALL, **_decoder(3584, 18944, 28, 28, 4)),
        ),
        (
            "38b",
            "b2a05c0c325235f7530d8274c313a1d01082e069",
            _config(_LARGE, **_decoder(5120, 27648, 64, 40, 8)),
        ),
    )
}
# In our own words: a role and its line, parts as they are, a line break behind each picture and
# film; a content that is one text stands as it is. No system's turn is made up.
TEMPLATE = (
    "{%- for turn in messages -%}{{- '<|im_start|>' ~ turn.role ~ '\n' -}}"
    "{%- if turn.content is string -%}{{- turn.content -}}{%- else -%}"
    "{%- for part in turn.content -%}"
    "{%- if part.type == 'image' -%}{{- '<IMG_CONTEXT>\n' -}}"
    "{%- elif part.type == 'video' -%}{{- '<video>\n' -}}"
    "{%- elif part.type == 'text' -%}{{- part.text -}}{%- endif -%}{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


def tiny_files(shrunk: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of what a published size shrinks to, as `Family.files` has them. Of Qwen2.5's control tokens
    those for tools and code are left out."""
    ends = {"bos_token_id": "<|endoftext|>", "eos_token_id": "<|im_end|>"}
    side, _ = shrunk["vision_config"]["image_size"]
    named = {
        "context_image_token": CONTEXT,
        "end_image_token": BEHIND,
        "start_image_token": BEFORE,
        "video_token": FILM,
    }
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "processor_class": "InternVLProcessor",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "return_token_type_ids": False,
        "extra_special_tokens": named,
        **named,
    }
    return {
        **spelled_files((*QWEN, *MORE), TEMPLATE, settings, ends),
        "processor_config.json": {
            "processor_class": "InternVLProcessor",
            "image_seq_length": shrunk["image_seq_length"],
        },
        "preprocessor_config.json": {
            "image_processor_type": "GotOcr2ImageProcessorFast",
            "processor_class": "InternVLProcessor",
            "crop_to_patches": False,
            "max_patches": 12,
            "min_patches": 1,
            **square_settings(side, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        },
    }
