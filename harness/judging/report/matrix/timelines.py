"""Timelines of a matrix: a metric over its stacks, with every step and what explains it."""

from __future__ import annotations

from harness.judging.matrix.table import Step, Table, Timeline
from harness.judging.report.html.charts import curve
from harness.judging.report.html.markup import Child, Html, join, limited, rows, tag
from harness.judging.report.html.sections import section
from harness.judging.report.html.values import text_of
from harness.judging.report.matrix.names import model_name, stack_names

OPEN = "an open question"


def timelines(table: Table) -> Child:
    """The section; nothing where no metric was asked for."""
    if not table.timelines:
        return None
    parts = [_line(line, i, table) for i, line in enumerate(table.timelines)]
    lead = (
        "Exact values step where two neighbours differ by more than their band, noisy ones where "
        "E-divisive (Matteson and James, 2014) finds a change at 95 %."
    )
    return section("timelines", "Timelines", tag("p", lead, class_="soft"), *parts)


def title(line: Timeline) -> str:
    """Which metric of which row."""
    return f"{line.metric} of {model_name(line.model)}"


def step_words(step: Step) -> str:
    """What a step is explained by, and since when."""
    day = f", released {step.released}" if step.released else ""
    which = f"{step.library} {step.release}{day}" if step.library else "several libraries differ"
    return f"{', '.join(step.changes) or OPEN} ({which})"


def _line(line: Timeline, number: int, table: Table) -> Html:
    names = stack_names(table.stacks)
    numbers = [
        (float(i), float(point.value))
        for i, point in enumerate(line.points)
        if isinstance(point.value, int | float) and not isinstance(point.value, bool)
    ]
    body: list[Child] = [tag("h3", title(line))]
    if len(numbers) > 1:
        drawn = curve(
            numbers,
            (),
            id_=f"timeline-{number}",
            title=title(line),
            text=f"{len(numbers)} stacks, {len(line.steps)} steps.",
            x_name="stacks from left to right",
            y_name=line.unit,
        )
        body.append(tag("figure", drawn, class_="chart"))
    steps = [
        (
            f"{names[step.before]} → {names[step.after]}",
            limited(text_of(step.old, line.unit), 120),
            limited(text_of(step.new, line.unit), 120),
            step.how,
            step_words(step),
        )
        for step in line.steps
    ]
    if steps:
        columns = ("Between", "Before", "After", "How", "Since")
        body.append(rows(f"Steps of {title(line)}", columns, steps))
    else:
        body.append(tag("p", "No step.", class_="soft"))
    lacking = [f"{names[point.stack]}: {point.why}" for point in line.points if point.why]
    if lacking:
        body.append(
            tag("p", f"Without a value: {limited('; '.join(lacking), 600)}.", class_="small")
        )
    return join(body)
