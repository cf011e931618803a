"""What Qwen3.5's lists know, from which golden/expected/ is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .known import ONE_TO_49, by_micro_batch, converted_larger, otherwise_rounded
from .ladder import Known
from .qwen3_vl_known import ROUNDED, RULE

KNOWN: Mapping[str, Sequence[Known]] = {
    "latest": (
        *converted_larger(),
        *otherwise_rounded(ROUNDED, "31", "33", "half_even", "fetched_photo"),
        ONE_TO_49,
        by_micro_batch("Qwen3_5ForConditionalGeneration"),
        Known(
            "model.lora_missed.model",
            "Three of four layers are gated delta networks, which have no q_proj and no v_proj: "
            "the recipe's targets adapt the fourth alone. Which layers those are is a truth of its "
            "own (lora_modules); name in_proj_qkv, in_proj_z and out_proj to reach the others.",
            otherwise="layers without these names",
        ),
    ),
}
ABSENT: Mapping[str, Mapping[str, str]] = {
    "latest": {
        "images.levels.photo": "torchvision and Pillow 10.4 agree on this picture at this size: "
        "one side grows, the other shrinks.",
        **RULE,
    },
}
