"""The page of a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.judging.compare.comparison import Comparison
from harness.judging.compare.lost import why_lost
from harness.judging.compare.pairs import Pair
from harness.judging.goldens.bands import read_bands
from harness.judging.report.html.document import document
from harness.judging.report.html.markup import Child, Html, details, join, limited, rows, tag
from harness.judging.report.html.sections import section, stale_accepts
from harness.judging.report.html.values import number
from harness.judging.report.upgrade.answer import answer
from harness.judging.report.upgrade.cards import card, side_text, verdict_of
from harness.judging.report.upgrade.front import front
from harness.judging.report.upgrade.ladder import worst
from harness.judging.report.upgrade.second import TITLE, second
from harness.judging.report.upgrade.view import Group, groups, rung_times
from harness.records.files import write_atomically
from harness.records.record import RUNGS, Verdict

CONTENTS = (
    ("ladder", "The ladder"),
    ("findings", "Findings"),
    ("second", TITLE),
    ("both-wrong", "Wrong on both sides"),
    ("missing", "Not compared"),
    ("packages", "Packages"),
    ("method", "How it was compared"),
)


def _ladder(comparison: Comparison, grouped: Sequence[Group]) -> Html:
    body: list[tuple[Child, ...]] = []
    for rung in RUNGS:
        pairs = [p for p in comparison.pairs if p.rung == rung]
        missing = next((m.reason for m in comparison.missing if m.rung == rung), "")
        if not pairs and not missing:
            continue
        number_ = RUNGS.index(rung)
        name = join([f"{number_} ", tag("code", rung)])
        if not pairs:
            body.append((name, verdict_of(Verdict.NOT_RUN), missing, "—", "—"))
            continue
        here = [
            (i, g) for i, g in enumerate(grouped) if any(f.pair.rung == rung for f in g.findings)
        ]
        links = [tag("a", g.title, href=f"#finding-{i}") for i, g in here]
        after = sum(f.pair.rung == rung for f in comparison.findings if f.cause)
        if after:
            links.append(tag("span", f"{after} follow from earlier findings", class_="soft"))
        if pairs[0].verdict is Verdict.NOT_COMPARABLE:
            links = [tag("span", limited(pairs[0].reason, 200))]
        body.append(
            (
                name,
                _rung_verdict(pairs),
                join(links, " · ") if links else tag("span", "the same", class_="soft"),
                _standing(pairs, "old"),
                _standing(pairs, "new"),
            )
        )
    old, new = comparison.names
    table = rows(
        "The same samples, weights and seeds, followed from text to trained weights",
        ("Rung", "Verdict", "What moved", f"OLD: {old}", f"NEW: {new}"),
        body,
    )
    lead = (
        "OLD and NEW are each held against independent truths where there are any; the verdict is "
        "between them. The first rung that moved is where to look."
    )
    return section("ladder", "The ladder", tag("p", lead, class_="soft"), table)


def _rung_verdict(pairs: Sequence[Pair]) -> Html:
    verdict = worst(pairs)
    sides = {p.broken for p in pairs if p.broken}
    if verdict is Verdict.BROKEN and sides == {"old"}:
        return verdict_of(verdict, "BROKEN on OLD")
    return verdict_of(verdict)


def _standing(pairs: Sequence[Pair], name: str) -> str:
    """How one side stands by itself: against truths, and what broke."""
    sides = [p.old if name == "old" else p.new for p in pairs]
    judged = [s for s in sides if s.right is not None]
    broken = sum(s.status is not None and s.status.value == "BROKEN" for s in sides)
    parts = []
    if judged:
        right = sum(bool(s.right) for s in judged)
        parts.append(
            f"{right:,} true" if right == len(judged) else f"{right:,} of {len(judged):,} true"
        )
    if broken:
        parts.append(f"{broken} broken")
    return ", ".join(parts) or f"{len(pairs):,} value{'s' if len(pairs) > 1 else ''}"


def _findings(comparison: Comparison, grouped: Sequence[Group]) -> Html:
    cards: list[Child] = [card(i, group, comparison) for i, group in enumerate(grouped)]
    lead = (
        "Each finding stands for itself: what follows from it is folded under it."
        if comparison.established
        else "Causes are not established: that needs both stacks, not only their records, so a "
        "finding may follow from an earlier one."
    )
    if not cards:
        cards = [tag("p", "No difference outside its band.", class_="soft")]
    return section("findings", f"Findings ({len(grouped)})", tag("p", lead, class_="soft"), *cards)


def _both_wrong(comparison: Comparison) -> Html:
    pairs = comparison.both_wrong
    if not pairs:
        body: Html = tag("p", "Nothing is wrong on both sides.", class_="soft")
    else:
        body = rows(
            "Values that miss the truth on OLD and on NEW",
            ("Value", "Truth", "OLD", "NEW", "Why it is wrong"),
            [
                (
                    tag("code", p.finding),
                    side_text(p, p.truth),
                    side_text(p, p.old.value),
                    side_text(p, p.new.value),
                    limited(p.reason, 200),
                )
                for p in pairs
            ],
        )
    lead = "The upgrade neither causes nor mends these."
    return section("both-wrong", "Wrong on both sides", tag("p", lead, class_="soft"), body)


def _missing(comparison: Comparison) -> Html:
    lines: list[tuple[Child, ...]] = [
        (tag("code", p.finding), verdict_of(p.verdict), limited(why_lost(p), 300))
        for p in comparison.lost
    ]
    lines += [
        (tag("code", m.rung), verdict_of(Verdict.NOT_RUN), m.reason) for m in comparison.missing
    ]
    lines += [
        (tag("code", p.finding), verdict_of(p.verdict), limited(f"accepted: {why_lost(p)}", 300))
        for p in comparison.accepted_breaks
    ]
    excused = Counter(
        (p.rung, p.old.error or p.new.error)
        for p in comparison.pairs
        if p.verdict is Verdict.NOT_RUN and p not in comparison.lost
    )
    lines += [
        (tag("code", rung), verdict_of(Verdict.NOT_RUN), limited(f"{count}: {why}", 300))
        for (rung, why), count in excused.items()
    ]
    if not lines:
        return section("missing", "Not compared", tag("p", "Everything was.", class_="soft"))
    table = rows("What could not be compared, and why", ("Value", "State", "Reason"), lines)
    return section("missing", "Not compared", table)


def _packages(comparison: Comparison) -> Html:
    body = [(tag("code", name), old or "—", new or "—") for name, old, new in comparison.packages]
    whole = tag("p", *_whole_names(comparison), class_="soft")
    if not body:
        none = tag("p", "Every recorded package has one version on both sides.", class_="soft")
        return section("packages", "Packages", whole, none)
    return section(
        "packages",
        "Packages",
        whole,
        rows("Versions that differ", ("Package", "OLD", "NEW"), body),
    )


def _whole_names(comparison: Comparison) -> list[Child]:
    """Each side as the user gave it; headlines have it short."""
    return [
        join([f"{side}: ", tag("code", given), "  "])
        for side, given in zip(("OLD", "NEW"), comparison.given, strict=True)
        if given
    ]


def _method(comparison: Comparison) -> Html:
    old, new = rung_times(comparison.seconds)
    origins = Counter(p.origin for p in comparison.pairs)
    bands = read_bands()
    lines = [
        (
            tag("code", name),
            f"{number(a.band.limit)} ({a.band.kind.value})",
            a.origin,
            limited(a.band.reason, 300),
        )
        for name, a in sorted(bands.allowed.items())
    ]
    trials = [
        tag(
            "li",
            f"NEW again with OLD's {', '.join(e.given)}: "
            f"{sum(p.differs for p in e.pairs):,} of {len(e.pairs):,} values still differ",
        )
        for e in comparison.experiments
    ]
    left = [(tag("code", name), why) for name, why in sorted(bands.left_out.items())]
    return section(
        "method",
        "How it was compared",
        tag(
            "p",
            "Both sides got the same weights, samples, order, seeds and dropout masks. "
            f"{origins['exact']:,} values are exact, the others have a band with its reason. "
            f"All rungs took {old:.0f} s on OLD and {new:.0f} s on NEW; they ran beside one "
            "another, so these times compare nothing.",
        ),
        tag("ul", *trials) if trials else None,
        details(
            "Bands and where they come from",
            rows("Every listed band", ("Metric", "Band", "Origin", "Reason"), lines),
        ),
        details(
            "What is left out of the comparison", rows("Not compared", ("Metric", "Reason"), left)
        ),
    )


def comparison_page(comparison: Comparison) -> Html:
    """The whole page."""
    grouped = groups(comparison)
    told = answer(comparison, grouped)
    title = (
        f"{told.title}: {' → '.join(comparison.names)} · model {comparison.facts['model']} · "
        f"data {comparison.facts['data']}"
    )
    return document(
        title,
        front(comparison, told),
        CONTENTS,
        _ladder(comparison, grouped),
        stale_accepts(comparison.stale_accepts),
        _findings(comparison, grouped),
        second(comparison),
        _both_wrong(comparison),
        _missing(comparison),
        _packages(comparison),
        _method(comparison),
    )


def render_comparison(comparison: Comparison, out: Path) -> Path:
    """Write the report to `out`, atomically, and return it."""
    write_atomically(out, comparison_page(comparison).encode("utf-8"))
    return out
