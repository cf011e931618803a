"""The synthetic product catalogue: the real dataset's columns, pictures that alone tell.

Every product has four attributes that only its picture shows (kind, colour, shape, mark); its
name and category never name one. So grounding can be scored exactly: a text that names the right
colour was written by a model that saw the picture. Standard library and Pillow only.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, cos, floor, radians, sin
from typing import Any, Literal

Split = Literal["train", "heldout"]

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "kind": ("mug", "lamp", "backpack", "kettle", "clock", "stool"),
    "colour": ("red", "orange", "yellow", "green", "blue", "purple", "brown", "black"),
    "shape": ("round", "square", "triangular", "hexagonal"),
    "mark": ("star", "heart", "stripe", "cross"),
}
HELD_OUT = 112
TRAIN = 560

_BRANDS = (
    "Lumora",
    "Kestrel",
    "Nordvik",
    "Halden",
    "Brightwell",
    "Osprey & Co",
    "Tamarind",
    "Solvane",
    "Mirelle",
    "Fennmark",
    "Quillon",
    "Avelo",
)
_LINES = ("Everyday", "Signature", "Essential", "Studio", "Heritage", "Weekend", "Atelier", "Prime")
_CATEGORIES = (
    "Home & Kitchen | Gifts | Everyday Favourites",
    "Home & Kitchen | Seasonal Decor | Accents",
    "Office Products | Desk Accessories | Small Gifts",
    "Toys & Games | Novelty & Gag Toys | Collectibles",
    "Sports & Outdoors | Lifestyle | Travel",
    "Arts, Crafts & Sewing | Studio Items | Display",
)
_HOOKS = (
    "Brighten your day with the {name}!",
    "Meet the {name}, made to be noticed.",
    "Upgrade your home with the {name}!",
    "Give a gift they will love: the {name}.",
    "Say hello to the {name}!",
    "Make every morning better with the {name}.",
)
_BODIES = (
    "This {colour} {kind} has a {shape} body with a printed {mark}, perfect for {use}.",
    "Enjoy this {colour} {kind} with a {shape} design and a bold {mark} print, ideal for {use}.",
    "A {shape} {kind} in {colour}, finished with a {mark} on the front and great for {use}.",
)
_USES = ("home and office", "busy families", "small spaces", "daily use", "gifts", "travel")
_CLOSINGS = (
    "Order yours today.",
    "A great gift for all ages.",
    "Easy to clean and built to last.",
    "Collect them all!",
)
# A rainbow of saturated fills; the words are the attribute values.
_FILL: Mapping[str, tuple[int, int, int]] = {
    "red": (214, 32, 38),
    "orange": (245, 135, 20),
    "yellow": (245, 215, 30),
    "green": (30, 150, 60),
    "blue": (35, 80, 205),
    "purple": (130, 45, 165),
    "brown": (115, 70, 35),
    "black": (25, 25, 28),
}
_METAL = (120, 124, 130)


@dataclass(frozen=True)
class Product:
    """One product. attributes: the four values that only the picture shows. size: (w, h) px."""

    id: str
    name: str
    category: str
    description: str
    attributes: Mapping[str, str]
    split: Split
    size: tuple[int, int]


def combinations() -> tuple[tuple[str, ...], ...]:
    """All 768 attribute combinations in a fixed shuffled order."""
    every = list(itertools.product(*ATTRIBUTES.values()))
    random.Random("catalogue-1").shuffle(every)
    return tuple(every)


def seen_combinations() -> tuple[tuple[str, ...], ...]:
    """The combinations that any training, pre-training included, may use."""
    return combinations()[HELD_OUT:]


def make_product(identity: str, combination: tuple[str, ...], split: Split) -> Product:
    """A product with these attributes; name, category, text and size follow from its identity."""
    chance = random.Random(identity)
    attributes = dict(zip(ATTRIBUTES, combination, strict=True))
    brand, line = chance.choice(_BRANDS), chance.choice(_LINES)
    name = f"{brand} {line} No. {chance.randrange(100, 999)}"
    body = chance.choice(_BODIES).format(**attributes, use=chance.choice(_USES))
    gap = chance.choice((" ", "\n\n"))
    tags = [brand.split()[0], attributes["colour"].title() + attributes["kind"].title()]
    tags += [attributes["mark"].title(), chance.choice(("Gift", "Home", "Style"))]
    description = " ".join(
        [
            chance.choice(_HOOKS).format(name=name),
            body + gap + chance.choice(_CLOSINGS),
            *(f"#{tag}" for tag in tags),
        ]
    )
    size = (chance.randrange(92, 156), chance.randrange(92, 156))
    category = chance.choice(_CATEGORIES)
    return Product(identity, name, category, description, attributes, split, size)


@cache
def products(split: Split) -> tuple[Product, ...]:
    """560 training products, or 112 held-out ones with combinations never seen in training."""
    chosen = combinations()[:HELD_OUT] if split == "heldout" else seen_combinations()[:TRAIN]
    return tuple(make_product(f"{split}-{i:04d}", c, split) for i, c in enumerate(chosen))


def row(product: Product) -> dict[str, Any]:
    """The dataset's columns: image (PIL, RGB), `Product Name`, `Category`, `description`."""
    return {
        "image": render(product),
        "Product Name": product.name,
        "Category": product.category,
        "description": product.description,
    }


