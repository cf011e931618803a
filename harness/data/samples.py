"""The conversations and pictures that every probe shares: deterministic, no network.

Pictures are made with numpy, pixel by pixel, so that no drawing library's version moves them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isqrt
from typing import Any

from harness.data.catalogue import products, row
from harness.data.dataset import Chosen, rows_of
from harness.recipe.published import (
    PRINTED_SAMPLE,
    REFERENCE,
    Message,
    Recipe,
    generation_messages,
    training_messages,
)

CATALOGUE = "catalogue"
# Of the user's own data a rung looks at the first rows, as it does at the catalogue's.
SAMPLES = 4


@dataclass(frozen=True)
class TextCase:
    """One conversation and the template's switches."""

    messages: list[Message]
    options: Mapping[str, bool] = field(default_factory=dict)


def _user(*parts: dict[str, Any]) -> Message:
    return {"role": "user", "content": list(parts)}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


_IMAGE: dict[str, Any] = {"type": "image", "image": "picture"}
_VIDEO: dict[str, Any] = {"type": "video", "video": "film"}
_SYSTEM: Message = {"role": "system", "content": [_text(REFERENCE.system_message)]}


def text_cases(numbering: str = "", recipe: Recipe = REFERENCE) -> dict[str, TextCase]:
    """Every message shape whose rendering people get wrong; two are the recipe's own.

    numbering: the template's switch that numbers pictures; without one those cases are left out.
    """
    printed = {**PRINTED_SAMPLE, "image": "picture"}
    answer: Message = {"role": "assistant", "content": [_text("Fine.")]}
    numbered = {
        "several_images_numbered": TextCase(
            [_SYSTEM, _user(_IMAGE, _text("a"), _IMAGE), answer, _user(_IMAGE)],
            {numbering: True},
        ),
        "video_and_image_numbered": TextCase(
            [_user(_VIDEO, _IMAGE, _VIDEO)], {numbering: True, "add_generation_prompt": True}
        ),
    }
    return {
        **(numbered if numbering else {}),
        "printed_sample": TextCase(training_messages(printed, recipe)),
        "generation": TextCase(
            generation_messages(printed, recipe), {"add_generation_prompt": True}
        ),
        "text_then_image": TextCase([_SYSTEM, _user(_text("See: "), _IMAGE), answer]),
        "image_then_text": TextCase([_SYSTEM, _user(_IMAGE, _text(" What?")), answer]),
        "several_images": TextCase([_SYSTEM, _user(_IMAGE, _text("a"), _IMAGE, _IMAGE), answer]),
        "video": TextCase([_SYSTEM, _user(_VIDEO, _text("What happens?")), answer]),
        "image_url_key": TextCase([_user({"type": "image_url", "image_url": "x"}, _text("?"))]),
        "string_content": TextCase(
            [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hi"},
            ]
        ),
        "missing_system": TextCase([_user(_text("Hello")), answer]),
        "empty_text": TextCase([_SYSTEM, _user(_text(""), _IMAGE), answer]),
        "trailing_spaces": TextCase([_SYSTEM, _user(_text("  two before, two after  ")), answer]),
        "line_breaks": TextCase([_SYSTEM, _user(_text("\na\r\nb\n\n \n")), answer]),
        "korean": TextCase([_SYSTEM, _user(_text("상품 설명을 작성해 주세요.")), answer]),
        "emoji": TextCase([_SYSTEM, _user(_text("👩‍👩‍👧 ❤️ 🧸")), answer]),
        "template_words": TextCase(
            [_SYSTEM, _user(_text("{{ messages }} {% if %} <b>&amp;")), answer]
        ),
    }


def own_cases(chosen: Chosen, recipe: Recipe) -> dict[str, TextCase]:
    """The user's own first samples, as they are trained on and as they are asked for."""
    if chosen.data == CATALOGUE:
        return {}
    cases: dict[str, TextCase] = {}
    for i, each in enumerate(rows_of(chosen, "train", limit=SAMPLES)):
        cases[f"sample_{i}"] = TextCase(training_messages(each, recipe))
        asked = generation_messages(each, recipe)
        cases[f"prompt_{i}"] = TextCase(asked, {"add_generation_prompt": True})
    return cases


def id_texts(recipe: Recipe = REFERENCE) -> dict[str, str]:
    """Texts whose ids are compared one by one, the recipe's prompt among them; a family adds those
    of its control tokens."""
    return {
        "prompt": recipe.prompt_for("Kestrel Studio No. 7", "A & B | C"),
        "description": PRINTED_SAMPLE["description"],
        "spaces": "  a  b   c    \n\n \n\t x",
        "numbers": "3.14159 1,345 2024-09-30 №5",
        "contractions": "it's we'll THEY'RE don'T",
        "korean": "바비 인형을 위한 완벽한 선물",
        "decomposed": "Cafe\u0301 nin\u0303o \u1112\u1161\u11ab",
        "emoji": "👩‍👩‍👧 ❤️ #Doll",
        "code": "def f(x):\n    return {'a': [1, 2]}  # ok\n",
    }


