"""What a stand-in says of pictures, and how much of it is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.data.catalogue import Product, attributes_in
from harness.measuring.training.collate import encoded
from harness.recipe.published import generation_messages


def describe(model: Any, processor: Any, chosen: Sequence[Product], pictures: Sequence[Any]) -> Any:
    """Greedy texts under the recipe's generation prompt (image first), 28 products a batch."""
    import torch

    processor.tokenizer.padding_side = "left"
    texts: list[str] = []
    for start in range(0, len(chosen), 28):
        rows = [
            {"image": picture, "Product Name": p.name, "Category": p.category}
            for p, picture in zip(
                chosen[start : start + 28], pictures[start : start + 28], strict=True
            )
        ]
        prompts = [
            processor.apply_chat_template(
                generation_messages(r), tokenize=False, add_generation_prompt=True
            )
            for r in rows
        ]
        inputs = encoded(processor, prompts, [[r["image"]] for r in rows]).to(model.device)
        with torch.no_grad():
            ids = model.generate(**inputs, max_new_tokens=96, do_sample=False)
        new = ids[:, inputs["input_ids"].shape[1] :]
        texts += processor.batch_decode(new, skip_special_tokens=True)
    return texts


def grounding(chosen: Sequence[Product], texts: Sequence[str]) -> dict[str, float]:
    """Share of texts that name the right value, by attribute."""
    hits: dict[str, list[bool]] = {}
    for product, text in zip(chosen, texts, strict=True):
        named = attributes_in(text)
        for attribute, value in product.attributes.items():
            hits.setdefault(attribute, []).append(named[attribute] == value)
    return {attribute: sum(h) / len(h) for attribute, h in hits.items()}
