"""The recipe's collator, as published, with the checks that a silent mistake needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from harness.errors import BadInput
from harness.measuring.instruments.exchange import batch_key, current
from harness.measuring.models import Chat, Family
from harness.recipe.published import IGNORE_INDEX, Message, Recipe


def control_ids(tokenizer: Any, chat: Chat) -> dict[str, int]:
    """Ids of the family's control tokens, from the tokenizer in use (never hard-coded); those that
    its vocabulary lacks, as a smaller or an older size may, are left out."""
    ids = tokenizer.convert_tokens_to_ids(list(chat.controls))
    tokens = ["" if i is None else tokenizer.convert_ids_to_tokens(i) for i in ids]
    named = zip(chat.controls, ids, tokens, strict=True)
    return {name: int(i) for name, i, token in named if token == name}


def contents(ids: Sequence[int], tokenizer: Any, chat: Chat) -> list[tuple[str, int]]:
    """(role, where its text begins) of every turn, in order.

    A header of letters alone counts only outside a turn: a text may read like one.
    """
    headers = {
        role: tokenizer.encode(chat.header(role), add_special_tokens=False) for role in chat.roles
    }
    end = control_ids(tokenizer, chat)[chat.turn_end]
    turns: list[tuple[str, int]] = []
    inside = False
    for i, token in enumerate(ids):
        named = (r for r, header in headers.items() if list(ids[i : i + len(header)]) == header)
        role = next(named, None) if chat.turn_start or not inside else None
        if role is not None:
            # The header, and the line break after it, whatever it was merged with.
            turns.append((role, i + len(headers[role]) + bool(chat.after_role)))
            inside = True
        elif token == end:
            inside = False
    return turns


def check_conversation(messages: Sequence[Message], tokenizer: Any, chat: Chat) -> None:
    """Refuse control tokens inside text parts. Raises BadInput naming role and token.

    The end of a turn inside product text would end it early, an image's token would claim one
    that is not there; both train silently on a wrong conversation.
    """
    # Special or not: the tokenizer cuts every added token out of a text before anything else.
    others = [t for t in tokenizer.get_added_vocab() if not re.fullmatch(chat.ordinary, t)]
    added = [*others, *tokenizer.all_special_tokens, *chat.masked]
    for message in messages:
        content = message["content"]
        parts = [content] if isinstance(content, str) else [p.get("text", "") for p in content]
        for part in parts:
            hit = next((token for token in added if token in part), None)
            if hit is not None:
                raise BadInput(
                    f"The {message['role']} text contains the control token {hit}; "
                    "remove it from the product data."
                )


def check_image_tokens(input_ids: Any, image_id: int, expected: Sequence[int]) -> None:
    """Every image's tokens must be there. Raises BadInput.

    expected: tokens that each row's images take. Truncation (max_length, max_seq_length) is what
    silently cuts them.
    """
    counted = (input_ids == image_id).sum(-1).tolist()
    if counted != list(expected):
        raise BadInput(
            f"The batch holds {sum(counted)} image tokens but its images need {sum(expected)}; "
            "the text was truncated or altered, raise the maximum length."
        )


def encoded(processor: Any, texts: Sequence[str], images: Any) -> Any:
    """A padded batch of rendered conversations, as tensors, and their pictures.

    images: pictures by row, None for none. Where the template has written the begin token, the
    tokenizer is kept from putting a second one before it.
    """
    begin = processor.tokenizer.bos_token
    written = bool(begin) and all(text.startswith(begin) for text in texts)
    bare = {"add_special_tokens": False} if written else {}
    return processor(text=texts, images=images, return_tensors="pt", padding=True, **bare)


def recipe_labels(input_ids: Any, tokenizer: Any, chat: Chat) -> Any:
    """labels = input ids with padding and what surrounds and stands for images set to -100.

    input_ids: int64 (batch, sequence). The prompt is not masked: that is the recipe.
    """
    ids = control_ids(tokenizer, chat)
    labels = input_ids.clone()
    labels[labels == tokenizer.pad_token_id] = IGNORE_INDEX
    for name in chat.masked:
        if name in ids:
            labels[labels == ids[name]] = IGNORE_INDEX
    return labels


def completion_labels(input_ids: Any, tokenizer: Any, chat: Chat) -> Any:
    """recipe_labels, and everything up to the text of the last assistant turn masked too.

    A line break after the role is one token, whatever of the answer's own line breaks the
    vocabulary merges into it: the whole token is masked, for no prompt to generate from ends
    with it.
    """
    labels = recipe_labels(input_ids, tokenizer, chat)
    for row, ids in enumerate(input_ids.tolist()):
        turns = contents(ids, tokenizer, chat)
        starts = [start for role, start in turns if role == "assistant"]
        if not starts:
            raise BadInput("A training conversation has no assistant turn; add the description.")
        labels[row, : starts[-1]] = IGNORE_INDEX
    return labels


def make_collator(
    processor: Any, recipe: Recipe, loader: Family, *, check: bool = True
) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """The recipe's collate_fn over a list of conversations (lists of message dicts).

    Returns a function giving input_ids, attention_mask, labels (int64, batch × sequence) and
    what else the family's processor gives of pictures. loader: the processor's family.
    """
    tokenizer, chat = processor.tokenizer, loader.CHAT
    image_id = control_ids(tokenizer, chat)[chat.image]

    def collate(examples: Sequence[Any]) -> dict[str, Any]:
        conversations = [e["messages"] if isinstance(e, dict) else e for e in examples]
        if check:
            for messages in conversations:
                check_conversation(messages, tokenizer, chat)
        texts = [processor.apply_chat_template(m, tokenize=False) for m in conversations]
        images = [loader.pictures(m) for m in conversations]
        exchange = current()
        key = batch_key(conversations, tokenizer.padding_side) if exchange else ""
        if exchange:
            texts = exchange.texts(key, texts)
        shown = images if any(images) else None
        batch = encoded(processor, texts, shown)
        if check:
            counts = [len(of_row) for of_row in images]
            expected = loader.image_tokens(processor, batch, counts)
            check_image_tokens(batch["input_ids"], image_id, expected)
        mask = completion_labels if recipe.repairs.mask_prompt else recipe_labels
        batch["labels"] = mask(batch["input_ids"], tokenizer, chat)
        return exchange.batch(key, batch, loader) if exchange else dict(batch)

    return collate