def gradient(width: int, height: int, phase: int = 0) -> Any:
    """An RGB picture of smooth and of sharp content, exact in integers."""
    import numpy as np
    from PIL import Image

    x, y = np.arange(width), np.arange(height)
    pixels: Any = np.empty((height, width, 3), np.uint8)
    pixels[..., 0] = (x * 255) // max(1, width - 1)
    pixels[..., 1] = ((y * 255) // max(1, height - 1))[:, None]
    odd_column: Any = (x // 8 % 2).astype(np.uint8)
    odd_row: Any = ((y // 8 + phase) % 2).astype(np.uint8)
    pixels[..., 2] = (odd_row[:, None] ^ odd_column) * np.uint8(255)
    return Image.fromarray(pixels)


def resize_sizes(side: int, least: int, most: int) -> dict[str, tuple[int, int]]:
    """(width, height) at which a rule changes its mind that rounds to multiples of `side` px.

    least, most: pixels that a picture keeps, both squares of whole numbers. The rule refuses
    what is longer than 200 times its height.
    """
    low, high = isqrt(least), isqrt(most)
    return {
        "1x1": (1, 1),
        **{str(n): (n, n) for n in (side - 1, side, side + 1)},
        "minimum": (low, low),
        "minimum_less_one": (low, low - 1),
        "minimum_plus_one": (low, low + 1),
        "half_even": (side * 5 // 2, side * 3 // 2),
        "photo": (300, 225),
        "ratio_199": (side * 199, side),
        "ratio_200": (side * 200, side),
        "maximum": (high, high),
        "maximum_plus_one": (high, high + 1),
        "maximum_less_one": (high - 1, high),
        "5000x4000": (5000, 4000),
    }


MODES = (
    "1",
    "L",
    "LA",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "I;16",
)


def mode_picture(mode: str) -> Any:
    """The gradient in a PIL mode; LA, PA and RGBA are half transparent on their right half."""
    import numpy as np
    from PIL import Image

    base = gradient(84, 56)
    if mode in {"LA", "PA", "RGBA"}:
        alpha: Any = np.full((56, 84), 255, np.uint8)
        alpha[:, 42:] = 96
        rgba = base.copy()
        rgba.putalpha(Image.fromarray(alpha, "L"))
        if mode == "PA":
            plain = base.quantize(16, method=Image.Quantize.MEDIANCUT)
            out = plain.convert("PA")
            out.putalpha(Image.fromarray(alpha, "L"))
            return out
        return rgba if mode == "RGBA" else rgba.convert("LA")
    if mode == "P":
        return base.quantize(16, method=Image.Quantize.MEDIANCUT)
    if mode == "LAB":
        return Image.frombytes("LAB", base.size, base.tobytes())
    if mode == "I;16":
        values = np.asarray(base.convert("L")).astype(np.uint16) * 257
        return Image.frombytes("I;16", base.size, values.astype("<u2").tobytes())
    return base.convert(mode)


def turned_picture() -> Any:
    """A JPEG-free picture whose EXIF says that it must be turned by 90°."""
    from PIL import Image

    picture = gradient(84, 56)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", exif=exif)
    return Image.open(io.BytesIO(buffer.getvalue()))


def conversations(
    chosen: Chosen, recipe: Recipe, count: int, *, start: int = 0
) -> list[list[Message]]:
    """The conversations that a rung looks at: the first that are trained on, the user's own where
    the data is. A source with fewer begins again from its first."""
    if chosen.data == CATALOGUE:
        return training_conversations(count, start=start, recipe=recipe)
    rows = rows_of(chosen, "train", limit=start + count)
    picked = [rows[(start + i) % len(rows)] for i in range(count)]
    return [training_messages(each, recipe) for each in picked]


# Why a contradiction of the recipe's prompt has no effect to be measured.
OWN_PROMPT = "the data's conversations have a prompt of their own, not the recipe's"


def has_own_prompt(chosen: Chosen) -> bool:
    """Whether the data are conversations, which are trained on as they are."""
    return chosen.data != CATALOGUE and "messages" in rows_of(chosen, "train", limit=1)[0]


def own_conversations(chosen: Chosen, recipe: Recipe, count: int) -> dict[str, list[Message]]:
    """Those of the user's own data, by what a finding calls them; none of the catalogue, whose
    cases are made for what people get wrong."""
    if chosen.data == CATALOGUE:
        return {}
    listed = conversations(chosen, recipe, min(count, len(rows_of(chosen, "train", limit=count))))
    return {f"sample_{i}": messages for i, messages in enumerate(listed)}


def own_texts(chosen: Chosen, recipe: Recipe) -> dict[str, str]:
    """Every turn of the user's own samples, by sample, place and role."""
    return {
        f"{name}_{place}_{turn['role']}": text_of(turn)
        for name, messages in own_conversations(chosen, recipe, SAMPLES).items()
        for place, turn in enumerate(messages)
    }


def text_of(turn: Message) -> str:
    """The text of a turn, its pictures left out."""
    return "".join(part["text"] for part in turn["content"] if part["type"] == "text")


def plain_conversations(
    sizes: Sequence[tuple[int, int]], recipe: Recipe
) -> dict[str, list[Message]]:
    """What a model's own loss is worked out for: a picture, two of unequal size, none at all.

    sizes: (width, height) of two pictures that the family's processor takes as they are.
    """
    first, second = (
        {"type": "image", "image": gradient(*size, phase)} for phase, size in enumerate(sizes)
    )
    asked = _text(recipe.prompt_for("Kestrel Studio No. 7", "A | B"))
    system: Message = {"role": "system", "content": [_text(recipe.system_message)]}
    answer: Message = {"role": "assistant", "content": [_text("Soft, small and easy to carry.")]}
    contents = {
        "one": (first, asked),
        "two": (second, _text("beside "), first, asked),
        "none": (asked,),
    }
    return {case: [system, _user(*parts), answer] for case, parts in contents.items()}


def pictures_in(messages: Sequence[Message]) -> list[Any]:
    """The pictures of a conversation, in order."""
    return [p["image"] for m in messages for p in m["content"] if p["type"] == "image"]


def training_conversations(
    count: int, *, start: int = 0, recipe: Recipe = REFERENCE
) -> list[list[Message]]:
    """The recipe's conversations of catalogue products with different sizes and texts."""
    chosen = products("train")[start : start + count]
    return [training_messages(row(product), recipe) for product in chosen]
