"""Scores of a description, one file each, as `evaluate` modules that need no network.

Every file holds a pure function over one text (or text and reference), so that intervals can
be taken over products, and a builder for the `evaluate.Metric` or `evaluate.Measurement`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def metric(
    name: str,
    description: str,
    score: Callable[[Sequence[str], Sequence[str]], list[float]],
    cache: str,
) -> Any:
    """An `evaluate.Metric` over predictions and references: `{name, per_text}`.

    score: one number per pair. cache: a folder for evaluate's own working files.
    """
    import datasets
    import evaluate

    class Score(evaluate.Metric):
        """A score of predictions against references."""

        def _info(self) -> Any:
            features = datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            )
            return evaluate.MetricInfo(
                description=description, citation="", inputs_description="", features=features
            )

        def _compute(self, predictions: Any, references: Any) -> dict[str, Any]:
            values = score(list(predictions), list(references))
            return {name: mean(values), "per_text": values}

    return Score(config_name=name, cache_dir=cache, keep_in_memory=True)


def measurement(
    name: str, description: str, score: Callable[[Sequence[str]], list[float]], cache: str
) -> Any:
    """An `evaluate.Measurement` over texts alone: `{name, per_text}`."""
    import datasets
    import evaluate

    class Measured(evaluate.Measurement):
        """A property of texts."""

        def _info(self) -> Any:
            features = datasets.Features({"data": datasets.Value("string")})
            return evaluate.MeasurementInfo(
                description=description, citation="", inputs_description="", features=features
            )

        def _compute(self, data: Any) -> dict[str, Any]:
            values = score(list(data))
            return {name: mean(values), "per_text": values}

    return Measured(config_name=name, cache_dir=cache, keep_in_memory=True)


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean. Raises ValueError on nothing: an empty score would look like zero."""
    if not values:
        raise ValueError("no texts to score")
    return sum(values) / len(values)
