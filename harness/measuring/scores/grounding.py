"""Grounding: does the text name the attribute that only the picture shows?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.catalogue import ATTRIBUTES, attributes_in
from harness.measuring.scores import mean, metric


def hits(text: str, truth: Mapping[str, str]) -> dict[str, bool]:
    """Per attribute whether the text names the right value, and only that one."""
    named = attributes_in(text)
    return {attribute: named[attribute] == value for attribute, value in truth.items()}


def shares(texts: Sequence[str], truths: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Share of products with the attribute named rightly, by attribute."""
    by_text = [hits(text, truth) for text, truth in zip(texts, truths, strict=True)]
    return {a: mean([float(h[a]) for h in by_text]) for a in ATTRIBUTES}


def chance() -> dict[str, float]:
    """What blind guessing reaches, by attribute: one over the number of values."""
    return {attribute: 1 / len(values) for attribute, values in ATTRIBUTES.items()}


def score(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """Share of attributes named rightly per text; references are JSON objects of attributes."""
    pairs = zip(predictions, references, strict=True)
    return [mean([float(h) for h in hits(t, json.loads(r)).values()]) for t, r in pairs]


def build(cache: str) -> Any:
    """The `evaluate.Metric`."""
    return metric("grounding", "share of image-only attributes named rightly", score, cache)
