"""Charts as inline SVG, each with a title, a description and its numbers as text beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.judging.report.html.markup import Html, tag
from harness.judging.report.html.values import number

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 20, 30, 54


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) that span low to high."""
    if high <= low:
        return [low]
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = -(-low // step) * step
    count = int((high - first) / step + 1e-9) + 1
    return [round(first + i * step, 12) for i in range(count)]


def _svg(title: str, text: str, id_: str, *parts: Html) -> Html:
    # SVG's viewBox is case sensitive in attribute names, so it is written as given.
    return tag(
        "svg",
        tag("title", title, id=f"{id_}-t"),
        tag("desc", text, id=f"{id_}-d"),
        *parts,
        attributes={"viewBox": f"0 0 {_WIDTH} {_HEIGHT}"},
        role="img",
        aria_labelledby=f"{id_}-t {id_}-d",
        class_="wide",
    )


def _shape(element: str, class_: str, **numbers: float) -> Html:
    given = {name: f"{value:.1f}" for name, value in numbers.items()}
    return tag(element, attributes=given, class_=class_)


def _label(x: float, y: float, words: str, anchor: str, class_: str | None = None) -> Html:
    given = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
    return tag("text", words, attributes=given, class_=class_)


def curve(
    points: Points, smooth: Points, *, id_: str, title: str, text: str, x_name: str, y_name: str
) -> Html:
    """A line of raw points, with a smoother line over it where given. Needs two points or more."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    x0, x1 = min(xs), max(xs)
    pad = (max(ys) - min(ys)) * 0.06 or abs(max(ys)) * 0.1 or 1.0
    y0, y1 = min(ys) - pad, max(ys) + pad

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x0) / (x1 - x0) if x1 > x0 else 0.5
        up = (y - y0) / (y1 - y0)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts: list[Html] = []
    for value in ticks(y0, y1):
        _, y = place(x0, value)
        parts.append(_shape("line", "grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y))
        parts.append(_label(_LEFT - 8, y + 4, number(value), "end"))
    for value in ticks(x0, x1, 5):
        x, _ = place(value, y0)
        parts.append(_label(x, _HEIGHT - _BOTTOM + 22, number(value), "middle"))
    base = _HEIGHT - _BOTTOM
    parts.append(_shape("line", "axis", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=base, y2=base))
    parts.append(_label((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, x_name, "middle"))
    parts.append(_label(_LEFT, _TOP - 8, y_name, "start", "ink"))
    for series, name in ((points, "raw" if smooth else "line"), (smooth, "line")):
        if series:
            path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in series)
            parts.append(tag("polyline", points=path, class_=name))
    x, y = place(*(smooth or points)[-1])
    parts.append(_shape("circle", "dot", cx=x, cy=y, r=4))
    return _svg(title, text, id_, *parts)


def smoothed(points: Points, reach: int) -> list[tuple[float, float]]:
    """Mean over `reach` points to either side; empty where there are too few to be worth it."""
    if reach < 1 or len(points) < 6 * reach:
        return []
    values = [y for _, y in points]
    return [
        (points[i][0], sum(values[i - reach : i + reach + 1]) / (2 * reach + 1))
        for i in range(reach, len(points) - reach)
    ]


def bar(count: float, most: float, how: str) -> Html:
    """A bar whose length is count / most; its number stands beside it in text."""
    share = max(0.0, min(1.0, count / most)) if most > 0 else 0.0
    return tag("span", class_=f"bar {how}", style=f"width:{share * 100:.2f}%", aria_hidden="true")


def whisker(mid: float, low: float, high: float, span: tuple[float, float], look: str) -> Html:
    """An interval on a common scale; decoration, because the numbers stand beside it."""
    left, right = span

    def place(value: float) -> float:
        share = (value - left) / (right - left) if right > left else 0.5
        return 4 + 152 * max(0.0, min(1.0, share))

    zero = []
    if left <= 0 <= right:
        zero = [_shape("line", "axis", x1=place(0), x2=place(0), y1=0, y2=18)]
    return tag(
        "svg",
        _shape("line", "axis", x1=4, x2=156, y1=9, y2=9),
        *zero,
        tag(
            "line",
            attributes={
                "x1": f"{place(low):.1f}",
                "x2": f"{place(high):.1f}",
                "y1": "9",
                "y2": "9",
            },
            class_=f"span {look}",
        ),
        _shape("circle", look, cx=place(mid), cy=9, r=3),
        attributes={"viewBox": "0 0 160 18"},
        class_="whisker",
        aria_hidden="true",
        focusable="false",
    )


def summary_of(points: Points) -> str:
    """The curve in one sentence, for those who do not see it."""
    first, last = points[0], points[-1]
    low = min(points, key=lambda p: p[1])
    return (
        f"{len(points)} points from {number(first[1])} at step {number(first[0])} to "
        f"{number(last[1])} at step {number(last[0])}; lowest {number(low[1])} at step "
        f"{number(low[0])}."
    )
