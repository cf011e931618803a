"""The parts of a page that show a training: curve, memory, supervision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.judging.report.html.charts import bar, curve, smoothed, summary_of
from harness.judging.report.html.markup import Child, Html, details, join, limited, rows, tag
from harness.judging.report.html.sections import not_run, section
from harness.judging.report.html.values import how_chip, number, size, text_of
from harness.judging.report.run.data import Run
from harness.judging.report.run.tokens import token_map
from harness.recipe.published import MODEL_ID
from harness.records.components import Component
from harness.records.record import Metric, Status

COMPONENT_NAMES: Mapping[str, str] = {
    Component.LANGUAGE: "language model",
    Component.TOWER: "vision tower",
    Component.EMBEDDING: "token embedding",
    Component.HEAD: "output head",
    Component.PATCH_EMBEDDING: "patch embedding",
    Component.CONNECTOR: "vision connector",
    Component.NORMS: "final norm",
}
# The size that the recipe trains, by the case that records give it.
PUBLISHED = MODEL_ID.rpartition("/")[2].removesuffix("-Instruct")
SIZE = PUBLISHED.rpartition("-")[2].lower()


def _metric(run: Run, rung: str, name: str, case: str | None = None) -> Metric | None:
    return next((m for m in run.metrics(rung) if (m.name, m.case) == (name, case)), None)


def training(run: Run) -> Html:
    """The loss curve with its numbers, and what was scaled."""
    title = "Training"
    course = run.course
    points = [(point.step, point.loss) for point in course.curve]
    if len(points) < 2:
        return section("training", title, not_run(run.why_not("trajectory", "curve")))
    smooth = smoothed(points, max(2, len(points) // 25))
    emulated = course.spec.get("quantisation") == "emulated"
    summary = summary_of(points)
    figure = tag(
        "figure",
        curve(
            points,
            smooth,
            id_="loss",
            title="Training loss by optimizer step",
            text=summary,
            x_name="optimizer step",
            y_name="loss",
        ),
        tag(
            "figcaption",
            how_chip("emulated" if emulated else "measured"),
            " ",
            "The thin line is every step, the thick one a moving mean. " if smooth else "",
            summary,
        ),
        class_="chart",
    )
    table = rows(
        "Loss by step",
        ("Step", "Loss"),
        [(number(x), number(y)) for x, y in points],
        numeric=frozenset({0, 1}),
    )
    shown = (
        ("Steps", "max_steps"),
        ("Micro-batch", "micro_batch"),
        ("Accumulation", "accumulation"),
        ("Learning rate", "learning_rate"),
        ("Weights in 4 bit", "quantisation"),
        ("Arithmetic", "dtype"),
        ("Recipe", "recipe"),
    )
    facts = [
        tag("div", tag("dt", name), tag("dd", text_of(_named(course.spec[key]))))
        for name, key in shown
        if key in course.spec
    ]
    notes = [tag("li", limited(note, 400)) for note in course.notes]
    return section(
        "training",
        title,
        tag("dl", *facts, class_="facts") if facts else None,
        figure,
        details("The curve as a table", table),
        details("What differs from the recipe's own call", tag("ul", *notes)) if notes else None,
    )


def _named(value: Any) -> Any:
    """A setting as it is shown: a recipe, which the spec holds whole, by its name."""
    return value.get("name", value) if isinstance(value, Mapping) else value


def _by_component(metric: Metric | None) -> dict[str, float]:
    value = metric.value if metric else None
    if not isinstance(value, dict):
        return {}
    return {name: float(count) for name, count in value.items() if isinstance(count, int | float)}


def _bars(parts: Mapping[str, list[tuple[str, float]]], caption: str) -> Html:
    """One row per component: a bar and a number for each way it was obtained."""
    most = max((count for pairs in parts.values() for _, count in pairs), default=0.0)
    body: list[tuple[Child, ...]] = []
    for name, pairs in sorted(parts.items(), key=lambda p: -max(c for _, c in p[1])):
        lines = [tag("div", size(count), " ", how_chip(how), class_="line") for how, count in pairs]
        body.append(
            (
                COMPONENT_NAMES.get(name, name.replace("_", " ")),
                join(lines),
                join([bar(count, most, how) for how, count in pairs]),
                join([tag("div", f"{count:,.0f} B", class_="line") for _, count in pairs]),
            )
        )
    return rows(
        caption,
        ("Component", "Size", "Share", "Exactly"),
        body,
        numeric=frozenset({3}),
        class_="memory",
    )


def _loaded(run: Run) -> tuple[dict[str, list[tuple[str, float]]], bool]:
    """Predicted bytes of the model at hand, each beside what was found in the loaded weights."""
    predicted = _by_component(_metric(run, "model", "bytes_by_component", "model.nf4_double"))
    parts = {name: [("predicted", count)] for name, count in predicted.items()}
    any_loaded = False
    for gap in run.metrics("model", "bytes_gap"):
        if gap.case and gap.status is Status.OK and isinstance(gap.value, int | float):
            before = predicted.get(gap.case, 0.0)
            parts.setdefault(gap.case, []).append((gap.how.value, before + gap.value))
            any_loaded = True
    return parts, any_loaded


def memory(run: Run) -> Html:
    """Weights by component, predicted beside found; the 7B model's schemes; the run's peaks."""
    body: list[Child] = []
    parts, any_loaded = _loaded(run)
    if parts:
        body.append(_bars(parts, "Weights of this run's model in NF4 with double quantisation"))
        if not any_loaded:
            body.append(not_run(run.why_not("model", "loaded weights")))
    else:
        body.append(not_run(run.why_not("model", "bytes_by_component")))
    published = _by_component(_metric(run, "model", "bytes_by_component", f"{SIZE}.nf4_double"))
    if published:
        table = _bars(
            {name: [("predicted", count)] for name, count in published.items()},
            f"Weights of {PUBLISHED} in NF4 with double quantisation, from shapes alone",
        )
        body.append(table)
    schemes = [
        m for m in run.metrics("model", "bytes") if m.name == "bytes" and m.status is Status.OK
    ]
    if schemes:
        body.append(
            details(
                "Every scheme",
                rows(
                    "Total bytes of the weights by scheme",
                    ("Model and scheme", "Size", "Exactly", "How"),
                    [
                        (
                            tag("code", m.case or ""),
                            size(float(str(m.value))),
                            text_of(m.value, m.unit),
                            how_chip(m.how.value),
                        )
                        for m in schemes
                    ],
                    numeric=frozenset({1, 2}),
                ),
            )
        )
    peaks = [
        m
        for m in run.metrics("cost")
        if m.unit == "bytes" and m.status is Status.OK and isinstance(m.value, int | float)
    ]
    if peaks:
        body.append(
            rows(
                "Memory of a training step",
                ("What", "Size", "Exactly", "How", "Note"),
                [
                    (
                        _name(m),
                        size(float(str(m.value))),
                        text_of(m.value, m.unit),
                        how_chip(m.how.value),
                        m.note or "",
                    )
                    for m in peaks
                ],
                numeric=frozenset({1, 2}),
            )
        )
    return section("memory", "Memory by component", *body)


def _name(metric: Metric) -> str:
    """`held_bytes.adapter` for people: adapter."""
    words = {"peak_rss": "peak of the process (RSS)"}.get(metric.name)
    if words is None:
        words = metric.name.removesuffix("_bytes").replace("_", " ")
    if metric.case is None:
        return words
    part = metric.case.removeprefix(f"{SIZE}.").replace("_", " ")
    return f"{PUBLISHED}: {part}" if metric.case.startswith(f"{SIZE}.") else part


def supervision(run: Run) -> Html:
    """The token map of one sample."""
    lead = tag(
        "p",
        "Which tokens of a training sample the loss looks at. As published, the recipe trains on "
        "the prompt as well as on the description.",
        class_="soft",
    )
    if run.supervision is None:
        body: Html = not_run(run.why_not("labels", "tokens"))
    else:
        body = join(
            [
                tag("p", how_chip("measured"), " ", run.supervision.sample, class_="soft small"),
                token_map(run.supervision.tokens),
            ]
        )
    return section("tokens", "Token supervision", lead, body)
