"""The recipe's collator, as published, with the checks that a silent mistake needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.errors import BadInput
from harness.measuring.instruments.exchange import batch_key, current
from harness.recipe.published import IGNORE_INDEX, Message, Recipe

# What the recipe's collator masks besides padding: vision_start, vision_end, image_pad.
MASKED_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>")


def control_ids(tokenizer: Any) -> dict[str, int]:
    """Ids of the control tokens used here, from the tokenizer in use (never hard-coded)."""
    names = (*MASKED_TOKENS, "<|im_start|>", "<|im_end|>", "<|video_pad|>", "<|endoftext|>")
    return {name: int(tokenizer.convert_tokens_to_ids(name)) for name in names}


def check_conversation(messages: Sequence[Message], tokenizer: Any) -> None:
    """Refuse control tokens inside text parts. Raises BadInput naming role and token.

    `<|im_end|>` inside product text would end the turn early, `<|image_pad|>` would claim an
    image that is not there; both train silently on a wrong conversation.
    """
    specials = [str(t) for t in tokenizer.all_special_tokens] + list(MASKED_TOKENS)
    for message in messages:
        content = message["content"]
        parts = [content] if isinstance(content, str) else [p.get("text", "") for p in content]
        for part in parts:
            hit = next((token for token in specials if token in part), None)
            if hit is not None:
                raise BadInput(
                    f"The {message['role']} text contains the control token {hit}; "
                    "remove it from the product data."
                )


def check_image_tokens(input_ids: Any, image_grid_thw: Any, image_id: int, merge: int) -> None:
    """Every image's tokens must be there: count = sum of t·h·w / merge². Raises BadInput.

    Truncation (max_length, max_seq_length) is what silently cuts them.
    """
    expected = 0 if image_grid_thw is None else int((image_grid_thw.prod(-1) // merge**2).sum())
    found = int((input_ids == image_id).sum())
    if found != expected:
        raise BadInput(
            f"The batch holds {found} image tokens but its images need {expected}; "
            "the text was truncated or altered, raise the maximum length."
        )


def recipe_labels(input_ids: Any, tokenizer: Any) -> Any:
    """labels = input ids with pad, vision_start, vision_end and image_pad set to -100.

    input_ids: int64 (batch, sequence). The prompt is not masked: that is the recipe.
    """
    ids = control_ids(tokenizer)
    labels = input_ids.clone()
    labels[labels == tokenizer.pad_token_id] = IGNORE_INDEX
    for name in MASKED_TOKENS:
        labels[labels == ids[name]] = IGNORE_INDEX
    return labels


def completion_labels(input_ids: Any, tokenizer: Any) -> Any:
    """recipe_labels, and everything up to the last `<|im_start|>assistant\\n` masked too.

    The line break is one token, whatever of the answer's own line breaks the vocabulary merges
    into it: the whole token is masked, for no prompt to generate from ends with it.
    """
    labels = recipe_labels(input_ids, tokenizer)
    header = tokenizer.encode("<|im_start|>assistant", add_special_tokens=False)
    for row, ids in enumerate(input_ids.tolist()):
        starts = [
            i for i in range(len(ids) - len(header) + 1) if ids[i : i + len(header)] == header
        ]
        if not starts:
            raise BadInput("A training conversation has no assistant turn; add the description.")
        labels[row, : starts[-1] + len(header) + 1] = IGNORE_INDEX
    return labels


def make_collator(
    processor: Any, recipe: Recipe, *, check: bool = True
) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """The recipe's collate_fn over a list of conversations (lists of message dicts).

    Returns a function giving input_ids, attention_mask, labels (int64, batch × sequence),
    pixel_values (float32, patches × 1176) and image_grid_thw (int64, images × 3).
    """
    from qwen_vl_utils import process_vision_info

    tokenizer = processor.tokenizer
    image_id = control_ids(tokenizer)["<|image_pad|>"]
    merge = int(processor.image_processor.merge_size)

    def collate(examples: Sequence[Any]) -> dict[str, Any]:
        conversations = [e["messages"] if isinstance(e, dict) else e for e in examples]
        if check:
            for messages in conversations:
                check_conversation(messages, tokenizer)
        texts = [processor.apply_chat_template(m, tokenize=False) for m in conversations]
        images = [process_vision_info(m)[0] for m in conversations]
        exchange = current()
        key = batch_key(conversations, tokenizer.padding_side) if exchange else ""
        if exchange:
            texts = exchange.texts(key, texts)
        batch = processor(text=texts, images=images, return_tensors="pt", padding=True)
        if check:
            check_image_tokens(batch["input_ids"], batch["image_grid_thw"], image_id, merge)
        mask = completion_labels if recipe.repairs.mask_prompt else recipe_labels
        batch["labels"] = mask(batch["input_ids"], tokenizer)
        return exchange.batch(key, batch) if exchange else dict(batch)

    return collate
