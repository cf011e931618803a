"""M-RoPE positions by their definition (Qwen2-VL, arXiv 2409.12191, section 2.1), in plain Python.

Text advances time, height and width together, one per token. A picture's tokens take the next
free position plus their own (frame, row, column) in the merged grid; the text after it goes on
one past the largest position used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from harness.errors import NotRunnable
from harness.measuring import _compat


def row_positions(
    ids: Sequence[int], picture_id: int, grids: Iterator[tuple[int, int, int]]
) -> list[list[int]]:
    """(time, height, width) of the tokens of one row without padding, three lists as long as ids.

    grids: (frames, rows, columns) after merging of the pictures to come; the row's are taken.
    Raises StopIteration where a picture has no grid.
    """
    places: list[tuple[int, int, int]] = []
    free = 0
    while len(places) < len(ids):
        if ids[len(places)] != picture_id:
            places.append((free, free, free))
            free += 1
            continue
        grid = next(grids)
        places += [(free + t, free + h, free + w) for t, h, w in product(*map(range, grid))]
        free += max(grid)
    return [list(axis) for axis in zip(*places[: len(ids)], strict=True)]


def library_positions(model: Any, batch: Mapping[str, Any], picture_id: int) -> Any:
    """int64 (3, batch, sequence) by get_rope_index: a method of the conditional-generation class
    until transformers 4.51, of its inner model since; 5.x also wants mm_token_type_ids."""
    core = _compat.core(model)
    owner = core if hasattr(core, "get_rope_index") else core.model
    marks = batch.get("mm_token_type_ids")
    if marks is None:
        marks = (batch["input_ids"] == picture_id).int()
    wanted = {
        "input_ids": batch["input_ids"],
        "image_grid_thw": batch.get("image_grid_thw"),
        "video_grid_thw": batch.get("video_grid_thw"),
        "attention_mask": batch["attention_mask"],
        "mm_token_type_ids": marks,
    }
    return owner.get_rope_index(**_compat.known_arguments(owner.get_rope_index, wanted))[0]


def batch_positions(config: Any, batch: Mapping[str, Any], merge: int) -> list[list[list[int]]]:
    """By the definition, row by row, of what is no padding. merge: so many by so many patches make
    one token. Raises NotRunnable for a batch with videos."""
    ids, mask = batch["input_ids"], batch.get("attention_mask")
    if bool((ids == int(config.video_token_id)).any()):
        raise NotRunnable("The batch has videos; only pictures' positions are judged.")
    grids = batch.get("image_grid_thw")
    shapes = [] if grids is None else grids.tolist()
    merged = iter([(t, h // merge, w // merge) for t, h, w in shapes])
    rows = [row if mask is None else row[mask[i].bool()] for i, row in enumerate(ids)]
    return [row_positions(row.tolist(), int(config.image_token_id), merged) for row in rows]
