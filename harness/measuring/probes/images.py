"""Rung 4: grid, pixel values and image-token counts, on both paths to the processor."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from harness.data.pictures import lay_on_white
from harness.data.samples import (
    MODES,
    SAMPLES,
    conversations,
    gradient,
    mode_picture,
    own_conversations,
    pictures_in,
    turned_picture,
)
from harness.errors import BadInput
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import Family, family
from harness.measuring.probes._limits import limited_grids
from harness.measuring.probes._opened import record_opened
from harness.measuring.probes._together import record_together
from harness.measuring.snapshots import loading
from harness.measuring.training.collate import check_image_tokens, control_ids, make_collator
from harness.records.context import Context
from harness.records.files import text_digest
from harness.records.record import Record

# Above this the second path stops at the resized picture: the same pixels would be processed
# twice for a second each.
LARGE = 4_000_000
# Of a large picture every so many patches are looked at: half a gigabyte of float64 otherwise.
STRIDE = 64
# A pixel's values: three colours in two frames, or in one.
VALUES = 6


def _record(recorder: Recorder, case: str, loader: Family, processor: Any, picture: Any) -> None:
    out, failed = recorder.attempt(
        "grid", lambda: loader.one_picture(processor, picture), case=case
    )
    if failed is not None or out is None:
        for name in ("tokens", "levels", "level_error", "pillow_gap"):
            recorder.blocked(name, f"images.grid.{case}", case=case)
        return
    step = STRIDE if out.pixels.numel() > VALUES * LARGE else 1
    now, error = loader.levels(out.pixels[::step])
    recorder.add("grid", [*out.grid], case=case, unit="patches")
    recorder.add("tokens", out.tokens, case=case, unit="tokens")
    recorder.add("levels", text_digest(now.tobytes()), case=case, unit="digest")
    # How far from whole levels: what the normalisation's own rounding does.
    recorder.add("level_error", round(error, 6), case=case, unit="levels")
    alone = loader.resized(picture, out.grid)[::step].reshape(now.shape)
    gap = np.abs(now.astype(int) - alone.astype(int))
    recorder.add(
        "pillow_gap",
        int(gap.max()),
        case=case,
        unit="levels",
        note=f"mean {gap.mean():.4f}, {100 * (gap > 0).mean():.2f} % of values differ",
    )


def _fetched(loader: Family, picture: Any) -> Any:
    return loader.pictures([{"role": "user", "content": [{"type": "image", "image": picture}]}])[0]


def _modes(recorder: Recorder, loader: Family) -> None:
    """Our decoder against the recipe's own path, which is the family's conversion."""
    pictures = {mode: mode_picture(mode) for mode in MODES}
    pictures["exif_turned"] = turned_picture()
    for name, picture in pictures.items():
        ours = lay_on_white(picture)
        recorder.add("decoded", text_digest(ours.tobytes()), case=name, unit="digest")
        theirs, failed = recorder.attempt(
            "decoder_gap", partial(_fetched, loader, picture), case=name
        )
        if failed is not None or theirs is None:
            continue
        # What the library's own path makes of it, for a comparison of two releases.
        seen = np.asarray(theirs)
        digest = text_digest(np.ascontiguousarray(seen).tobytes())
        recorder.add("library_decoded", digest, case=name, unit="digest", note=f"{seen.shape}")
        recorder.add("library_level", round(float(seen.mean()), 2), case=name, unit="levels")
        same = _fetched(loader, ours)
        if same.size != theirs.size:
            recorder.add("decoder_gap", 255, case=name, unit="levels", note="another size")
            continue
        gap = np.abs(np.asarray(same).astype(int) - np.asarray(theirs).astype(int))
        recorder.add(
            "decoder_gap", int(gap.max()), case=name, unit="levels", note=f"mean {gap.mean():.2f}"
        )


def run(context: Context) -> Record:
    """Pictures of every critical size and mode; image tokens of a batch."""
    recorder = Recorder("images")
    loader = family(context.family)
    processor = loading.load_processor(context.snapshot)
    recorder.add("processor_class", type(processor.image_processor).__name__, unit="text")
    for name, size in loader.SAMPLES.sizes.items():
        picture = gradient(*size)
        _record(recorder, name, loader, processor, picture)
        fetched = _fetched(loader, picture)
        recorder.add("fetched_size", [fetched.height, fetched.width], case=name, unit="px")
        if fetched.width * fetched.height < LARGE:
            _record(recorder, f"fetched_{name}", loader, processor, fetched)
    _too_long(recorder, loader, processor)
    _modes(recorder, loader)
    record_opened(recorder, context, loader)
    _rule(recorder, loader)
    limited_grids(recorder, context, loader)
    _own(recorder, context, loader, processor)
    _truncation(recorder, loader, loading.load_processor(context.snapshot), context)
    chosen = conversations(context, context.recipe, SAMPLES)
    batch = make_collator(processor, context.recipe, loader)(chosen)
    image = control_ids(processor.tokenizer, loader.CHAT)[loader.CHAT.image]
    by_row = (batch["input_ids"] == image).sum(-1).tolist()
    recorder.add("tokens_by_row", by_row, unit="tokens")
    counts = [len(loader.pictures(conversation)) for conversation in chosen]
    wanted = loader.image_tokens(processor, batch, counts)
    gap = max(abs(n - m) for n, m in zip(by_row, wanted, strict=True))
    recorder.add("row_gap", gap, unit="tokens")
    record_together(recorder, context, loader, processor)
    return recorder.finish(
        context.provenance([list(loader.SAMPLES.sizes), list(MODES)]), context.out
    )


def _own(recorder: Recorder, context: Context, loader: Family, processor: Any) -> None:
    """The user's own pictures on the recipe's path: fetched, then processed."""
    for name, messages in own_conversations(context, context.recipe, SAMPLES).items():
        shown = pictures_in(messages)
        for number, picture in enumerate(shown):
            case = name if len(shown) == 1 else f"{name}_{number}"
            fetched = _fetched(loader, picture)
            recorder.add("fetched_size", [fetched.height, fetched.width], case=case, unit="px")
            _record(recorder, f"fetched_{case}", loader, processor, fetched)


def _rule(recorder: Recorder, loader: Family) -> None:
    """The resize rule's own function, under the processor's published limits."""
    for name, size in loader.SAMPLES.rule_sizes.items():
        rounded, failed = recorder.attempt(
            "resize_rule", partial(loader.resize_rule, *size), case=name
        )
        if failed is None and rounded is not None:
            recorder.add("resize_rule", [*rounded], case=name, unit="px")


def _truncation(recorder: Recorder, loader: Family, processor: Any, context: Context) -> None:
    """A maximum length that cuts image tokens: refused by the library, and by our own check."""
    chosen = conversations(context, context.recipe, 2)
    texts = [processor.apply_chat_template(m, tokenize=False) for m in chosen]
    pictures = [loader.pictures(m) for m in chosen]
    given = list(texts)
    whole = processor(text=given, images=pictures, return_tensors="pt", padding=True)
    # A caller's list that comes back expanded fails, or worse, when it is used again.
    recorder.add("texts_left_alone", given == texts, unit="1")
    image = control_ids(processor.tokenizer, loader.CHAT)[loader.CHAT.image]
    first = int((whole["input_ids"][0] == image).nonzero()[0])

    def is_refused() -> bool:
        try:
            processor(
                text=list(texts),
                images=pictures,
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=first + 1,
            )
        except ValueError:
            return True
        return False

    refused, failed = recorder.attempt("truncation_refused", is_refused, case="library")
    if failed is None:
        recorder.add("truncation_refused", bool(refused), case="library", unit="1")
    expected = loader.image_tokens(processor, whole, [len(shown) for shown in pictures])
    try:
        check_image_tokens(whole["input_ids"][:, : first + 1], image, expected)
        refused = False
    except BadInput:
        refused = True
    recorder.add("truncation_refused", refused, case="harness", unit="1")


def _too_long(recorder: Recorder, loader: Family, processor: Any) -> None:
    """Whether a picture that the rule refuses raises ValueError, on both paths."""
    size = loader.SAMPLES.too_long
    if size is None:
        return
    calls = {
        "processor": partial(loader.one_picture, processor),
        "fetch": partial(_fetched, loader),
    }
    for path, call in calls.items():
        try:
            call(gradient(*size))
            refused = False
        except ValueError:
            refused = True
        recorder.add("too_long_refused", refused, case=path)
