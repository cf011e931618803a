"""Qwen2-VL's chat template as plain string building, from the recipe's description of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DEFAULT_SYSTEM = "You are a helpful assistant."


def render(
    messages: Sequence[Mapping[str, Any]],
    *,
    add_generation_prompt: bool = False,
    add_vision_id: bool = False,
) -> str:
    """The rendered conversation. Nothing is trimmed, nothing stands between parts."""
    turns = list(messages)
    if turns[0]["role"] != "system":
        turns.insert(0, {"role": "system", "content": DEFAULT_SYSTEM})
    counts = {"Picture": 0, "Video": 0}
    pieces: list[str] = []
    for turn in turns:
        pieces.append("<|im_start|>" + turn["role"] + "\n")
        content = turn["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        pieces += [_part(part, counts, add_vision_id) for part in parts]
        pieces.append("<|im_end|>\n")
    if add_generation_prompt:
        pieces.append("<|im_start|>assistant\n")
    return "".join(pieces)


def _part(part: Mapping[str, Any], counts: dict[str, int], numbered: bool) -> str:
    if part["type"] == "image" or "image" in part or "image_url" in part:
        word, pad = "Picture", "<|image_pad|>"
    elif part["type"] == "video" or "video" in part:
        word, pad = "Video", "<|video_pad|>"
    else:
        return str(part.get("text", ""))
    counts[word] += 1
    label = f"{word} {counts[word]}: " if numbered else ""
    return f"{label}<|vision_start|>{pad}<|vision_end|>"
