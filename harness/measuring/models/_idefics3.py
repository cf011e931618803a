"""SmolVLM's published numbers, and a tiny snapshot's files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.measuring.models._byte_level import (
    doubled,
    learnt_words,
    tokenizer_config,
    tokenizer_json,
)

_TEXT: Mapping[str, Any] = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000.0,
    "vocab_size": 49280,
    "tie_word_embeddings": False,
}
# SigLIP base, patches of 16 px, trained further at 512 px.
_VISION: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 512,
    "patch_size": 16,
    "layer_norm_eps": 1e-6,
    "hidden_act": "gelu_pytorch_tanh",
}
SMALL: Mapping[str, Any] = {
    "architectures": ["Idefics3ForConditionalGeneration"],
    "model_type": "idefics3",
    "image_token_id": 49190,
    "scale_factor": 4,
    "tie_word_embeddings": False,
    "text_config": _TEXT,
    "vision_config": _VISION,
}
MIDDLE: Mapping[str, Any] = {
    **SMALL,
    "text_config": {
        **_TEXT,
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
    },
}
# The first of them: SigLIP of 400 million parameters, 9 patches a token, as many key heads as
# heads, and a vocabulary without tokens of its own for a tile's place.
LARGE: Mapping[str, Any] = {
    **SMALL,
    "image_token_id": 49153,
    "scale_factor": 3,
    "text_config": {
        **_TEXT,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 16384,
        "rope_theta": 273768.0,
        "vocab_size": 49155,
    },
    "vision_config": {
        **_VISION,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
    },
}
IMAGE, AROUND, WHOLE = "<image>", "<fake_token_around_image>", "<global-img>"
BEGIN, END, PAD, UNKNOWN = "<|im_start|>", "<end_of_utterance>", "<|im_end|>", "<|endoftext|>"
# Six by six, by row.
PLACES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
# The 2.2B spells the same in several tokens.
PLACE = r"<row_(\d+)_col_(\d+)>"
SMALL_IDS: Mapping[str, int] = {
    UNKNOWN: 0,
    BEGIN: 1,
    PAD: 2,
    WHOLE: 49152,
    **{place: 49153 + i for i, place in enumerate(PLACES)},
    AROUND: 49189,
    IMAGE: 49190,
    END: 49279,
}
LARGE_IDS: Mapping[str, int] = {
    UNKNOWN: 0,
    BEGIN: 1,
    PAD: 2,
    AROUND: 49152,
    IMAGE: 49153,
    END: 49154,
}
# A picture's longer side is always made so many tiles long.
ALONG = 4
# The begin of all, then each turn by its role's name. Of a content that is one text nothing is
# left: its letters are no parts.
TEMPLATE = (
    "{{- '<|im_start|>' -}}{%- for turn in messages -%}{{- turn['role'] | capitalize + ':' -}}"
    "{%- if turn['content'][0]['type'] != 'image' -%}{{- ' ' -}}{%- endif -%}"
    "{%- for part in turn['content'] -%}{%- if part['type'] == 'image' -%}{{- '<image>' -}}"
    "{%- elif part['type'] == 'text' -%}{{- part['text'] -}}{%- endif -%}{%- endfor -%}"
    "{{- '<end_of_utterance>\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- 'Assistant:' -}}{%- endif -%}"
)
# The same as the tokenizer's own steps.
CUTS = (
    {"type": "Digits", "individual_digits": True},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
)


def tiny_files(config: Mapping[str, Any], shrunk: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a published size and what it shrinks to, as `Family.files` has them."""
    vision, side = shrunk["vision_config"], int(shrunk["vision_config"]["image_size"])
    has_places = config["text_config"]["vocab_size"] > max(LARGE_IDS.values()) + 1
    tokens = (UNKNOWN, BEGIN, PAD, *((WHOLE, *PLACES) if has_places else ()), AROUND, IMAGE, END)
    vocabulary, merges = doubled(*learnt_words("qwen2_vl"), ("Ġ", "Ċ"))
    ids = {token: len(vocabulary) + i for i, token in enumerate(tokens)}
    settings = {
        "tokenizer_class": "GPT2Tokenizer",
        "processor_class": "Idefics3Processor",
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": PAD,
        "unk_token": UNKNOWN,
        "additional_special_tokens": [AROUND, IMAGE, END],
        "truncation_side": "left",
    }
    return {
        "vocab.json": vocabulary,
        "merges.txt": "\n".join(("#version: 0.2", *merges, "")),
        "tokenizer.json": tokenizer_json(vocabulary, merges, tokens, CUTS),
        "tokenizer_config.json": tokenizer_config(len(vocabulary), tokens, settings),
        "chat_template.json": {"chat_template": TEMPLATE},
        "processor_config.json": {
            "processor_class": "Idefics3Processor",
            "image_seq_len": (side // vision["patch_size"] // shrunk["scale_factor"]) ** 2,
        },
        "preprocessor_config.json": {
            "image_processor_type": "Idefics3ImageProcessor",
            "processor_class": "Idefics3Processor",
            "do_convert_rgb": True,
            "do_image_splitting": True,
            "do_normalize": True,
            "do_pad": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
            "max_image_size": {"longest_edge": side},
            "resample": 1,
            "rescale_factor": 1 / 255,
            "size": {"longest_edge": ALONG * side},
        },
        "generation_config.json": {
            "bos_token_id": ids[BEGIN],
            "eos_token_id": ids[END],
            "pad_token_id": ids[PAD],
        },
    }
