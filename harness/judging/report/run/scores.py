"""Scores of base and tuned texts with intervals, beside the controls that say what they mean."""

from __future__ import annotations

from collections.abc import Iterable

from harness.judging.report.html.charts import whisker
from harness.judging.report.html.markup import Child, Html, details, join, rows, tag
from harness.judging.report.html.sections import not_run, section
from harness.judging.report.html.values import how_chip
from harness.judging.report.run.data import Run
from harness.records.bootstrap import paired
from harness.records.record import Metric, Status

NAMES = {
    "rouge_l": "ROUGE-L",
    "chrf": "chrF",
    "format": "format",
    "length": "length in words",
    "hashtags": "hashtags per text",
    "distinct_1": "distinct words",
    "distinct_2": "distinct word pairs",
}
PICTURES = ("greedy", "shuffled", "blank")
PICTURE_NAMES = {
    "greedy": "Own picture",
    "shuffled": "Another's picture",
    "blank": "Blank picture",
}
NONE = "—"


def _measured_by_name(run: Run) -> dict[tuple[str, str], Metric]:
    return {(m.name, m.case or ""): m for m in run.metrics("generation") if m.status is Status.OK}


def interval_of(metric: Metric) -> tuple[float, float, float] | None:
    """(low, mean, high) of a recorded triple, or of raw values by the bootstrap over products."""
    value = metric.value
    if isinstance(value, list) and len(value) == 3:
        low, mid, high = (float(str(x)) for x in value)
        return low, mid, high
    if len(metric.samples) > 1:
        interval = paired(metric.samples, [0.0] * len(metric.samples))
        return interval.low, interval.mean, interval.high
    return None


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _score(metric: Metric | None) -> Child:
    """A score, its interval under it."""
    if metric is None:
        return NONE
    interval = interval_of(metric)
    value = metric.value
    if interval is None:
        return _short(value) if isinstance(value, int | float) else NONE
    low, mid, high = interval
    under = tag("div", f"{_short(low)} to {_short(high)}", class_="soft small")
    return join([_short(mid), under])


def _excludes_zero(low: float, high: float) -> str:
    return "above zero" if low > 0 else "below zero" if high < 0 else "includes zero"


def _gain(metric: Metric | None, span: tuple[float, float], look: str) -> tuple[Child, Child]:
    interval = interval_of(metric) if metric else None
    if interval is None:
        return NONE, None
    low, mid, high = interval
    words = f"{mid:+.3f} ({low:+.3f} to {high:+.3f}), {_excludes_zero(low, high)}"
    return words, whisker(mid, low, high, span, look)


def _span(metrics: Iterable[Metric | None]) -> tuple[float, float]:
    ends = [0.0]
    for metric in metrics:
        interval = interval_of(metric) if metric else None
        ends += [interval[0], interval[2]] if interval else []
    room = (max(ends) - min(ends)) * 0.05 or 1.0
    return min(ends) - room, max(ends) + room


def _compared(by_name: dict[tuple[str, str], Metric], decoding: str) -> Html | None:
    """Base beside tuned beside the template, with the paired gain."""
    names = [n for n in NAMES if any((n, f"{m}.{decoding}") in by_name for m in ("base", "tuned"))]
    if not names:
        return None
    span = _span(by_name.get(("gain", f"{name}.{decoding}")) for name in names)
    body = []
    for name in names:
        base = by_name.get((name, f"base.{decoding}"))
        tuned = by_name.get((name, f"tuned.{decoding}"))
        words, drawn = _gain(by_name.get(("gain", f"{name}.{decoding}")), span, "tuned")
        how = (tuned or base or next(iter(by_name.values()))).how.value
        template = by_name.get((name, "template"))
        body.append(
            (
                NAMES[name],
                _score(base),
                _score(tuned),
                _score(template),
                words,
                drawn,
                how_chip(how),
            )
        )
    return rows(
        f"Held-out products, {decoding_name(decoding)}",
        ("Score", "Base", "Tuned", "Template", "Gain, 95 % interval", "Gain", "How"),
        body,
        numeric=frozenset({1, 2, 3}),
    )


