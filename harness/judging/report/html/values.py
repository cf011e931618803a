"""How a value, its unit, its origin and its verdict are written."""

from __future__ import annotations

import json

from harness.judging.goldens.golden import Band, BandKind
from harness.judging.goldens.judgement import Judged
from harness.judging.report.html.markup import Html, tag
from harness.judging.report.html.textdiff import changed_words
from harness.records.record import How, Metric, Status, Verdict
from harness.records.typed import Json

# A symbol beside the word: the verdict is never told by colour alone.
SYMBOLS = {
    Verdict.SAME: "✓",
    Verdict.IMPROVED: "▲",
    Verdict.WORSE: "▼",
    Verdict.CHANGED: "≠",
    Verdict.BROKEN: "✗",
    Verdict.NOT_COMPARABLE: "∦",
    Verdict.NOT_RUN: "○",
}
# From here on a ratio is read more easily than a percentage.
MANY_TIMES = 10
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def number(value: float) -> str:
    """Six significant digits, thousands separated; whole numbers in full."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.6g}" if abs(value) >= 1e-3 else f"{value:.4g}"


def size(count: float) -> str:
    """Bytes in the largest binary unit that leaves at least one before the point."""
    amount, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if abs(amount) < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{int(amount):,} B" if unit == "B" else f"{amount:,.2f} {unit}"


def text_of(value: Json, unit: str = "1", limit: int = 90) -> str:
    """A value in one short line."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if unit == "bytes":
            return f"{number(value)} B"
        return number(value) if unit in {"1", "text", "digest"} else f"{number(value)} {unit}"
    if isinstance(value, str):
        shown = value.replace("\n", "↵")
    elif isinstance(value, dict) and "digest" in value:
        shape = value.get("shape")
        sides = "×".join(map(str, shape)) if isinstance(shape, list) else "?"
        shown = f"tensor {sides or 'scalar'} {value.get('dtype', '')} {value['digest']}"
    else:
        shown = json.dumps(_rounded(value), ensure_ascii=False)
    if len(shown) <= limit:
        return shown
    return f"{shown[: limit - 20]}… ({len(shown):,} characters)"


def _rounded(value: Json) -> Json:
    """Numbers inside a list or object with the digits that a single one is shown with."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else float(f"{value:.6g}")
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return value


def allowed(band: Band, unit: str = "1") -> str:
    """The band in words."""
    limit = number(band.limit)
    tail = "" if unit in {"1", "text", "digest"} else f" {unit}"
    return {
        BandKind.EXACT: "exact",
        BandKind.ABSOLUTE: f"± {limit}{tail}",
        BandKind.RELATIVE: f"± {number(band.limit * 100)} %",
        BandKind.AT_MOST: "at most golden" + (f" + {limit}{tail}" if band.limit else ""),
        BandKind.AT_LEAST: "at least golden" + (f" − {limit}{tail}" if band.limit else ""),
    }[band.kind]


def how_chip(how: str) -> Html:
    """measured, predicted, emulated or not run: on every number."""
    known = {*(h.value for h in How), "not run"}
    name = how if how in known else "measured"
    return tag("span", how, class_=f"how how-{name.replace(' ', '-')}")


def how_of(metric: Metric) -> str:
    """How a metric's value was obtained; a value that is not there was not obtained."""
    return metric.how.value if metric.status is Status.OK else "not run"


def tone(item: Judged) -> str:
    """Which of four tones an item has: good, bad, known, missing."""
    if item.is_red:
        return "bad"
    if item.verdict in {Verdict.SAME, Verdict.IMPROVED}:
        return "good"
    if item.known or item.accepted:
        return "known"
    return "missing"


def verdict_chip(item: Judged) -> Html:
    """The verdict with its symbol, and whether it was expected."""
    words = item.verdict.value.replace("_", " ")
    if item.known:
        words += " · known"
    if item.accepted:
        words += " · accepted"
    symbol = tag("span", SYMBOLS[item.verdict], aria_hidden="true")
    return tag("span", symbol, " ", words, class_=f"chip {tone(item)}")


def effect(item: Judged) -> str:
    """The size of a difference in words; empty where there is none to measure."""
    old, new = item.golden, item.now
    if item.kind == "expected":
        return f"expected {text_of(old)}, found {text_of(new)}" if old != new else ""
    if item.unit == "digest" or (isinstance(old, dict) and "digest" in old):
        return "the content differs; only its digest is kept as a golden"
    if old is None or new is None:
        return ""
    if isinstance(old, str) and isinstance(new, str):
        gone, added = changed_words(old, new)
        return f"{gone} words of the golden are missing, {added} are new"
    if isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            return f"{len(new):,} entries instead of {len(old):,}"
        count = sum(a != b for a, b in zip(old, new, strict=True))
        return f"{count:,} of {len(old):,} entries differ"
    if isinstance(old, bool) or isinstance(new, bool):
        return ""
    if isinstance(old, int | float) and isinstance(new, int | float):
        gap = new - old
        share = f" ({gap / abs(old):+.3%})" if old else ""
        if old and new / old >= MANY_TIMES:
            share = f" (×{number(new / old)})"
        signed = ("+" if gap >= 0 else "") + number(gap)
        return f"off by {signed}{'' if item.unit == '1' else ' ' + item.unit}{share}"
    return ""
