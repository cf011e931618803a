"""Named diffs of the recipe's step, each meant to keep the loss and save time or memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.errors import BadInput

Head = Literal["library", "selected", "liger"]
Mode = Literal["recipe", "no_grad", "cached", "by_picture"]


@dataclass(frozen=True)
class Variant:
    """One way to execute the recipe's step.

    checkpointing: share of decoder layers recomputed in the backward pass (1 is the recipe's).
    unpacked: NF4 weights unpacked to bfloat16 once, not in every product; `alike` gives back its
    input's dtype as bitsandbytes does, `plain` stays bfloat16, a rounding more. head: where logits
    are made: at every position by the library; only where a label counts, in one product or by
    liger-kernel's fused one. upcast: what peft's k-bit preparation does to everything that is not
    quantised: `recipe` (float32), `narrow` (but not embeddings and head, which lose nothing),
    `none`. tower: `recipe`; `no_grad`: no backward work in the frozen tower; `cached`: its
    output is computed once per picture; `by_picture`: pictures go through it one at a time.
    compiled: torch.compile of each decoder layer. liger: liger-kernel's norms and gated activation.
    rows: samples that go through the model at a time, each part's loss weighted by its labels; 0
    is the whole micro-batch. grouped: a step's samples are sorted by length before they are dealt
    into micro-batches, measured on pictures of mixed sizes; other samples share a batch, so the
    mean of the micro-batches' means is another number.
    """

    name: str
    what: str
    checkpointing: float = 1.0
    unpacked: Literal["no", "alike", "plain"] = "no"
    head: Head = "library"
    upcast: Literal["recipe", "narrow", "none"] = "recipe"
    tower: Mode = "recipe"
    compiled: bool = False
    liger: bool = False
    rows: int = 0
    grouped: bool = False


RECIPE = Variant("recipe", "the recipe's step as published")
VARIANTS = {
    v.name: v
    for v in (
        RECIPE,
        Variant("recipe_again", "the recipe against itself: what noise alone does"),
        Variant("no_checkpointing", "activations kept, nothing recomputed", checkpointing=0),
        Variant("half_checkpointing", "every other layer recomputed", checkpointing=0.5),
        Variant("dequantised", "weights unpacked to bfloat16 once", unpacked="alike"),
        Variant("selected_logits", "logits only where a label counts", head="selected"),
        Variant("liger_loss", "head and loss fused, in chunks, where a label counts", head="liger"),
        Variant("no_upcast", "embeddings, head and norms stay bfloat16", upcast="none"),
        Variant("frozen_tower", "no backward work in the frozen vision tower", tower="no_grad"),
        Variant("cached_vision", "vision embeddings computed once per picture", tower="cached"),
        Variant(
            "per_image_attention",
            "each picture through the vision tower alone",
            tower="by_picture",
        ),
        Variant(
            "length_grouping",
            "samples of a step sorted by length; changes the batches; both sides padded right",
            grouped=True,
        ),
        Variant("compiled", "torch.compile of each decoder layer", compiled=True),
        Variant("liger_kernels", "liger-kernel's norms and activation", liger=True),
        Variant(
            "fastest",
            "no checkpointing, unpacked once, vision cached, logits where needed",
            checkpointing=0,
            unpacked="alike",
            head="selected",
            tower="cached",
        ),
        Variant(
            "fastest_first_epoch",
            "the same, the vision tower run forward in every step",
            checkpointing=0,
            unpacked="alike",
            head="selected",
            tower="no_grad",
        ),
        Variant(
            "fastest_liger",
            "fastest, with liger-kernel's kernels",
            checkpointing=0,
            unpacked="alike",
            head="selected",
            tower="cached",
            liger=True,
            upcast="narrow",
        ),
        Variant(
            "fastest_compiled",
            "fastest, with compiled decoder layers",
            checkpointing=0,
            unpacked="alike",
            head="selected",
            tower="cached",
            compiled=True,
            upcast="narrow",
        ),
        Variant(
            "fastest_compiled_liger",
            "fastest, with compiled layers and liger-kernel's kernels",
            checkpointing=0,
            unpacked="alike",
            head="selected",
            tower="cached",
            compiled=True,
            liger=True,
            upcast="narrow",
        ),
        Variant(
            "dequantised_plain", "weights unpacked once, results stay bfloat16", unpacked="plain"
        ),
        Variant("narrow_upcast", "embeddings and head stay bfloat16", upcast="narrow"),
        Variant(
            "leanest",
            "narrow upcast, fused head and loss, no backward in the tower",
            head="liger",
            upcast="narrow",
            tower="no_grad",
        ),
        Variant(
            "leanest_plain",
            "the same with logits where needed, in one product",
            head="selected",
            upcast="narrow",
            tower="no_grad",
        ),
        Variant(
            "leanest_by_row",
            "leanest_plain, one sample at a time, weighted by its labels",
            head="selected",
            upcast="narrow",
            tower="no_grad",
            rows=1,
        ),
        Variant(
            "leaner",
            "leanest without any upcast",
            head="liger",
            upcast="none",
            tower="no_grad",
        ),
    )
}


def variant(name: str) -> Variant:
    """By name. Raises BadInput listing the names."""
    if name not in VARIANTS:
        raise BadInput(f"There is no variant {name!r}; choose from {', '.join(VARIANTS)}.")
    return VARIANTS[name]
