"""distinct-n: how many of all n-grams differ (Li et al. 2016); low means one text for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.measuring.scores import measurement


def corpus(data: Sequence[str], n: int) -> float:
    """Different word n-grams over all word n-grams of all texts; 0 where there is none."""
    grams = [
        tuple(words[i : i + n])
        for words in (text.lower().split() for text in data)
        for i in range(len(words) - n + 1)
    ]
    return len(set(grams)) / len(grams) if grams else 0.0


def build(cache: str, n: int = 2) -> Any:
    """The `evaluate.Measurement`: the mean over texts of each text's own distinct-n."""
    name = f"distinct_{n}"
    return measurement(name, f"distinct {n}-grams", lambda d: [corpus([t], n) for t in d], cache)
