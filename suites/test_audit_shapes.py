"""Whether pictures keep their proportions, as far as each family shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from harness.measuring.audit.shapes import Shape, changed, judged
from harness.measuring.child.own_truths import oracle, part
from harness.measuring.models import families, family
from harness.measuring.snapshots.source import resolve
from suites.audited_pictures import noisy, of_batch, processor_of, rendered

SIZES = [(56, 84), (84, 56), (140, 60), (300, 225), (200, 101), (400, 40), (84, 84)]


def grids_of(name: str, rows: list[list[Image.Image]]) -> list[list[int]]:
    """What a family's batch says of its pictures. Skips where it says nothing."""
    grids = family(name).picture_grids(processor_of(name), rendered(name, rows))
    if grids is None:
        pytest.skip(f"a batch of {name} does not say where its tiles stand")
    return grids


def squeezes(name: str) -> bool:
    """Whether every picture becomes the same square, which says nothing of its proportions."""
    (grid,) = grids_of(name, [[noisy(1, size=SIZES[0])]])
    return family(name).proportions(grid) is None


def drawn(*size: int) -> Image.Image:
    """Shapes that no crop or squeeze of them leaves alike."""
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    width, height = size
    draw.ellipse((0.1 * width, 0.1 * height, 0.5 * width, 0.4 * height), fill="navy")
    draw.rectangle((0.4 * width, 0.55 * height, 0.95 * width, 0.8 * height), fill="crimson")
    draw.line((0, height, width, 0), fill="black", width=3)
    return picture


def shapes(name: str, own: list[Image.Image], given: list[Image.Image]) -> list[Shape | None]:
    """What became of each picture, one a row, where others were handed to the processor."""
    pictures = of_batch(name, [[p] for p in own], rendered(name, [[p] for p in given]))
    parts = list(pictures.given())
    assert all(judged(pictures, part) for part in parts)
    return [changed(pictures, part) for part in parts]


@pytest.mark.parametrize("name", families())
def test_a_batch_says_its_pictures_grids(name: str) -> None:
    """Row by row, of rows with several pictures, as the oracle counts."""
    processor_of(name)
    counts = oracle(name).oracle(resolve(f"tiny:{name}").snapshot)
    rows = [SIZES[:2], SIZES[2:3], SIZES[3:]]
    grids = grids_of(name, [[noisy(1, size=size) for size in row] for row in rows])
    by_row = (part("ladder").grids(counts, [(high, wide) for wide, high in row]) for row in rows)
    assert grids == [grid for row in by_row for grid in row]


@pytest.mark.parametrize("name", families())
def test_pictures_as_they_are_keep_their_proportions(name: str) -> None:
    """Smaller ones too, and lines of which no family can show the whole."""
    grids_of(name, [[noisy(1)]])
    own = [drawn(*size) for size in [*SIZES, (1000, 30), (30, 1000), (640, 480), (1000, 667)]]
    assert shapes(name, own, own) == [None] * len(own)
    # Some releases refuse what is less than a token high.
    large = [picture for picture in own if min(picture.size) >= 56]
    smaller = [picture.copy() for picture in large]
    for picture in smaller:
        picture.thumbnail((max(picture.size) // 2, max(picture.size) // 2))
    assert shapes(name, large, smaller) == [None] * len(large)


@pytest.mark.parametrize("name", families())
def test_a_picture_that_is_squeezed_or_has_its_sides_exchanged(name: str) -> None:
    if squeezes(name):
        pytest.skip(f"{name} squeezes every picture to the same square itself")
    own = [drawn(280, 120), drawn(112, 168)]
    squeezed, exchanged = shapes(name, own, [own[0].resize((168, 168)), own[1].resize((168, 112))])
    assert squeezed is not None
    assert (squeezed.shown, squeezed.own) == pytest.approx((1, 280 / 120), rel=0.1)
    assert exchanged is not None
    assert (exchanged.shown, exchanged.own) == pytest.approx((1.5, 1 / 1.5), rel=0.15)


def padded(picture: Image.Image) -> Image.Image:
    return ImageOps.pad(picture, (140, 140), color="gray")


def cropped(picture: Image.Image) -> Image.Image:
    return ImageOps.fit(picture, (140, 140))


def squeezed_on_a_ground(picture: Image.Image) -> Image.Image:
    """To half of its height, on a square."""
    ground = Image.new("RGB", (140, 140), "gray")
    ground.paste(picture.resize((140, 70)), (0, 35))
    return ground


@pytest.mark.parametrize(
    ("change", "wider"),
    [(cropped, 120 / 280), (padded, 120 / 280), (squeezed_on_a_ground, 1 / 2)],
)
def test_a_square_tells_what_was_cropped_or_laid_on_a_ground(
    change: Callable[[Image.Image], Image.Image], wider: float
) -> None:
    """What is squeezed to the square is then as wide for its height as the crop, or as a ground on
    which the picture, in the proportions that it is shown in, fills the width."""
    own = drawn(280, 120)
    (shape,) = shapes("gemma3", [own], [change(own)])
    assert shape is not None
    assert shape.own == pytest.approx(280 / 120)
    assert shape.shown / shape.own == pytest.approx(wider, rel=0.08)


def test_a_picture_squeezed_before_it_is_squeezed_to_a_square_is_the_same() -> None:
    """Gemma 3's own processor does just that: what the model sees differs by what two
    resizers round away, and is no finding."""
    own = drawn(280, 120)
    assert shapes("gemma3", [own], [own.resize((140, 140))]) == [None]
    pixels = [
        family("gemma3").levels(rendered("gemma3", [[picture]])["pixel_values"].numpy())[0]
        for picture in (own, own.resize((140, 140)))
    ]
    assert np.abs(pixels[0].astype(int) - pixels[1].astype(int)).mean() < 3


def test_one_tile_is_a_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of SmolVLM, where a picture is as large as a tile at most."""
    processor = processor_of("idefics3")
    tile = processor.image_processor.max_image_size["longest_edge"]

    def alone(folder: Any) -> Any:
        processor.image_processor.size = {"longest_edge": tile}
        return processor

    monkeypatch.setattr("suites.audited_pictures.load_processor", alone)
    own = drawn(280, 120)
    assert shapes("idefics3", [own], [own]) == [None]
    (shape,) = shapes("idefics3", [own], [cropped(own)])
    assert shape is not None
    assert shape.shown / shape.own == pytest.approx(120 / 280, rel=0.08)
