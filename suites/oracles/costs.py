"""What a step of the recipe holds and computes, worked out from what a family's oracle says of its
rows and of its matrices.

A family whose module has `step_flops(config, batch, length, patches)` says how many floating-point
operations its step takes, by mode; how many of them some releases compute element by element; and
by the name of a known fault what it makes of all. Of others only bytes are told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import architecture as counts
from .ladder import IGNORED, Oracle, Truth, Turns, pictures
from .worked_out import completion_labels, recipe_labels

FLOAT32 = 4
# Of these no truth can be given where rows are not known.
OF_ROWS = ("flops", "useful_flops", "held_bytes")
FROZEN = (
    "frozen base and vision tower, pictures attend to themselves, recompute stops before down_proj"
)


@dataclass(frozen=True)
class Lengths:
    """What a batch of rows holds once padded on the left to the longest. tokens: without padding.
    trained: targets, those that only padding stands before among them. patches: by picture, before
    any are merged."""

    batch: int
    length: int
    tokens: int
    trained: int
    patches: tuple[int, ...]


def lengths(oracle: Oracle, turns: Sequence[Turns], *, mask_prompt: bool) -> Lengths:
    """Of conversations in one batch."""
    rows = [oracle.sample(each).ids for each in turns]
    longest = max(map(len, rows))
    labels = completion_labels if mask_prompt else recipe_labels
    trained = [labels(oracle, row) for row in rows]
    # The first token of a row as long as the longest has nothing before it.
    targets = sum(
        label != IGNORED for row in trained for label in (row[1:] if len(row) == longest else row)
    )
    shown = [picture for each in turns for picture in pictures(each)]
    patches = [math.prod(oracle.grid(*oracle.fetched(p.height, p.width))) for p in shown]
    return Lengths(len(rows), longest, sum(map(len, rows)), targets, tuple(patches))


def adapter_truth(model: counts.Architecture, origin: str) -> Truth:
    """Rung 11: the tensors of a saved adapter."""
    shapes = {}
    for name, (fan_out, fan_in) in counts.adapted(model).items():
        shapes[f"{name}.lora_A.weight"] = [counts.RANK, fan_in]
        shapes[f"{name}.lora_B.weight"] = [fan_out, counts.RANK]
    why = "A is r × in and B is out × r of every adapted Linear"
    return Truth("trajectory", "adapter_tensors", {"": shapes}, origin, why)


def truths(
    family: Any,
    oracle: Oracle,
    config: Mapping[str, Any],
    turns: Sequence[Turns],
    *,
    mask_prompt: bool,
    widened: bool,
) -> Iterator[Truth]:
    """Rung 13 of the recipe's step over conversations. family: its module. widened: whether logits
    are float32, as on a CPU."""
    origin = "suites/oracles/costs.py"
    if oracle.lacks or any(oracle.undecided(p.height, p.width) for t in turns for p in pictures(t)):
        why = oracle.lacks or "a float's last bit decides the resized side of one of its pictures"
        yield from (Truth("cost", name, {}, origin, why) for name in OF_ROWS)
        return
    whole = lengths(oracle, turns, mask_prompt=mask_prompt)
    adapter = FLOAT32 * sum(counts.lora_by_part(family.architecture(config)).values())
    size = {"adapter": adapter, "gradients": adapter, "optimizer": 2 * adapter}
    vocabulary = config.get("text_config", config).get("vocab_size")
    if widened and vocabulary:
        size["logits"] = FLOAT32 * whole.batch * whole.length * vocabulary
    why = "float32 adapter, gradients, two moments, and logits of every position"
    yield Truth("cost", "held_bytes", size, origin, why)
    if not hasattr(family, "step_flops"):
        return
    one = lengths(oracle, turns[:1], mask_prompt=mask_prompt)
    cases: dict[str, int] = {}
    otherwise: dict[str, dict[str, int]] = {}
    for case, rows in (("one", one), ("four", whole)):
        sizes = (config, rows.batch, rows.length, rows.patches)
        right, elementwise, known = family.step_flops(*sizes)
        cases |= {f"{mode}.{case}": work for mode, work in right.items()}
        for fault, by_mode in known.items():
            by_case = {f"{mode}.{case}": work for mode, work in by_mode.items()}
            otherwise.setdefault(fault, {}).update(by_case)
    yield Truth("cost", "flops", cases, origin, FROZEN, elementwise, otherwise)
    work = family.useful_flops(config, whole.tokens, whole.trained, whole.patches)
    why = "4 P per true token, the head on labels, the vision tower forward"
    yield Truth("cost", "useful_flops", {"four": work}, origin, why)
