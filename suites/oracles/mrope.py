"""M-RoPE positions by their definition (Qwen2-VL, arXiv 2409.12191, section 2.1).

Text advances time, height and width together, one per token. A picture's tokens take the next
free position plus their own (frame, row, column) in the merged grid; the text after it goes on
one past the largest position used.
"""

from __future__ import annotations

from collections.abc import Sequence


def positions(
    ids: Sequence[int], image_id: int, grids: Sequence[tuple[int, int, int]]
) -> tuple[list[int], list[int], list[int]]:
    """(time, height, width) of each token of one unpadded row. grids: merged (t, h, w)."""
    axes: tuple[list[int], list[int], list[int]] = ([], [], [])
    pictures = iter(grids)
    free, i = 0, 0
    while i < len(ids):
        if ids[i] != image_id:
            for axis in axes:
                axis.append(free)
            free, i = free + 1, i + 1
            continue
        frames, rows, columns = next(pictures)
        for t in range(frames):
            for h in range(rows):
                for w in range(columns):
                    for axis, offset in zip(axes, (t, h, w), strict=True):
                        axis.append(free + offset)
        i += frames * rows * columns
        free += max(frames, rows, columns)
    return axes


def spelled(axes: Sequence[Sequence[int]]) -> str:
    """As the record spells them: time | height | width."""
    return " | ".join(" ".join(map(str, axis)) for axis in axes)
