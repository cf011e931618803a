"""Rung 3: token ids, attention mask, padding side."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from harness.data.samples import conversations, id_texts, own_texts
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import Family, family
from harness.measuring.snapshots import loading
from harness.measuring.training.collate import make_collator
from harness.records.context import Context
from harness.records.record import How, Record

BATCH = 4


def run(context: Context) -> Record:
    """Ids of single texts, their way back, and a padded batch on either side."""
    recorder = Recorder("ids")
    loader = family(context.family)
    processor = loading.load_processor(context.snapshot)
    tokenizer = processor.tokenizer
    recorder.add("vocabulary_size", len(tokenizer), unit="tokens")
    recorder.add("padding_side", loading.padded_side(processor), unit="text")
    recorder.add("pad_token", tokenizer.pad_token, unit="text")
    recorder.add("eos_token", tokenizer.eos_token, unit="text")
    texts = {**id_texts(context.recipe), **loader.SAMPLES.texts}
    texts |= own_texts(context, context.recipe)
    for name, text in texts.items():
        ids, failed = recorder.attempt(
            "encoded",
            lambda text=text: tokenizer.encode(text, add_special_tokens=False),  # type: ignore[misc]
            case=name,
        )
        if failed is not None or ids is None:
            continue
        recorder.add("encoded", ids, case=name, unit="ids")
        back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        recorder.add("round_trip", back, case=name, unit="text")
    chosen = conversations(context, context.recipe, BATCH)
    _begin(recorder, processor, chosen, loader)
    for side in ("left", "right"):
        padded = loading.load_processor(context.snapshot, padding_side=side)
        batch = make_collator(padded, context.recipe, loader)(chosen)
        recorder.add("batch_ids", batch["input_ids"].tolist(), case=side, unit="ids")
        recorder.add("batch_mask", batch["attention_mask"].tolist(), case=side, unit="1")
        _marks(recorder, batch, tokenizer, loader, side)
    return recorder.finish(context.provenance([sorted(texts), BATCH]), context.out)


def _marks(
    recorder: Recorder, batch: dict[str, Any], tokenizer: Any, loader: Family, side: str
) -> None:
    """Tokens that the batch marks as a picture's and are none, or are one and not marked."""
    name = next((name for name, it in loader.TENSORS.items() if it.holds == "marks"), "")
    if name not in batch:
        note = "nothing is marked here, so nothing wrongly"
        recorder.add("mark_gap", 0, case=side, unit="tokens", how=How.PREDICTED, note=note)
        return
    pictures = batch["input_ids"] == tokenizer.convert_tokens_to_ids(loader.CHAT.image)
    wrong = int((batch[name].long() != pictures.long()).sum())
    recorder.add("mark_gap", wrong, case=side, unit="tokens")


def _begin(recorder: Recorder, processor: Any, chosen: Any, loader: Family) -> None:
    """Begin tokens before a row's text by the recipe's own call, where the tokenizer has one: a
    template that writes it and a tokenizer that adds it are two."""
    begin = processor.tokenizer.bos_token_id
    if begin is None:
        return
    texts = [processor.apply_chat_template(m, tokenize=False) for m in chosen[:1]]
    batch = processor(
        text=texts, images=[loader.pictures(chosen[0])], return_tensors="pt", padding=True
    )
    count = sum(1 for _ in takewhile(lambda token: token == begin, batch["input_ids"][0].tolist()))
    recorder.add("begin_tokens", count, unit="tokens")