def attributes_in(text: str) -> dict[str, str | None]:
    """Which value of each attribute a text names; None where none or several are named."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    mentioned: dict[str, str | None] = {}
    for attribute, values in ATTRIBUTES.items():
        named = [value for value in values if {value, f"{value}s"} & words]
        mentioned[attribute] = named[0] if len(named) == 1 else None
    return mentioned


def render(product: Product) -> Any:
    """The product's picture, RGB, `product.size` pixels; the same pixels on every call."""
    return draw(product.attributes, product.size, f"picture-{product.id}")


def draw(attributes: Mapping[str, str], size: tuple[int, int], seed: str) -> Any:
    """Draw a picture of these attributes; background, place and scale vary with the seed."""
    from PIL import Image, ImageDraw

    chance = random.Random(seed)
    width, height = size
    shade = chance.randrange(222, 250)
    tint = tuple(shade + chance.randrange(-5, 6) for _ in range(3))
    image = Image.new("RGB", size, tint)
    pen = ImageDraw.Draw(image)
    half = min(size) * chance.uniform(0.24, 0.29)
    x = width / 2 + (width / 2 - 1.75 * half) * chance.uniform(-0.6, 0.6)
    y = height / 2 + (height / 2 - 1.75 * half) * chance.uniform(-0.6, 0.6)
    _accessory(pen, attributes["kind"], x, y, half)
    _body(pen, attributes["shape"], _FILL[attributes["colour"]], x, y, half)
    _mark(pen, attributes["mark"], x, y + half * 0.15, half * 0.56)
    return image


def _body(
    pen: Any, shape: str, fill: tuple[int, int, int], x: float, y: float, half: float
) -> None:
    box = (x - half, y - half, x + half, y + half)
    if shape == "round":
        pen.ellipse(box, fill=fill)
    elif shape == "square":
        pen.rectangle(box, fill=fill)
    elif shape == "triangular":
        _polygon(
            pen,
            [(x, y - 1.15 * half), (x + 1.2 * half, y + half), (x - 1.2 * half, y + half)],
            fill,
        )
    else:
        pen.regular_polygon((x, y, half * 1.12), 6, rotation=30, fill=fill)


