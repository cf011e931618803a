"""M-RoPE positions by their definition (Qwen2-VL, arXiv 2409.12191, section 2.1), in plain Python.

Text advances time, height and width together, one per token. A picture's tokens take the next
free position plus their own (frame, row, column) in the merged grid; the text after it goes on
one past the largest position used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product


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
