"""Whether a text has the shape of the dataset's descriptions: short, plain, hashtags at the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from harness.measuring.scores import measurement

HASHTAG = re.compile(r"#\w+")
# The dataset's descriptions are short texts for a phone's screen.
WORDS = (10, 90)
MARKUP = re.compile(r"^\s*(?:#{1,6} |[*-] |\d+\. |>|```)|\*\*|<\|", re.MULTILINE)


def hashtags(text: str) -> list[str]:
    """The hashtags of a text."""
    return HASHTAG.findall(text)


def checks(text: str) -> dict[str, bool]:
    """The four checks by name."""
    words = len(text.split())
    tail = re.search(r"(?:#\w+\s*)+$", text)
    return {
        "has_hashtags": bool(hashtags(text)),
        "hashtags_last": tail is not None and len(hashtags(tail.group())) == len(hashtags(text)),
        "short": WORDS[0] <= words <= WORDS[1],
        "plain": bool(text.strip()) and MARKUP.search(text) is None,
    }


def score(data: Sequence[str]) -> list[float]:
    """Share of the checks that hold, per text."""
    return [sum(passed.values()) / len(passed) for passed in map(checks, data)]


def build(cache: str) -> Any:
    """The `evaluate.Measurement`."""
    return measurement("format", "share of format checks that hold", score, cache)
