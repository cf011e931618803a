"""chrF: F2 over character n-grams up to six (Popović 2015), by sacrebleu, per text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.measuring.scores import metric


def score(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """chrF in [0, 100] per pair."""
    from sacrebleu.metrics import CHRF

    scorer = CHRF()
    pairs = zip(predictions, references, strict=True)
    return [float(scorer.sentence_score(text, [reference]).score) for text, reference in pairs]


def build(cache: str) -> Any:
    """The `evaluate.Metric`."""
    return metric("chrf", "chrF against the reference description, 0 to 100", score, cache)
