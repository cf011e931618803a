"""One finding of a comparison as a card: what changed, the example, its size, what to do."""

from __future__ import annotations

from harness.judging.compare.comparison import Comparison, Finding
from harness.judging.compare.pairs import Pair, Side
from harness.judging.report.html.markup import Child, Html, details, join, limited, prose, rows, tag
from harness.judging.report.html.textdiff import difference
from harness.judging.report.html.values import SYMBOLS, allowed, how_chip, number, text_of
from harness.judging.report.upgrade.view import Group, effects, example, told_severity
from harness.records.record import Status, Verdict
from harness.records.typed import Json

_SHADES = {
    Verdict.SAME: "good",
    Verdict.IMPROVED: "good",
    Verdict.CHANGED: "bad",
    Verdict.WORSE: "bad",
    Verdict.BROKEN: "bad",
    Verdict.NOT_RUN: "missing",
    Verdict.NOT_COMPARABLE: "missing",
}
STANDINGS = {
    "fixed": "OLD is wrong, NEW is right",
    "broke": "OLD is right, NEW is wrong",
    "both wrong": "both miss the truth",
    "both right": "both are within the truth's band",
}
MOST_NAMED = 8


def verdict_of(verdict: Verdict, words: str = "") -> Html:
    """The verdict's chip, told by symbol and word, never by colour alone."""
    symbol = tag("span", SYMBOLS[verdict], aria_hidden="true")
    name = words or verdict.value.replace("_", " ")
    return tag("span", symbol, " ", name, class_=f"chip {_SHADES[verdict]}")


def side_text(pair: Pair, value: Json) -> str:
    """A value of a pair in one short line."""
    return text_of(value, pair.unit, 80)


def _told(pair: Pair, side: Side) -> Html:
    if side.status is Status.OK:
        return join([side_text(pair, side.value), " ", how_chip(side.how)])
    return join([limited(side.error, 300)])


def _size(pair: Pair) -> str:
    old, new = pair.old.value, pair.new.value
    plain = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (old, new))
    if not plain:
        return ""
    gap = float(new) - float(old)  # type: ignore[arg-type]
    share = f" ({gap / abs(float(old)):+.2%})" if old else ""  # type: ignore[arg-type]
    return f"{'+' if gap >= 0 else ''}{number(gap)}{share}"


def _line(name: str, value: Child) -> Html:
    return join([tag("dt", name), tag("dd", value)])


def _example(pair: Pair) -> Html | None:
    old, new = pair.old.value, pair.new.value
    if isinstance(old, str) and isinstance(new, str) and pair.unit != "digest":
        left, right = difference(old, new)
    else:
        a, b = example(pair)
        if not (a or b):
            return None
        left, right = difference(a, b)
    return tag(
        "div",
        tag("div", tag("h4", "OLD"), tag("div", left), class_="text"),
        tag("div", tag("h4", "NEW"), tag("div", right), class_="text"),
        class_="pair",
    )


def _cases(findings: tuple[Finding, ...]) -> Html:
    body = [
        (
            tag("code", f.pair.finding),
            verdict_of(f.pair.verdict),
            _told(f.pair, f.pair.old),
            _told(f.pair, f.pair.new),
            _size(f.pair) or limited(f.pair.new.note or f.pair.old.note, 120),
        )
        for f in findings
    ]
    return rows(f"{len(findings)} values", ("Value", "Verdict", "OLD", "NEW", "Size"), body)


def _consequences(group: Group) -> Html | None:
    if not group.consequences:
        return None
    body = [
        (
            tag("code", f.pair.finding),
            verdict_of(f.pair.verdict),
            _told(f.pair, f.pair.old),
            _told(f.pair, f.pair.new),
            f.cause_note,
        )
        for f in group.consequences
    ]
    table = rows(
        "What follows from it, with the proof",
        ("Value", "Verdict", "OLD", "NEW", "Why it is a consequence"),
        body,
    )
    count = len(group.consequences)
    noun = "value follows" if count == 1 else "values follow"
    return details(f"{count} {noun} from this", table)


def _effects(group: Group, comparison: Comparison) -> Html | None:
    moved = effects(group, comparison.pairs)
    if not moved:
        return None
    parts = [
        f"{words}: {side_text(p, p.old.value)} → {side_text(p, p.new.value)} ({_size(p)})"
        for words, p in moved
    ]
    return tag("ul", *[tag("li", part) for part in parts], class_="plain")


def card(index: int, group: Group, comparison: Comparison) -> Html:
    """The card of one group of findings."""
    head, pair = group.head, group.head.pair
    words = f"BROKEN on {pair.broken.upper()}" if pair.broken else ""
    chips = [verdict_of(pair.verdict, words)]
    if group.severity != "unknown":
        chips.append(tag("span", told_severity(group), class_="chip missing"))
    else:
        chips.append(tag("span", "unknown", class_="chip bad"))
    if pair.standing in {"fixed", "broke"}:
        shade = "good" if pair.standing == "fixed" else "bad"
        chips.append(tag("span", STANDINGS[pair.standing], class_=f"chip {shade}"))
    if all(f.accepted for f in group.findings):
        chips.append(tag("span", "accepted", class_="chip known"))
    lines = [_line("Rung", tag("code", pair.rung))]
    for change in group.changes:
        lines.append(_line("What changed", change.effect))
        if change.library:
            since = (
                f"since {change.library} {change.first} (not in {change.before}); "
                f"{change.reference}"
            )
            lines.append(_line("Known change", join([tag("code", change.name), ", ", since])))
        lines.append(_line("Evidence", change.evidence))
    lines.append(_line("OLD", _told(pair, pair.old)))
    lines.append(_line("NEW", _told(pair, pair.new)))
    if pair.truth is not None:
        lines.append(_line("Truth", f"{side_text(pair, pair.truth)}: {limited(pair.reason, 300)}"))
    if pair.gap is not None:
        lines.append(_line("Allowed", f"{allowed(pair.band, pair.unit)} ({pair.origin})"))
    size = _effects(group, comparison)
    if size is not None:
        lines.append(_line("Effect", size))
    if head.rest is not None:
        left = (
            f"with OLD's {', '.join(head.given)} given to NEW, what is left is "
            f"{side_text(pair, head.rest.old.value)} → {side_text(pair, head.rest.new.value)}"
        )
        lines.append(_line("Of its own", left))
    lines.append(_line("What to do", join([prose(a) for a in group.advice], " ")))
    tone = "bad" if not group.changes else "good" if group.is_fix else "known"
    return tag(
        "article",
        tag("header", *chips, tag("h3", group.title)),
        tag("dl", *lines),
        _example(pair),
        details(f"all {len(group.findings)} values", _cases(group.findings))
        if len(group.findings) > 1
        else None,
        _consequences(group),
        class_=f"card {tone}",
        id=f"finding-{index}",
    )
