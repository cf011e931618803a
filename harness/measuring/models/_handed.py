"""A conversation's pictures as trainings hand them to a processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.samples import pictures_in


def fetched(conversation: Sequence[Mapping[str, Any]]) -> list[Any]:
    """By qwen_vl_utils, which resizes them by the processor's rule before it does."""
    from qwen_vl_utils import process_vision_info

    images: list[Any] | None = process_vision_info(conversation)[0]
    return images or []


def converted(conversation: Sequence[Mapping[str, Any]]) -> list[Any]:
    """As RGB by Pillow, nothing fetched and nothing resized: what the publishers' guides do. What
    is named, not opened, is left to the processor as it is."""
    pictures = pictures_in([dict(turn) for turn in conversation])
    return [p if isinstance(p, str) else p.convert("RGB") for p in pictures]
