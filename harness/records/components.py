"""The words by which records name a model's components, whatever its library calls them."""

from __future__ import annotations

from enum import StrEnum


class Component(StrEnum):
    """What a parameter belongs to. The values stand in records and goldens since the first one."""

    HEAD = "lm_head"
    EMBEDDING = "embed_tokens"
    NORMS = "norms"
    LANGUAGE = "language"
    PATCH_EMBEDDING = "patch_embed"
    CONNECTOR = "merger"
    TOWER = "vision"
    OTHER = "other"
