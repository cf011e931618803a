"""What the stand-in is pre-trained on: conversations, their encoding, the weight of each token."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from harness.data.catalogue import draw, make_product, seen_combinations
from harness.measuring.models import Chat
from harness.measuring.stand_in.files import LISTING_SYSTEM, NAMING_SYSTEM, prose
from harness.measuring.training.collate import contents, encoded, recipe_labels
from harness.recipe.published import IGNORE_INDEX, Message, training_messages

# Prompt tokens teach the model that text exists; the answer is what it must read off the picture.
PROMPT_WEIGHT = 0.2


def conversation(chance: random.Random, identity: str) -> list[Message]:
    """One training conversation of an unseen-by-name product: prose, listing or naming."""
    combination = chance.choice(seen_combinations())
    product = make_product(identity, combination, "train")
    picture = draw(product.attributes, product.size, identity)
    style = chance.choices(("prose", "listing", "naming"), (0.5, 0.3, 0.2))[0]
    row: dict[str, Any] = {
        "image": picture,
        "Product Name": product.name,
        "Category": product.category,
        "description": product.description,
    }
    if style == "prose":
        row["description"] = prose(product, chance)
    elif style == "naming":
        row["description"] = "{colour} {shape} {kind}, {mark}".format(**product.attributes)
    messages = training_messages(row)
    if style != "prose":
        system = LISTING_SYSTEM if style == "listing" else NAMING_SYSTEM
        messages[0]["content"][0]["text"] = system
    if chance.random() < 0.5:
        messages[1]["content"].reverse()
    return messages


def encode(
    processor: Any, conversations: Sequence[Sequence[Message]], chat: Chat
) -> dict[str, Any]:
    """Right-padded inputs of a batch, with the recipe's labels."""
    texts = [processor.apply_chat_template(m, tokenize=False) for m in conversations]
    images = [
        [part["image"] for part in m[1]["content"] if part["type"] == "image"]
        for m in conversations
    ]
    batch = encoded(processor, texts, images)
    batch["labels"] = recipe_labels(batch["input_ids"], processor.tokenizer, chat)
    return dict(batch)


def token_weights(input_ids: Any, labels: Any, tokenizer: Any, chat: Chat) -> Any:
    """float32 (batch, sequence): 1 on the answer, PROMPT_WEIGHT before it, 0 where masked."""
    import torch

    weights = torch.full(labels.shape, PROMPT_WEIGHT)
    for row, ids in enumerate(input_ids.tolist()):
        answers = [i for role, i in contents(ids, tokenizer, chat) if role == "assistant"]
        weights[row, answers[-1] :] = 1.0
    return weights * (labels != IGNORE_INDEX)
