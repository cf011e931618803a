"""The lane's memory: what a case certainly needs, refused before it starts or explained after."""

from __future__ import annotations

from typing import Any

from harness.measuring.instruments import footprint
from harness.measuring.lane.bench import Lane
from harness.measuring.snapshots.loading import meta_model
from harness.measuring.training import capacity
from harness.recipe.ways import RECIPE, VARIANTS, Variant

PREPARED = footprint.SCHEMES["nf4_double_prepared"]
FEWER = "measure fewer tokens (CASE@TOKENS) or fewer samples per micro-batch (--size)"
MENDS = {
    "weights": "use a card with more memory",
    "adapter": "lower the adapter's rank",
    "logits": FEWER,
    "checkpoints": FEWER,
    "activations": FEWER,
    "kept_copy": "use a card with more memory",
    "other_side": "use a card with more memory, or measure the variant without its partner",
}


def _held(variant: Variant) -> footprint.Scheme:
    """How a variant's weights are held at least."""
    if variant.unpacked != "no":
        return footprint.BF16
    return PREPARED if variant.upcast == "recipe" else footprint.NF4_DOUBLE


def needs(lane: Lane, case: str, tokens: int) -> dict[str, int]:
    """Bytes by component that a case certainly holds at once on a card.

    The recipe's own step, the copy of the model that is kept for the next case, and in a pair
    the variant's weights (`other_side`), which stay while the recipe steps.
    """
    model = meta_model(lane.snapshot)
    parts = capacity.step_bytes(
        model, size=lane.size, tokens=tokens, scheme=PREPARED, recipe=lane.recipe
    )
    parts["kept_copy"] = footprint.predict(model, footprint.NF4_DOUBLE).total
    if case in VARIANTS and case != RECIPE.name:
        parts["other_side"] = footprint.predict(model, _held(VARIANTS[case])).total
    return parts


def refuse(lane: Lane, case: str, tokens: int) -> None:
    """Raises NotRunnable for a case that cannot fit the card; a CPU is not asked."""
    if lane.device.startswith("cuda"):
        parts, memory = needs(lane, case, tokens), capacity.available(lane.device)
        what = f"{case} at {tokens} tokens, {lane.size} samples a micro-batch,"
        capacity.refuse(what, parts, memory, MENDS)


def explained(lane: Lane, case: str, tokens: int, error: BaseException) -> dict[str, Any]:
    """What to leave as a record of an out-of-memory."""
    parts, memory = needs(lane, case, tokens), capacity.available(lane.device)
    what = f"{case} at {tokens} tokens, {lane.size} samples a micro-batch,"
    return capacity.out_of_memory(what, parts, memory, error, MENDS)
