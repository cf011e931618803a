"""Rung 5: which positions are trained; supervised tokens by role."""

from __future__ import annotations

from collections import Counter
from typing import Any

from harness.data.samples import SAMPLES, conversations
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import Chat, family
from harness.measuring.probes._trainers import record_labels
from harness.measuring.snapshots import loading
from harness.measuring.training.collate import (
    completion_labels,
    contents,
    control_ids,
    make_collator,
)
from harness.recipe.published import IGNORE_INDEX
from harness.records.beside import Supervision, Token, write_supervision
from harness.records.context import Context
from harness.records.record import Record

ROLES = ("system", "user", "assistant")


def roles_of(ids: list[int], tokenizer: Any, chat: Chat) -> list[str]:
    """Role of every token: whose content it is, or `control`."""
    control = control_ids(tokenizer, chat)
    out = ["control"] * len(ids)
    starts = {start: role for role, start in contents(ids, tokenizer, chat)}
    current = "control"
    for i, token in enumerate(ids):
        current = starts.get(i, current)
        if token == control[chat.turn_end]:
            current = "control"
        elif token not in control.values():
            out[i] = current
    return out


def shown_texts(ids: list[int], tokenizer: Any) -> list[str]:
    """Each token's text; a character split over several byte-level tokens stands at its first.

    The others read "‥". Bytes that form no character at all stay the replacement character.
    """
    alone = [tokenizer.decode([token]) for token in ids]
    out = list(alone)
    i = 0
    while i < len(ids):
        # UTF-8 has at most four bytes a character, so at most four tokens.
        for end in range(i + 2, min(i + 4, len(ids)) + 1) if "\ufffd" in alone[i] else ():
            whole = tokenizer.decode(ids[i:end])
            if "\ufffd" not in whole:
                out[i:end] = [whole, *["‥"] * (end - i - 1)]
                i = end - 1
                break
        i += 1
    return out


def supervision_map(
    ids: list[int], labels: list[int], attended: list[int], tokenizer: Any, chat: Chat
) -> tuple[Token, ...]:
    """Every token of one sequence: its text, its role, and trained, masked or image."""
    image = control_ids(tokenizer, chat)[chat.image]
    drawn = []
    texts = shown_texts(ids, tokenizer)
    for token, text, role, label, real in zip(
        ids, texts, roles_of(ids, tokenizer, chat), labels, attended, strict=True
    ):
        kind = "trained" if label != IGNORE_INDEX else "image" if token == image else "masked"
        drawn.append(Token(text, kind, role if real else "padding"))
    return tuple(drawn)


def run(context: Context) -> Record:
    """Masks of the recipe's collator and of its completion-only repair, on either padding side."""
    recorder = Recorder("labels")
    loader = family(context.family)
    chosen = conversations(context, context.recipe, SAMPLES)
    for side in ("left", "right"):
        processor = loading.load_processor(context.snapshot, padding_side=side)
        tokenizer = processor.tokenizer
        batch = make_collator(processor, context.recipe, loader)(chosen)
        ids = batch["input_ids"]
        recorder.add("recipe", batch["labels"].tolist(), case=side, unit="ids")
        recorder.add(
            "completion",
            completion_labels(ids, tokenizer, loader.CHAT).tolist(),
            case=side,
            unit="ids",
        )
        pads = batch["attention_mask"] == 0
        trained_pads = int((batch["labels"][pads] != IGNORE_INDEX).sum())
        recorder.add("trained_pads", trained_pads, case=side, unit="tokens")
    # For the report only: what the loss looks at, token by token, in the first sample.
    drawn = supervision_map(
        ids[0].tolist(),
        batch["labels"][0].tolist(),
        batch["attention_mask"][0].tolist(),
        tokenizer,
        loader.CHAT,
    )
    sample = "The first of four training samples, padded on the right."
    write_supervision(Supervision(sample, drawn), context.out)
    counts: Counter[str] = Counter()
    trained = batch["labels"].tolist()
    for row, labels in zip(ids.tolist(), trained, strict=True):
        for role, label in zip(roles_of(row, tokenizer, loader.CHAT), labels, strict=True):
            counts[role] += label != IGNORE_INDEX
    total = sum(counts.values())
    for role in (*ROLES, "control"):
        recorder.add("supervised", counts[role], case=role, unit="tokens")
    recorder.add(
        "prompt_share",
        round(1 - counts["assistant"] / total, 6),
        unit="1",
        note="share of trained tokens that are not the description (contradiction 6)",
    )
    record_labels(recorder, context)
    return recorder.finish(context.provenance(4), context.out)
