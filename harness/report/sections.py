"""The parts of a page that show a judgement: verdict, findings, results by rung."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from harness.compare import Judged, Judgement
from harness.record import Metric, Record, Status, Verdict
from harness.report.markup import Child, Html, details, join, limited, rows, tag
from harness.report.textdiff import difference
from harness.report.values import (
    allowed,
    effect,
    how_chip,
    how_of,
    text_of,
    tone,
    verdict_chip,
)

# Findings of the same rung, verdict and reason are shown as one card.
MOST_NAMES = 12


def section(id_: str, title: str, *children: Child) -> Html:
    """One landmark of the page with its heading."""
    heading = tag("h2", title, id=f"{id_}-title")
    return tag("section", heading, *children, id=id_, aria_labelledby=f"{id_}-title")


def not_run(reason: str) -> Html:
    """What stands where a part is missing."""
    return tag("p", how_chip("not run"), " ", limited(reason, 600))


def verdict_tone(judgement: Judgement) -> tuple[str, str]:
    """The tone of the whole page and its one-line verdict."""
    if judgement.red:
        count = len(judgement.red)
        noun = "finding" if count == 1 else "findings"
        return "bad", f"{count} unexpected {noun}, first at {judgement.first_red_rung}"
    if judgement.exit_code == 3:
        return "missing", "Incomplete: a required measurement is missing"
    if judgement.known:
        count = len(judgement.known)
        return "known", f"As expected, with {count} known finding{'s' if count != 1 else ''}"
    if judgement.missing:
        return "known", f"As expected, with {len(judgement.missing)} not run"
    return "good", "All green"


def verdict_banner(judgement: Judgement) -> Html:
    """Verdict first, then the numbers behind it."""
    colour, title = verdict_tone(judgement)
    good = sum(i.verdict in {Verdict.SAME, Verdict.IMPROVED} for i in judgement.items)
    tiles = [
        (good, "as they should be", "good"),
        (len(judgement.red), "unexpected", "bad" if judgement.red else "missing"),
        (len(judgement.known), "known findings", "known" if judgement.known else "missing"),
        (len(judgement.missing), "not run", "missing"),
    ]
    tally = [
        tag("li", tag("b", f"{count:,}"), tag("span", name), class_=f"tile {shade}")
        for count, name, shade in tiles
    ]
    banner = tag("div", tag("h1", title), tag("p", judgement.headline), class_=f"verdict {colour}")
    return join([banner, tag("ul", *tally, class_="tally", aria_label="Counts")])


def _advice(item: Judged, stack: str) -> str:
    if item.kind == "expected":
        return (
            f"Check whether the change is right; then update golden/expected/{stack}.json, "
            "which must list exactly what this stack shows."
        )
    if item.known:
        return (
            f"Nothing: golden/expected/{stack}.json lists it. It stays in every report, and the "
            "run turns red on the day it disappears."
        )
    if item.accepted:
        return "Nothing in this run: the --accept file lists it."
    if item.verdict is Verdict.NOT_RUN:
        return "Measure it where the reason above does not hold, for example on a CUDA machine."
    if item.verdict is Verdict.NOT_COMPARABLE:
        return "Repeat the measurement under the same conditions as the golden's."
    if item.verdict is Verdict.BROKEN:
        return (
            f"Start at this error: harness probe {item.rung}. Later rungs that need the same "
            "call fail with it."
        )
    if item.kind == "observed":
        return (
            "Find what changed on this machine or stack. If the change is meant: "
            f'harness golden update {item.finding} --reason "…".'
        )
    return (
        "The value disagrees with an independent calculation. Look here first, because later "
        "rungs inherit the difference; a truth is never updated to fit."
    )


def _line(name: str, value: Child) -> Html:
    return join([tag("dt", name), tag("dd", value)])


def _evidence(item: Judged) -> Html | None:
    """What was found and what should be there; two texts are shown as a difference."""
    old, new = item.golden, item.now
    if isinstance(old, str) and isinstance(new, str) and max(len(old), len(new)) > 24:
        gone, added = difference(old, new)
        return tag(
            "div",
            tag("div", tag("h4", "Golden"), tag("div", gone), class_="text"),
            tag("div", tag("h4", "Now"), tag("div", added), class_="text"),
            class_="pair",
        )
    return None


def _card(group: Sequence[Judged], stack: str, level: str) -> Html:
    item = group[0]
    names = [tag("code", i.finding) for i in group[:MOST_NAMES]]
    title = tag(level, names[0] if len(group) == 1 else f"{len(group)} findings at {item.rung}")
    lines = [_line("Rung", item.rung)]
    if len(group) > 1:
        more = f" … and {len(group) - MOST_NAMES} more below" if len(group) > MOST_NAMES else None
        lines.append(_line("Findings", join([join(names, ", "), more])))
    if item.reason:
        what = "Error" if item.verdict is Verdict.BROKEN else "Reason"
        if item.kind in {"truth", "observed"} and item.verdict is not Verdict.NOT_RUN:
            what = what if item.verdict is Verdict.BROKEN else "The rule"
        lines.append(_line(what, limited(item.reason, 900)))
    if item.evidence:
        lines.append(_line("Evidence", limited(item.evidence, 900)))
    if len(group) == 1 and item.now is not None:
        found = join([
            text_of(item.now, item.unit), " instead of ", text_of(item.golden, item.unit),
            f" (allowed: {allowed(item.band, item.unit)}) ", how_chip(item.how),
        ])  # fmt: skip
        lines.append(_line("Found", found))
    if len(group) == 1 and effect(item):
        lines.append(_line("Effect", effect(item)))
    lines.append(_line("What to do", _advice(item, stack)))
    return tag(
        "article",
        tag("header", verdict_chip(item), title),
        tag("dl", *lines),
        _evidence(item) if len(group) == 1 else None,
        class_=f"card {tone(item)}",
    )


def _groups(items: Iterable[Judged]) -> list[list[Judged]]:
    found: dict[tuple[str, ...], list[Judged]] = {}
    for item in items:
        # A single difference keeps its own card: its numbers are the evidence.
        own = "" if item.verdict in {Verdict.NOT_RUN, Verdict.BROKEN} else item.finding + item.kind
        found.setdefault((item.rung, item.verdict, item.reason, own), []).append(item)
    return list(found.values())


def findings(judgement: Judgement) -> Html:
    """Unexpected findings, then known ones, then what was not run; each with what to do."""
    stack = judgement.facts.stack_name
    parts: list[Child] = []
    for title, items, none in (
        ("Unexpected", judgement.red, "No unexpected finding."),
        ("Known", judgement.known, "No known finding applies to this stack and device."),
        ("Not run", judgement.missing, "Everything that has a golden was measured."),
    ):
        parts.append(tag("h3", f"{title} ({len(items)})"))
        cards = [_card(group, stack, "h4") for group in _groups(items)]
        parts.append(join(cards) if cards else tag("p", none, class_="soft"))
    return section("findings", "Findings", *parts)


def _judged_row(item: Judged) -> tuple[Child, ...]:
    return (
        tag("code", item.finding.split(".", 1)[-1]),
        verdict_chip(item),
        text_of(item.golden, item.unit),
        text_of(item.now, item.unit),
        allowed(item.band, item.unit) if item.kind in {"truth", "observed"} else "—",
        item.kind,
        how_chip(item.how),
    )


def _metric_row(metric: Metric) -> tuple[Child, ...]:
    shown = text_of(metric.value, metric.unit)
    if metric.status is not Status.OK:
        failure = metric.failure
        shown = f"{failure.type}: {failure.message}" if failure else metric.reason or "no reason"
    return (
        tag("code", metric.finding_id.split(".", 1)[-1]),
        limited(shown, 240),
        how_chip(how_of(metric)),
        limited(metric.note or "", 240),
    )


def _rung(rung: str, record: Record | None, items: Sequence[Judged]) -> Html:
    counts = Counter(tone(item) for item in items)
    chips = [
        tag("span", f"{counts[shade]} {word}", class_=f"chip {shade}")
        for shade, word in (
            ("good", "as it should be"),
            ("bad", "unexpected"),
            ("known", "known"),
            ("missing", "not run"),
        )
        if counts[shade]
    ]
    chips = chips or [tag("span", "recorded, not judged", class_="chip missing")]
    judged_ids = {item.finding for item in items}
    others = [m for m in record.metrics if m.finding_id not in judged_ids] if record else []
    body: list[Child] = []
    if record:
        body.append(tag("p", f"{len(record.metrics)} values in {record.seconds:.1f} s.",
                        class_="soft small"))  # fmt: skip
    if items:
        ordered = sorted(items, key=lambda i: ("bad", "known", "missing", "good").index(tone(i)))
        body.append(rows(
            f"{rung}: judged values",
            ("Value", "Verdict", "Golden", "Now", "Allowed", "Golden is", "How"),
            [_judged_row(item) for item in ordered],
        ))  # fmt: skip
    if others:
        table = rows(
            f"{rung}: recorded values without a golden",
            ("Value", "Now", "How", "Note"),
            [_metric_row(metric) for metric in others],
        )
        body.append(details(f"{len(others)} recorded without a golden", table))
    return details(
        join([tag("code", rung), *chips]), *body, opened=bool(counts["bad"]), id_=f"rung-{rung}"
    )


def rungs(records: dict[str, Record], judgement: Judgement, ladder: Sequence[str]) -> Html:
    """Every rung of the ladder with golden, now and allowed; what has no record says so."""
    parts = []
    for rung in ladder:
        items = [item for item in judgement.items if item.rung == rung]
        if rung not in records and not items:
            summary = join([tag("code", rung), tag("span", "not run", class_="chip missing")])
            reason = "This run has no record of the rung; `harness run` measures all of them."
            parts.append(details(summary, not_run(reason), id_=f"rung-{rung}"))
            continue
        parts.append(_rung(rung, records.get(rung), items))
    lead = (
        "The same samples are followed from text to trained weights. The first rung that differs "
        "is where to look. A truth comes from independent code or arithmetic; an observed golden "
        "is an earlier measurement on the same device and stack."
    )
    return section("rungs", "Results by rung", tag("p", lead, class_="soft"), *parts)
