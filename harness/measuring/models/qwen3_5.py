"""Qwen3.5, the dense sizes: ids, names, tensors, parts. Its tower is Qwen3-VL's without what that
feeds the decoder's layers; three of four of these are gated delta networks (arXiv 2412.06464)."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from harness.measuring.models import qwen3_vl as before
from harness.measuring.models._byte_level import tokenizer_json
from harness.measuring.models._chatml import CONTROLS, PICTURED, PUBLISHED_IDS, chatml_files
from harness.measuring.models._protocol import Parts, Published, Samples

TITLE = "Qwen3.5"
SPECIAL = (
    "three of four layers are gated delta networks, which carry a state from token to token and "
    "see the last four through a convolution; the fourth is attention with a gate, queries and "
    "keys normed and a quarter of a head turned (interleaved M-RoPE); answers begin with thoughts; "
    "a tied head up to the 4B"
)
MODEL_TYPES = ("qwen3_5",)
NEEDS = {"transformers": ">=5.2", "qwen-vl-utils": ">=0.0.14"}
ARCHITECTURE = "Qwen3_5ForConditionalGeneration"
IMAGE_PROCESSOR = before.IMAGE_PROCESSOR

_ROPE: Mapping[str, Any] = {
    "rope_type": "default",
    "rope_theta": 10000000,
    "mrope_interleaved": True,
    "mrope_section": [11, 11, 10],
    "partial_rotary_factor": 0.25,
}
_TEXT: Mapping[str, Any] = {
    "model_type": "qwen3_5_text",
    "attention_bias": False,
    "attn_output_gate": True,
    "full_attention_interval": 4,
    "head_dim": 256,
    "hidden_act": "silu",
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_value_head_dim": 128,
    "max_position_embeddings": 262144,
    "mtp_num_hidden_layers": 1,
    "rms_norm_eps": 1e-6,
    "rope_parameters": _ROPE,
    "vocab_size": 248320,
}
_VISION: Mapping[str, Any] = {
    "model_type": "qwen3_5",
    "deepstack_visual_indexes": [],
    "hidden_act": "gelu_pytorch_tanh",
    "in_channels": 3,
    "num_position_embeddings": 2304,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
# Beside the width: depth, inner width and heads of the three towers.
_TOWERS: Mapping[int, Mapping[str, int]] = {
    768: {"depth": 12, "intermediate_size": 3072, "num_heads": 12},
    1024: {"depth": 24, "intermediate_size": 4096, "num_heads": 16},
    1152: {"depth": 27, "intermediate_size": 4304, "num_heads": 16},
}


def _sized(
    hidden: int, inner: int, heads: int, layers: int, value_heads: int, sees: int, *, tied: bool
) -> Mapping[str, Any]:
    """A published size's config.json. sees: the tower's width."""
    text = {
        **_TEXT,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "layer_types": _kinds(layers),
        "linear_num_value_heads": value_heads,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": heads // 4,
        "tie_word_embeddings": tied,
    }
    return {
        "architectures": [ARCHITECTURE],
        "model_type": "qwen3_5",
        "image_token_id": 248056,
        "video_token_id": 248057,
        "vision_start_token_id": 248053,
        "vision_end_token_id": 248054,
        "tie_word_embeddings": tied,
        "text_config": text,
        "vision_config": {
            **_VISION,
            **_TOWERS[sees],
            "hidden_size": sees,
            "out_hidden_size": hidden,
        },
    }


def _kinds(layers: int) -> list[str]:
    """Every fourth layer attends."""
    interval = int(_TEXT["full_attention_interval"])
    return [
        "linear_attention" if number % interval else "full_attention"
        for number in range(1, layers + 1)
    ]


# As far from the first as in the vocabularies before.
_FIRST = 248_044
_CONTROL_IDS = {
    token: place - PUBLISHED_IDS["<|endoftext|>"] + _FIRST for token, place in PUBLISHED_IDS.items()
}
# Revisions as others pinned them (manifests and READMEs of projects on GitHub).
PUBLISHED = {
    size: Published(f"Qwen/Qwen3.5-{size.upper()}", revision, config, _CONTROL_IDS)
    for size, revision, config in (
        (
            "0.8b",
            "2fc06364715b967f1860aea9cf38778875588b17",
            _sized(1024, 3584, 8, 24, 16, 768, tied=True),
        ),
        (
            "2b",
            "15852e8c16360a2fea060d615a32b45270f8a8fc",
            _sized(2048, 6144, 8, 24, 16, 1024, tied=True),
        ),
        (
            "4b",
            "851bf6e806efd8d0a36b00ddf55e13ccb7b8cd0a",
            _sized(2560, 9216, 16, 32, 32, 1024, tied=True),
        ),
        (
            "9b",
            "c202236235762e1c871ad0ccb60c8ee5ba337b9a",
            _sized(4096, 12288, 16, 32, 32, 1152, tied=False),
        ),
    )
}

THOUGHT = ("<think>", "</think>")
# A thought is part of its answer, and may stand in one's own.
CHAT, TENSORS = replace(before.CHAT, ordinary="</?think>"), before.TENSORS
# Marks of every script stand with the letters.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CUTS: tuple[Mapping[str, Any], ...] = (
    {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
)
CONFIG_TOKENS, POSITION_AXES, MASK = before.CONFIG_TOKENS, before.POSITION_AXES, before.MASK
RENAMED, NOT_QUANTISED, TOWER = before.RENAMED, before.NOT_QUANTISED, before.TOWER

CUT = before.CUT
one_picture, levels, resized = CUT.one_picture, CUT.levels, CUT.resized
patches, image_tokens, picture_side = CUT.patches, CUT.image_tokens, CUT.picture_side
one_by_one, together = CUT.one_by_one, CUT.together
picture_grids, proportions = CUT.picture_grids, CUT.proportions
filled, entering = CUT.filled, CUT.entering
pictures, resize_rule = before.pictures, before.resize_rule
processor, depths, component = before.processor, before.depths, before.component
picture_id, seen, vision_flops = before.picture_id, before.seen, before.vision_flops
position_ids, defined_positions = before.position_ids, before.defined_positions

SAMPLES: Samples = replace(
    before.SAMPLES,
    texts={**before.SAMPLES.texts, "marks": "क्षत्रिय กำลัง a\u0301\u0323 ❤️"},
)

# In our own words, with what the published one does: texts are trimmed; no turn of its own where no
# system text is given; an answer to the last question begins with its thought, be it empty.
TEMPLATE = (
    "{%- set seen = namespace(pictures=0, films=0, asked=messages|length - 1) -%}"
    "{%- for turn in messages -%}"
    "{%- if turn.role == 'user' -%}{%- set seen.asked = loop.index0 -%}{%- endif -%}"
    "{%- endfor -%}"
    "{%- for turn in messages -%}"
    "{%- set pictured = turn.role != 'system' -%}"
    "{%- set body -%}"
    "{%- if turn.content is string -%}{{- turn.content -}}{%- else -%}"
    "{%- for part in turn.content -%}" + PICTURED + "{%- endfor -%}"
    "{%- endif -%}"
    "{%- endset -%}"
    "{%- set body = body|trim -%}"
    "{%- if turn.role == 'assistant' -%}"
    "{%- set thought = turn.reasoning_content or '' -%}"
    "{%- if not thought and '</think>' in body -%}"
    "{%- set thought = body.split('</think>')[0].split('<think>')[-1] -%}"
    "{%- set body = body.split('</think>')[-1].lstrip('\\n') -%}"
    "{%- endif -%}"
    "{%- if loop.index0 > seen.asked -%}"
    "{%- set body = '<think>\\n' ~ thought|trim ~ '\\n</think>\\n\\n' ~ body -%}"
    "{%- endif -%}"
    "{%- endif -%}"
    "{{- '<|im_start|>' ~ turn.role ~ '\\n' ~ body ~ '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n<think>\\n' -}}"
    "{%- if not enable_thinking|default(THINKS) -%}{{- '\\n</think>\\n\\n' -}}{%- endif -%}"
    "{%- endif -%}"
)


def config(numbers: Mapping[str, Any]) -> Any:
    """Qwen3_5Config."""
    from transformers import Qwen3_5Config

    return Qwen3_5Config.from_dict(deepcopy(dict(numbers)))


def tiny(config: Mapping[str, Any]) -> dict[str, Any]:
    """One layer that attends behind three that carry a state. As many value heads a key head as
    published, of another width; M-RoPE's sections in the published proportion, and a base by
    which every frequency turns within so few positions."""
    text = config["text_config"]
    shared = text["linear_num_value_heads"] // text["linear_num_key_heads"]
    shrunk = {
        "head_dim": 64,
        "hidden_size": 64,
        "intermediate_size": 128,
        "layer_types": _kinds(4),
        "linear_key_head_dim": 32,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2 * shared,
        "linear_value_head_dim": 64,
        "max_position_embeddings": 4096,
        "num_attention_heads": 2,
        "num_hidden_layers": 4,
        "num_key_value_heads": 1,
        "rope_parameters": {
            **text["rope_parameters"],
            "mrope_section": [3, 3, 2],
            "rope_theta": 1000,
        },
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "num_position_embeddings": 100,
        "out_hidden_size": 64,
    }
    return {
        **config,
        "text_config": {**text, **shrunk},
        "vision_config": {**config["vision_config"], **vision},
    }


def files(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The family's control tokens and those of a thought, which are no control tokens. The smaller
    two, in which a key head serves one value head, do not think unless they are told to."""
    text = config["text_config"]
    thinks = text["linear_num_value_heads"] > text["linear_num_key_heads"]
    template = TEMPLATE.replace("THINKS", str(thinks).lower())
    own = dict(chatml_files(template, "Qwen3VLProcessor", tokenizer_class="Qwen3_5Tokenizer"))
    merges = own["merges.txt"].splitlines()[1:]
    # The class reads neither vocab.json nor merges.txt: without this file its vocabulary is empty.
    whole = tokenizer_json(own["vocab.json"], merges, (*CONTROLS, *THOUGHT), CUTS)
    added = [
        {**token, "special": token["content"] not in THOUGHT} for token in whole["added_tokens"]
    ]
    own["tokenizer.json"] = {**whole, "normalizer": {"type": "NFC"}, "added_tokens": added}
    own["tokenizer_config.json"] = {
        **own["tokenizer_config.json"],
        "added_tokens_decoder": {
            str(token["id"]): {name: value for name, value in token.items() if name != "id"}
            for token in added
        },
    }
    settings = before.files(before.PUBLISHED["4b"].config)["preprocessor_config.json"]
    return {**own, "preprocessor_config.json": settings}


def parts(model: Any) -> Parts:
    """Of the decoder's layers only those that attend have attention."""
    decoder, tower = model.model.language_model, model.model.visual
    return Parts(
        decoder=decoder,
        owner=model.model,
        layers=decoder.layers,
        attention=[layer.self_attn for layer in decoder.layers if hasattr(layer, "self_attn")],
        mlps=[layer.mlp for layer in decoder.layers],
        rotary=decoder.rotary_emb,
        embedding=decoder.embed_tokens,
        head=model.lm_head,
        tower=tower,
        patch_embedding=tower.patch_embed,
        blocks=tower.blocks,
        connector=tower.merger,
    )
