"""Pictures that audits of data are held against, and batches that a family's processor makes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import NotRunnable
from harness.measuring.audit.pictures import Pictures
from harness.measuring.audit.rows import Row
from harness.measuring.audit.training import Batch
from harness.measuring.snapshots.loading import load_processor
from harness.measuring.snapshots.source import resolve


def coloured(*size: int, colour: str = "red") -> Image.Image:
    return Image.new("RGB", (size[0], size[1]), colour)


def noisy(seed: int, mode: str = "RGB", size: tuple[int, int] = (56, 84)) -> Image.Image:
    shape = (size[1], size[0], len(mode))
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), mode
    )


def processor_of(family: str) -> Any:
    """Of a family's tiny model. Skips where the stack lacks the family."""
    try:
        return load_processor(resolve(f"tiny:{family}").snapshot)
    except NotRunnable as lack:
        pytest.skip(f"NOT_RUN: {lack}")


def rendered(family: str, handed: Sequence[Sequence[Image.Image]]) -> dict[str, Any]:
    """A batch of rows that hold these pictures and a question."""
    processor = processor_of(family)
    texts = [
        processor.apply_chat_template(
            [
                {
                    "role": "user",
                    "content": [*({"type": "image"} for _ in row), {"type": "text", "text": "?"}],
                }
            ],
            tokenize=False,
        )
        for row in handed
    ]
    images = [list(row) for row in handed]
    return dict(processor(text=texts, images=images, padding=True, return_tensors="pt"))


def of_batch(family: str, own: Sequence[Sequence[Image.Image]], inputs: dict[str, Any]) -> Pictures:
    """A batch's pictures, of rows whose own these are."""
    batch = Batch(inputs)
    rows = [
        Row(number, batch, number, {"images": list(pictures)}, [], None, [], [])
        for number, pictures in enumerate(own)
    ]
    module: Any = importlib.import_module(f"harness.measuring.models.{family}")
    audited: Any = SimpleNamespace(processor=processor_of(family), family=module, tokenizer=None)
    return Pictures(audited, batch, rows)
