"""Rung 12, sampling: a temperature divides the logits (arXiv 1503.02531), whatever is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.measuring.models import of
from harness.measuring.probes._generate import encode
from harness.recipe.published import Recipe

# New tokens; every one has logits of its own.
NEW = 2
# Whatever else a snapshot's own settings do to scores, switched off.
NOTHING_ELSE = {"top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}


def temperature_gap(
    model: Any, processor: Any, rows: Sequence[Mapping[str, Any]], recipe: Recipe
) -> float:
    """Largest distance, in logits, of what a row's new tokens are drawn by, times the recipe's
    temperature, from the model's own logits. Tokens that are forbidden are left out."""
    import torch

    inputs = encode(processor, rows[:1], recipe, of(model))
    device, temperature = next(model.parameters()).device, recipe.generation.temperature
    with torch.no_grad():
        sampled = model.generate(
            **{k: v.to(device) for k, v in inputs.items()},
            max_new_tokens=NEW,
            do_sample=True,
            temperature=temperature,
            **NOTHING_ELSE,
            output_scores=True,
            output_logits=True,
            return_dict_in_generate=True,
        )
    gaps = [
        (scores.double() * temperature - logits.double())[torch.isfinite(scores)].abs().max()
        for scores, logits in zip(sampled.scores, sampled.logits, strict=True)
    ]
    return float(max(gaps))
