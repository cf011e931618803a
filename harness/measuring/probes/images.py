"""Rung 4: grid, pixel values and image-token counts, on both paths to the processor."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.pictures import lay_on_white
from harness.data.samples import (
    MODES,
    RULE_SIZES,
    SIZES,
    TOO_LONG,
    gradient,
    mode_picture,
    training_conversations,
    turned_picture,
)
from harness.errors import BadInput
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import family
from harness.measuring.training.collate import check_image_tokens, control_ids, make_collator
from harness.records.context import Context
from harness.records.files import text_digest
from harness.records.record import Record

# Above this the second path stops at the resized picture: the same pixels would be processed
# twice for a second each.
LARGE = 4_000_000
# Of a large picture every so many patches are looked at: half a gigabyte of float64 otherwise.
STRIDE = 64
# CLIP's mean and standard deviation, as the published preprocessor_config.json has them.
MEAN = np.array([0.48145466, 0.4578275, 0.40821073]).reshape(1, 3, 1)
STD = np.array([0.26862954, 0.26130258, 0.27577711]).reshape(1, 3, 1)


def levels(pixel_values: Any) -> tuple[npt.NDArray[np.uint8], float]:
    """The 0–255 levels behind normalised patches, and the largest distance from a whole level.

    pixel_values: float32 (patches, 1176 = channel·time·row·column). The published mean and
    standard deviation are undone, not the processor's own: if those are wrong it must show.
    """
    data = np.asarray(pixel_values, dtype=np.float64).reshape(len(pixel_values), 3, -1)
    exact = (data * STD + MEAN) * 255.0
    whole = np.round(exact)
    return whole.clip(0, 255).astype(np.uint8), float(np.abs(exact - whole).max())


def resized_by_pillow(picture: Any, grid: Any) -> npt.NDArray[np.uint8]:
    """The picture at the grid's size by Pillow's bicubic filter, in the patches' order."""
    from PIL import Image

    _, rows, columns = (int(n) for n in grid)
    small = picture.convert("RGB").resize((columns * 14, rows * 14), Image.Resampling.BICUBIC)
    tiles = np.asarray(small).reshape(rows // 2, 2, 14, columns // 2, 2, 14, 3)
    tiles = tiles.transpose(0, 3, 1, 4, 6, 2, 5)
    flat = tiles.reshape(rows * columns, 3, 1, 196)
    return np.repeat(flat, 2, axis=2).reshape(rows * columns, 3, -1)


def _processed(processor: Any, picture: Any) -> tuple[Any, Any]:
    out = processor.image_processor(images=[picture], return_tensors="pt")
    return out["pixel_values"], out["image_grid_thw"][0]


def _record(recorder: Recorder, case: str, processor: Any, picture: Any) -> None:
    out, failed = recorder.attempt("grid", lambda: _processed(processor, picture), case=case)
    if failed is not None or out is None:
        for name in ("tokens", "levels", "level_error", "pillow_gap"):
            recorder.blocked(name, f"images.grid.{case}", case=case)
        return
    pixels, grid = out
    step = STRIDE if len(pixels) * 196 > LARGE else 1
    now, error = levels(pixels[::step])
    merge = int(processor.image_processor.merge_size)
    recorder.add("grid", [int(n) for n in grid], case=case, unit="patches")
    recorder.add("tokens", int(grid.prod()) // merge**2, case=case, unit="tokens")
    recorder.add("levels", text_digest(now.tobytes()), case=case, unit="digest")
    # How far from whole levels: what the normalisation's own rounding does.
    recorder.add("level_error", round(error, 6), case=case, unit="levels")
    gap = np.abs(now.astype(int) - resized_by_pillow(picture, grid)[::step].astype(int))
    recorder.add(
        "pillow_gap",
        int(gap.max()),
        case=case,
        unit="levels",
        note=f"mean {gap.mean():.4f}, {100 * (gap > 0).mean():.2f} % of values differ",
    )


def _fetched(picture: Any) -> Any:
    from qwen_vl_utils import process_vision_info

    return process_vision_info(
        [{"role": "user", "content": [{"type": "image", "image": picture}]}]
    )[0][0]


def _modes(recorder: Recorder, processor: Any) -> None:
    """Our decoder against the recipe's own path, which is qwen_vl_utils' conversion."""
    pictures = {mode: mode_picture(mode) for mode in MODES}
    pictures["exif_turned"] = turned_picture()
    for name, picture in pictures.items():
        ours = lay_on_white(picture)
        recorder.add("decoded", text_digest(ours.tobytes()), case=name, unit="digest")
        theirs, failed = recorder.attempt("decoder_gap", partial(_fetched, picture), case=name)
        if failed is not None or theirs is None:
            continue
        same = _fetched(ours)
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
    processor = family(context.family).load_processor(context.snapshot)
    recorder.add("processor_class", type(processor.image_processor).__name__, unit="text")
    for name, size in SIZES.items():
        picture = gradient(*size)
        _record(recorder, name, processor, picture)
        fetched = _fetched(picture)
        recorder.add("fetched_size", [fetched.height, fetched.width], case=name, unit="px")
        if fetched.width * fetched.height < LARGE:
            _record(recorder, f"fetched_{name}", processor, fetched)
    for path, call in (("processor", _processed), ("fetch", lambda _, p: _fetched(p))):
        recorder.add("too_long_refused", _refuses(call, processor), case=path)
    _modes(recorder, processor)
    _rule(recorder)
    _truncation(recorder, family(context.family).load_processor(context.snapshot))
    batch = make_collator(processor, context.recipe)(training_conversations(4))
    image = control_ids(processor.tokenizer)["<|image_pad|>"]
    recorder.add("tokens_by_row", (batch["input_ids"] == image).sum(-1).tolist(), unit="tokens")
    grids = batch["image_grid_thw"].prod(-1) // int(processor.image_processor.merge_size) ** 2
    gap = int(((batch["input_ids"] == image).sum(-1) - grids).abs().max())
    recorder.add("row_gap", gap, unit="tokens")
    return recorder.finish(context.provenance([list(SIZES), list(MODES)]), context.out)


def _rule(recorder: Recorder) -> None:
    """The resize rule's own function, under the processor's published limits."""
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    for name, (height, width) in RULE_SIZES.items():
        size, failed = recorder.attempt(
            "resize_rule",
            lambda h=height, w=width: smart_resize(  # type: ignore[misc]
                h, w, factor=28, min_pixels=3136, max_pixels=12_845_056
            ),
            case=name,
        )
        if failed is None and size is not None:
            recorder.add("resize_rule", list(size), case=name, unit="px")


def _truncation(recorder: Recorder, processor: Any) -> None:
    """A maximum length that cuts image tokens: refused by the library, and by our own check."""
    from qwen_vl_utils import process_vision_info

    conversations = training_conversations(2)
    texts = [processor.apply_chat_template(m, tokenize=False) for m in conversations]
    pictures = [process_vision_info(m)[0] for m in conversations]
    given = list(texts)
    whole = processor(text=given, images=pictures, return_tensors="pt", padding=True)
    # A caller's list that comes back expanded fails, or worse, when it is used again.
    recorder.add("texts_left_alone", given == texts, unit="1")
    image = control_ids(processor.tokenizer)["<|image_pad|>"]
    first = int((whole["input_ids"][0] == image).nonzero()[0])
    try:
        processor(
            text=list(texts),
            images=pictures,
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=first + 1,
        )
        refused = False
    except ValueError:
        refused = True
    recorder.add("truncation_refused", refused, case="library", unit="1")
    merge = int(processor.image_processor.merge_size)
    try:
        check_image_tokens(
            whole["input_ids"][:, : first + 1], whole["image_grid_thw"], image, merge
        )
        refused = False
    except BadInput:
        refused = True
    recorder.add("truncation_refused", refused, case="harness", unit="1")


def _refuses(call: Any, processor: Any) -> bool:
    """Whether a picture longer than 200:1 raises ValueError."""
    try:
        call(processor, gradient(*TOO_LONG))
    except ValueError:
        return True
    return False
