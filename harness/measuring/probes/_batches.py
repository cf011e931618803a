"""The fixed batches and the fixed model that rungs 7 to 10 follow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from harness.data.samples import conversations
from harness.errors import Lack
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import family
from harness.measuring.snapshots import loading
from harness.measuring.training import adapter
from harness.measuring.training.collate import make_collator
from harness.records.context import Context
from harness.records.record import Record

SIZE = 4
SIDES = ("left", "right")

Collate = Callable[[Any], dict[str, Any]]
# By snapshot, recipe, family and side: of the rung that is measured, none outside of one.
_kept: list[dict[Any, Collate]] = []


@contextlib.contextmanager
def one_processor() -> Iterator[None]:
    """A rung's batches of one side come from one processor, as a training's do: to load it takes
    longer than to use it."""
    _kept.append({})
    try:
        yield
    finally:
        _kept.pop()


def _collator(context: Context, side: str) -> Collate:
    key = context.snapshot, context.recipe, context.family, side
    if _kept and key in _kept[-1]:
        return _kept[-1][key]
    processor = loading.load_processor(context.snapshot, padding_side=side)
    collate = make_collator(processor, context.recipe, family(context.family))
    if _kept:
        _kept[-1][key] = collate
    return collate


def batch(
    context: Context,
    side: str,
    chosen: Any = None,
    size: int = SIZE,
) -> dict[str, Any]:
    """The recipe's collated batch of the data's first samples, padded on that side."""
    if chosen is None:
        chosen = conversations(context, context.recipe, size)
    collated = _collator(context, side)(chosen)
    return {k: v.to(context.device) for k, v in collated.items()}


def plain_model(context: Context, *, attention: str | None = None) -> Any:
    """The unquantised model in float32: these rungs compare arithmetic, not rounding."""
    return loading.load_model(
        context.snapshot, device=context.device, dtype="float32", attention=attention
    )


def adapted_model(
    context: Context,
    *,
    zero_b: bool = False,
    attention: str | None = None,
    dropout: bool = False,
) -> Any:
    """The same with the recipe's LoRA, no dropout but where it is asked for, seeded A and (unless
    zero_b) seeded B."""
    plain = plain_model(context, attention=attention)
    model = adapter.add_lora(plain, context.recipe, seed=context.seed, dropout=dropout)
    if not zero_b:
        adapter.randomise_lora_b(model, seed=context.seed)
    return model


def forward(model: Any, inputs: dict[str, Any]) -> Any:
    """The training forward: everything the collator gave, no cache."""
    return model(**inputs, use_cache=False)


def without_weights(context: Context, rung: str, names: tuple[str, ...]) -> Record | None:
    """A record of NOT_RUN metrics where the snapshot holds no weights, else None."""
    if context.has_weights:
        return None
    recorder = Recorder(rung)
    for name in names:
        recorder.not_run(name, f"{context.model} has no weights (*.safetensors)", Lack.WEIGHTS)
    return recorder.finish(context.provenance(), context.out)
