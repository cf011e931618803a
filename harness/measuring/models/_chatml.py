"""Families that spell a conversation in ChatML and cut pictures into patches: what they share, and
the files of their tiny snapshots.

Their control tokens stand in one row behind the learnt ones, in the order of the published
vocabularies of Qwen2 and what came after: an id here is as far from the first as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.measuring.models._byte_level import learnt, tokenizer_config
from harness.measuring.models._protocol import BatchTensor, Chat

# Whose vocabulary it is.
LEARNT_BY = "qwen2_vl"
_PAIRED = ("object_ref", "box", "quad", "vision")
CONTROLS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    *(f"<|{name}_{side}|>" for name in _PAIRED for side in ("start", "end")),
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

# The published vocabularies have 151,643 learnt tokens, and these ids by which they are known.
_FIRST = 151_643
PUBLISHED_IDS: Mapping[str, int] = {
    token: _FIRST + place
    for place, token in enumerate(CONTROLS)
    if token.startswith(("<|endoftext", "<|im", "<|vi"))
}
CHAT = Chat(
    turn_start="<|im_start|>",
    turn_end="<|im_end|>",
    roles={"system": "system", "user": "user", "assistant": "assistant"},
    after_role="\n",
    image="<|image_pad|>",
    masked=("<|vision_start|>", "<|vision_end|>", "<|image_pad|>"),
    others=("<|video_pad|>", "<|endoftext|>"),
    numbering="add_vision_id",
)
TENSORS = {
    "input_ids": BatchTensor("ids"),
    "attention_mask": BatchTensor("ids"),
    "pixel_values": BatchTensor("images", "patch", "pixels"),
    "image_grid_thw": BatchTensor("images", "picture"),
    "labels": BatchTensor("labels"),
    # Since transformers 4.57.
    "mm_token_type_ids": BatchTensor("ids", "row", "marks"),
}
# By which texts are cut before bytes are paired.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Of a template in our own words, inside its loop over a turn's parts: pictures and films where
# `pictured` says that the turn may have them, counted in `seen`, and texts as they are.
PICTURED = (
    "{%- set film = part.type == 'video' or 'video' in part -%}"
    "{%- set picture = part.type == 'image' or 'image' in part or 'image_url' in part -%}"
    "{%- if pictured and picture -%}"
    "{%- set seen.pictures = seen.pictures + 1 -%}"
    "{%- if add_vision_id -%}{{- 'Picture ' ~ seen.pictures ~ ': ' -}}{%- endif -%}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
    "{%- elif pictured and film -%}"
    "{%- set seen.films = seen.films + 1 -%}"
    "{%- if add_vision_id -%}{{- 'Video ' ~ seen.films ~ ': ' -}}{%- endif -%}"
    "{{- '<|vision_start|><|video_pad|><|vision_end|>' -}}"
    "{%- elif 'text' in part -%}{{- part.text -}}{%- endif -%}"
)


def chatml_files(template: str, processor_class: str, **settings: Any) -> Mapping[str, Any]:
    """Vocabulary, tokenizer, template and generation by file name. settings: what else
    tokenizer_config.json says."""
    words = learnt(LEARNT_BY)
    first = len(words["vocab.json"])
    tokenizer = {
        "tokenizer_class": "Qwen2Tokenizer",
        "processor_class": processor_class,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": template,
        **settings,
    }
    return {
        **words,
        "tokenizer_config.json": tokenizer_config(first, CONTROLS, tokenizer),
        "chat_template.json": {"chat_template": template},
        "generation_config.json": {
            "bos_token_id": first,
            "pad_token_id": first,
            "eos_token_id": [first + 2, first],
        },
    }
