"""Rung 12, where a text ends: the end token stops its row, and padding follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.measuring.models import of
from harness.measuring.probes._generate import encode, new_tokens
from harness.recipe.published import Recipe
from harness.records.typed import Json

# New tokens asked for, and of the first row the one that is the end token.
ASKED = 6
END = 3


def ended(
    model: Any, processor: Any, rows: Sequence[Mapping[str, Any]], recipe: Recipe
) -> list[Json]:
    """New tokens of two rows up to their padding, where every next token is decided from outside:
    letters, but for the end token that is the first row's third."""
    import torch
    from transformers import LogitsProcessor, LogitsProcessorList

    inputs = encode(processor, [*rows, *rows][:2], recipe, of(model))
    tokenizer = processor.tokenizer
    letter, end = tokenizer.encode("a", add_special_tokens=False)[-1], tokenizer.eos_token_id
    prompt = inputs["input_ids"].shape[1]

    class Decided(LogitsProcessor):
        """Leaves one token to each row."""

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            wanted = torch.full((len(scores),), letter, device=scores.device)
            if input_ids.shape[1] - prompt == END - 1:
                wanted[0] = end
            decided = torch.full_like(scores, float("-inf"))
            return decided.scatter(1, wanted[:, None], 0.0)

    device = next(model.parameters()).device
    with torch.no_grad():
        whole = model.generate(
            **{k: v.to(device) for k, v in inputs.items()},
            max_new_tokens=ASKED,
            do_sample=False,
            logits_processor=LogitsProcessorList([Decided()]),
        )
    new = new_tokens(whole, inputs)
    return [int(count) for count in (new != tokenizer.pad_token_id).sum(dim=1)]
