"""The section on the recipe's contradictions: what is said where, its effect, its repair."""

from __future__ import annotations

from collections.abc import Iterator

from harness.judging.report.html.markup import Child, Html, join, prose, rows, tag
from harness.judging.report.html.sections import section
from harness.judging.report.html.values import how_chip, how_of, text_of
from harness.judging.report.run.data import Run
from harness.recipe.contradictions import CONTRADICTIONS, Contradiction
from harness.records.record import Metric


def _metrics(run: Run, effect: str) -> Iterator[Metric]:
    for record in run.records.values():
        for metric in record.metrics:
            if metric.metric_id == effect:
                yield metric


def _effect(run: Run, contradiction: Contradiction) -> Child:
    """Every measured value behind it, one a line; none where nothing can be measured."""
    lines = []
    for effect in contradiction.effects:
        for metric in _metrics(run, effect):
            if metric.failure is not None:
                value = f"{metric.failure.type}: {metric.failure.message}"
            else:
                value = (
                    text_of(metric.value, metric.unit) if metric.reason is None else metric.reason
                )
            lines.append(
                tag("li", tag("code", metric.finding_id), " ", value, " ", how_chip(how_of(metric)))
            )
    if not lines:
        return "nothing to measure" if not contradiction.effects else "not run"
    return tag("ul", *lines, class_="plain")


def contradictions(run: Run) -> Html:
    """One row per contradiction; the switch is a recipe variant, off by default."""
    body = [
        (
            tag("code", c.name),
            join([prose(c.says), " — but ", prose(c.but)]),
            _effect(run, c),
            tag("code", f"--recipe {c.repair}") if c.repair else "nothing to switch",
        )
        for c in CONTRADICTIONS
    ]
    return section(
        "contradictions",
        "The recipe's contradictions",
        tag("p", "The recipe is reproduced as published; these switches are off by default."),
        rows("What its sources say", ("Name", "Contradiction", "Effect", "Repair"), body),
    )
