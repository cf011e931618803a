"""The catalogue: only the picture tells, held-out combinations stay unseen, pixels stay put."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from harness.data.catalogue import (
    ATTRIBUTES,
    Product,
    attributes_in,
    combinations,
    products,
    render,
    row,
    seen_combinations,
)
from harness.data.dataset import load_rows, rows_digest

TRAIN, HELDOUT = products("train"), products("heldout")
EVERY = (*TRAIN, *HELDOUT)
DIGESTS = (
    "import hashlib; from harness.data.catalogue import products, render; "
    "print([hashlib.sha256(render(p).tobytes()).hexdigest() for p in products('heldout')[:5]])"
)


def combination(product: Product) -> tuple[str, ...]:
    return tuple(product.attributes[name] for name in ATTRIBUTES)


def test_four_attributes_with_chance_at_most_a_quarter() -> None:
    assert {name: len(values) for name, values in ATTRIBUTES.items()} == {
        "kind": 6,
        "colour": 8,
        "shape": 4,
        "mark": 4,
    }
    values = [value for named in ATTRIBUTES.values() for value in named]
    assert len(set(values)) == len(values), "a word would name two attributes"


def test_held_out_combinations_are_never_seen() -> None:
    unseen = {combination(p) for p in HELDOUT}
    assert len(TRAIN) >= 400
    assert len(unseen) == len(HELDOUT) >= 100
    assert not unseen & {combination(p) for p in TRAIN}
    assert not unseen & set(seen_combinations()), "pre-training draws from these"
    assert unseen | set(seen_combinations()) == set(combinations())
    for index, (name, values) in enumerate(ATTRIBUTES.items()):
        shown = {c[index] for c in seen_combinations()}
        assert shown == set(values), f"a held-out {name} could not be known at all"


@pytest.mark.parametrize("field", ["name", "category"])
def test_no_value_is_written_in_name_or_category(field: str) -> None:
    values = [value for named in ATTRIBUTES.values() for value in named]
    telling = [p.id for p in EVERY if any(v in getattr(p, field).lower() for v in values)]
    assert not telling


def guess_from(key: Callable[[Product], str], attribute: str) -> float:
    """Share of held-out products guessed by the commonest value at the same key in training."""
    counts: dict[str, Counter[str]] = {}
    for product in TRAIN:
        counts.setdefault(key(product), Counter())[product.attributes[attribute]] += 1
    guesses = {k: c.most_common(1)[0][0] for k, c in counts.items()}
    return sum(guesses.get(key(p)) == p.attributes[attribute] for p in HELDOUT) / len(HELDOUT)


@pytest.mark.parametrize("attribute", list(ATTRIBUTES))
@pytest.mark.parametrize("word", [0, 1])
def test_nothing_can_be_guessed_from_the_name(attribute: str, word: int) -> None:
    # A share of 112 guessed at 1/4 has a standard deviation of 0.041; three of them.
    chance = 1 / len(ATTRIBUTES[attribute])
    assert guess_from(lambda p: p.name.split()[word], attribute) <= chance + 0.123


@pytest.mark.parametrize("attribute", list(ATTRIBUTES))
def test_nothing_can_be_guessed_from_the_category(attribute: str) -> None:
    chance = 1 / len(ATTRIBUTES[attribute])
    assert guess_from(lambda p: p.category, attribute) <= chance + 0.123


def test_descriptions_name_the_product_and_its_attributes_and_end_in_hashtags() -> None:
    for product in EVERY:
        assert attributes_in(product.description) == dict(product.attributes), product.id
        assert product.name in product.description
        assert re.search(r"(?:\s#\w+){3,}$", product.description), product.id
    paragraphs = Counter(p.description.count("\n\n") for p in EVERY)
    assert set(paragraphs) == {0, 1}, "some descriptions have two paragraphs, some one"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Red, round MUG with a star.", ("mug", "red", "round", "star")),
        ("Two red mugs with stars", ("mug", "red", None, "star")),
        ("a red or blue lamp", ("lamp", None, None, None)),
        ("coloured, starting, around, smug, #RedMug", (None, None, None, None)),
        ("red red red", (None, "red", None, None)),
        ("", (None, None, None, None)),
    ],
)
def test_attributes_in_by_hand(text: str, expected: tuple[str | None, ...]) -> None:
    assert attributes_in(text) == dict(zip(ATTRIBUTES, expected, strict=True))


def test_rows_have_the_datasets_columns() -> None:
    columns = row(HELDOUT[0])
    assert list(columns) == ["image", "Product Name", "Category", "description"]
    assert (columns["image"].mode, columns["image"].size) == ("RGB", HELDOUT[0].size)
    assert all(len(p.category.split(" | ")) == 3 for p in EVERY)


def test_ids_are_unique_and_sizes_vary() -> None:
    assert len({p.id for p in EVERY}) == len(EVERY)
    ratios = [p.size[0] / p.size[1] for p in EVERY]
    assert len({p.size for p in EVERY}) > 300
    assert min(ratios) < 0.7
    assert max(ratios) > 1.4
    # Rounded to 28 px as the processor does, the pictures give several numbers of image tokens.
    assert len({round(w / 28) * round(h / 28) for w, h in (p.size for p in EVERY)}) >= 4


def digests(chosen: Iterable[Product]) -> list[str]:
    return [hashlib.sha256(render(p).tobytes()).hexdigest() for p in chosen]


def test_every_process_draws_the_same_pixels(repository: Path) -> None:
    here = digests(HELDOUT[:5])
    assert here == digests(HELDOUT[:5])
    assert len(set(here)) == 5
    for hash_seed in ("0", "1"):
        process = subprocess.run(
            [sys.executable, "-c", DIGESTS],
            capture_output=True,
            text=True,
            check=True,
            cwd=repository,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        assert process.stdout.strip() == str(here)


def test_the_body_has_the_colour_and_lies_inside_the_picture() -> None:
    from harness.data.catalogue import _FILL

    for product in EVERY:
        image = render(product)
        fill = _FILL[product.attributes["colour"]]
        shown = [c for c in image.getcolors(image.width * image.height) if c[1] == fill]
        share = shown[0][0] / (image.width * image.height)
        assert 0.05 < share < 0.4, product.id
        edge = {image.getpixel((x, y)) for x in (0, image.width - 1) for y in range(image.height)}
        assert fill not in edge, product.id


def test_the_pictures_are_the_same_whatever_draws_them() -> None:
    """Measured alike with Pillow 10.4.0, 11.1.0 and 12.3.0; every golden was measured on these."""
    assert rows_digest(load_rows("catalogue", "train")) == "4c41f0d762fcb21f"
    assert rows_digest(load_rows("catalogue", "heldout")) == "cae4dc2f57157969"