def _accessory(pen: Any, kind: str, x: float, y: float, half: float) -> None:
    """What makes the body a mug, a lamp, …: grey parts around it, drawn first."""
    bar = max(3, round(half * 0.2))
    if kind == "mug":
        pen.ellipse(
            (x + 0.55 * half, y - 0.5 * half, x + 1.65 * half, y + 0.6 * half),
            outline=_METAL,
            width=bar,
        )
    elif kind == "lamp":
        pen.line((x, y, x, y + 1.6 * half), _METAL, bar)
        pen.line((x - 0.8 * half, y + 1.62 * half, x + 0.8 * half, y + 1.62 * half), _METAL, bar)
    elif kind == "backpack":
        for side in (-1, 1):
            left, right = sorted((x + side * 0.1 * half, x + side * 0.95 * half))
            pen.arc((left, y - 1.65 * half, right, y), 180, 360, _METAL, bar)
            pen.line((left, y - 0.8 * half, left, y), _METAL, bar)
            pen.line((right, y - 0.8 * half, right, y), _METAL, bar)
    elif kind == "kettle":
        pen.line((x - 0.5 * half, y + 0.3 * half, x - 1.6 * half, y - 0.7 * half), _METAL, 2 * bar)
        pen.ellipse((x - 0.25 * half, y - 1.6 * half, x + 0.25 * half, y - 1.1 * half), fill=_METAL)
    elif kind == "clock":
        for side in (-1, 1):
            pen.ellipse(
                (
                    x + side * 0.85 * half - 0.38 * half,
                    y - 1.5 * half,
                    x + side * 0.85 * half + 0.38 * half,
                    y - 0.74 * half,
                ),
                fill=_METAL,
            )
    else:
        for side in (-1, 1):
            pen.line(
                (x + side * 0.55 * half, y + 0.5 * half, x + side * 0.85 * half, y + 1.65 * half),
                _METAL,
                bar,
            )


def _mark(pen: Any, mark: str, x: float, y: float, r: float) -> None:
    """The printed mark, white."""
    white = (250, 250, 250)
    if mark == "star":
        points = [-90, -54, -18, 18, 54, 90, 126, 162, 198, 234]
        _polygon(
            pen,
            [_polar(x, y, a, r if i % 2 == 0 else 0.42 * r) for i, a in enumerate(points)],
            white,
        )
    elif mark == "heart":
        for side in (-1, 1):
            cx = x + side * 0.42 * r
            pen.ellipse((cx - 0.48 * r, y - 0.75 * r, cx + 0.48 * r, y + 0.2 * r), fill=white)
        corners = [(x - 0.87 * r, y - 0.1 * r), (x + 0.87 * r, y - 0.1 * r), (x, y + r)]
        _polygon(pen, corners, white)
    elif mark == "stripe":
        pen.rectangle((x - 1.15 * r, y - 0.22 * r, x + 1.15 * r, y + 0.22 * r), fill=white)
    else:
        pen.rectangle((x - 0.22 * r, y - r, x + 0.22 * r, y + r), fill=white)
        pen.rectangle((x - r, y - 0.22 * r, x + r, y + 0.22 * r), fill=white)


def _polygon(pen: Any, points: Sequence[tuple[float, float]], fill: tuple[int, int, int]) -> None:
    """Fill a polygon row by row, its corners cut to whole pixels.

    Not Pillow's own: 11.1.0 fills some stars otherwise than all releases around it, and two stacks
    are to see the same pictures.
    """
    corners = [(int(x), int(y)) for x, y in points]
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    bottom = max(y for _, y in corners)
    for row in range(min(y for _, y in corners), bottom + 1):
        crossed: list[float] = []
        for (x0, y0), (x1, y1) in edges:
            if y0 == y1 == row:
                pen.rectangle((min(x0, x1), row, max(x0, x1), row), fill)
            elif y0 != y1 and min(y0, y1) <= row <= max(y0, y1):
                at = (row - y0) * ((x1 - x0) / (y1 - y0)) + x0
                # A corner that ends an edge closes one span and opens the next.
                crossed += [at] * (2 if row == max(y0, y1) < bottom else 1)
        crossed.sort()
        for left, right in zip(crossed[::2], crossed[1::2], strict=False):
            first, last = floor(left + 0.5), ceil(right - 0.5)
            if first <= last:
                pen.rectangle((first, row, last, row), fill)


def _polar(x: float, y: float, degrees: float, radius: float) -> tuple[float, float]:
    return x + radius * cos(radians(degrees)), y + radius * sin(radians(degrees))
