"""Tower, projector and decoder side by side, as LLaVA's checkpoints name them and its successors'.

transformers put an inner model around the three in 4.52; what is published keeps the names of
before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.records.components import Component

TEXT, TOWER = "language_model.model", "vision_tower"
PROJECTOR, HEAD = "multi_modal_projector", "language_model.lm_head"


@dataclass(frozen=True)
class SideBySide:
    """vision: the tower's own modules, in the published names. patches, blocks: below it. others:
    parameters of the inner model itself, which belong to the connector."""

    vision: str
    patches: str
    blocks: str
    others: tuple[str, ...] = ()

    @cached_property
    def renamed(self) -> tuple[tuple[str, str], ...]:
        """(now, published) prefixes, the first that fits counting. A shell that the tower had until
        transformers 5.6 is published with it."""
        shell = ((f"model.{self.vision}.", f"{self.vision}."),) if self.vision != TOWER else ()
        return (
            ("model.language_model.", f"{TEXT}."),
            *shell,
            (f"model.{TOWER}.", f"{self.vision}."),
            (f"model.{PROJECTOR}.", f"{PROJECTOR}."),
            *((f"model.{name}", name) for name in self.others),
            ("lm_head.", f"{HEAD}."),
        )

    def component(self, name: str) -> Component:
        """Norms of the decoder's layers count as norms, those of queries and keys too."""
        if name.startswith(f"{TEXT}.layers.") and "norm" in name:
            return Component.NORMS
        parts = (
            (f"{HEAD}.", Component.HEAD),
            (f"{TEXT}.embed_tokens.", Component.EMBEDDING),
            (f"{TEXT}.norm.", Component.NORMS),
            (f"{TEXT}.layers.", Component.LANGUAGE),
            *((name, Component.CONNECTOR) for name in (f"{PROJECTOR}.", *self.others)),
            (f"{self.vision}.{self.patches}.", Component.PATCH_EMBEDDING),
            (f"{TOWER}.", Component.TOWER),
        )
        return next((part for prefix, part in parts if name.startswith(prefix)), Component.OTHER)

    def depths(self, config: Mapping[str, Any]) -> dict[str, int]:
        """Decoder layers and the tower's blocks."""
        text, vision = config.get("text_config") or {}, config.get("vision_config") or {}
        return {
            f"{TEXT}.layers": int(text.get("num_hidden_layers", 0)),
            f"{self.vision}.{self.blocks}": int(vision.get("num_hidden_layers", 0)),
        }