def decoding_name(decoding: str) -> str:
    """A job's name in words."""
    known = {
        "greedy": "greedy decoding",
        "shuffled": "with another product's picture",
        "blank": "with a blank picture",
        "same_order": "with text before the picture, as in training",
        "image_first": "with the picture before the text, as published",
    }
    if decoding.startswith("sampled"):
        return f"the recipe's sampling, seed {decoding.removeprefix('sampled') or '42'}"
    return known.get(decoding, decoding.replace("_", " "))


def _grounding(by_name: dict[tuple[str, str], Metric]) -> Html | None:
    """Attributes that only the picture shows: own picture, controls, template, chance."""
    cases = [case for name, case in by_name if name == "grounding"]
    attributes = list(dict.fromkeys(case.rsplit(".", 1)[1] for case in cases if "." in case))
    if not attributes:
        return None
    body = []
    for attribute in attributes:
        template = by_name.get(("grounding", f"template.{attribute}"))
        for model in ("base", "tuned"):
            measured = [by_name.get(("grounding", f"{model}.{p}.{attribute}")) for p in PICTURES]
            first = next((m for m in measured if m is not None), None)
            if first is None:
                continue
            chance = (first.note or "").removeprefix("chance ")
            body.append(
                (
                    f"{attribute}, {model}",
                    *[_score(m) for m in measured],
                    _score(template),
                    chance or NONE,
                    how_chip(first.how.value),
                )
            )
    return rows(
        "Grounding: share of products whose text names what only the picture shows",
        ("Attribute", *PICTURE_NAMES.values(), "Template", "Chance", "How"),
        body,
        numeric=frozenset(range(1, 6)),
    )


def _differences(by_name: dict[tuple[str, str], Metric]) -> Html | None:
    """What the controls and the recipe's contradictions change, with intervals."""
    names = {
        "grounding_drop": "Grounding lost with another product's picture",
        "order_effect": "Effect of training's order when generating",
    }
    chosen = [(key, m) for key, m in by_name.items() if key[0] in names and interval_of(m)]
    if not chosen:
        return None
    span = _span(m for _, m in chosen)
    body = []
    for (name, case), metric in chosen:
        model, _, score = case.partition(".")
        words, drawn = _gain(metric, span, model)
        what = join(
            [
                names[name],
                tag("div", f"{model} {NAMES.get(score, score)}".strip(), class_="soft small"),
            ]
        )
        body.append((what, words, drawn, how_chip(metric.how.value), metric.note or ""))
    return rows(
        "Controls and contradictions",
        ("What", "Difference, 95 % interval", "Difference", "How", "Note"),
        body,
    )


def scores(run: Run) -> Html:
    """Each score with its interval, base beside tuned beside the controls."""
    title = "Scores and controls"
    by_name = _measured_by_name(run)
    main = _compared(by_name, "greedy")
    if main is None:
        return section("scores", title, not_run(run.why_not("generation", "scores")))
    lead = tag(
        "p",
        "Intervals are 95 % bootstrap intervals over products; a gain is paired, tuned minus base. "
        "The controls say what a score is worth: with another product's picture or a blank one, "
        "grounding should fall to chance, and a template that sees no picture must be beaten.",
        class_="soft",
    )
    decodings = dict.fromkeys(
        case.split(".", 1)[1] for name, case in by_name if name == "rouge_l" and "." in case
    )
    others = [(d, _compared(by_name, d)) for d in decodings if d != "greedy"]
    grounding = _grounding(by_name)
    if grounding is None:
        missing = next((m.reason for m in run.metrics("generation", "grounding") if m.reason), None)
        grounding = not_run(missing or "No picture's attributes are known for this data.")
    return section(
        "scores",
        title,
        lead,
        main,
        grounding,
        _differences(by_name),
        *[details(f"Scores of {decoding_name(d)}", table) for d, table in others],
    )
