"""ROUGE-L: F1 of the longest common subsequence of words (Lin 2004), by rouge_score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.measuring.scores import metric


def score(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """F1 in [0, 1] per pair, over lower-cased alphanumeric words, unstemmed."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    pairs = zip(predictions, references, strict=True)
    return [float(scorer.score(reference, text)["rougeL"].fmeasure) for text, reference in pairs]


def build(cache: str) -> Any:
    """The `evaluate.Metric`."""
    return metric("rouge_l", "ROUGE-L F1 against the reference description", score, cache)
