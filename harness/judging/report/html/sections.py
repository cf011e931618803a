"""The parts of a page that show a judgement: verdict and results by rung."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.judging.goldens.judgement import Judged, Judgement
from harness.judging.goldens.power import brief, sizes, unseen
from harness.judging.report.html.markup import Child, Html, details, join, limited, prose, rows, tag
from harness.judging.report.html.values import (
    allowed,
    how_chip,
    how_of,
    text_of,
    tone,
    verdict_chip,
)
from harness.records.record import Metric, Record, Status, Verdict

# More values than this that are as they should be are folded away.
MOST_SHOWN = 12


def section(id_: str, title: str, *children: Child) -> Html:
    """One landmark of the page with its heading."""
    heading = tag("h2", title, id=f"{id_}-title")
    return tag("section", heading, *children, id=id_, aria_labelledby=f"{id_}-title")


def stale_accepts(names: Sequence[str]) -> Child:
    """Which accepted ids no longer occur; nothing where all do."""
    if not names:
        return None
    return tag("p", f"The accept file lists findings that no longer occur: {', '.join(names)}.")


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
    counts = tag("ul", *tally, class_="tally", aria_label="Counts")
    return join([banner, counts, *_worth(judgement)])


def _worth(judgement: Judgement) -> list[Html]:
    """In a line what the verdict would have seen, what it cannot and what of unseen faults was
    found, the sizes folded; nothing where that was not looked up."""
    worth = judgement.worth
    if worth is None:
        return []
    by_rung = sizes(worth)
    lines = [
        tag("li", tag("code", rung), ": ", prose("; ".join(told))) for rung, told in by_rung.items()
    ]
    folded = [details("The smallest that would have been seen", tag("ul", *lines))] if lines else []
    line = " ".join(
        filter(None, (brief(worth, judgement.facts.device_key), unseen(judgement.trial)))
    )
    return [tag("p", prose(line)), *folded]


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


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _rung(rung: str, record: Record | None, items: Sequence[Judged]) -> Html:
    counts = Counter(tone(item) for item in items)
    chips = [
        tag("span", f"{counts[shade]} {word}", class_=f"chip {shade}")
        for shade, word in (
            ("good", "as it should be" if counts["good"] == 1 else "as they should be"),
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
        body.append(
            tag(
                "p",
                f"{_count(len(record.metrics), 'value')} in {record.seconds:.1f} s.",
                class_="soft small",
            )
        )
    fine = [item for item in items if tone(item) == "good"]
    for part, folded in (([i for i in items if tone(i) != "good"], False), (fine, True)):
        if not part:
            continue
        ordered = sorted(part, key=lambda i: ("bad", "known", "missing", "good").index(tone(i)))
        state = "as it should be" if folded else "to look at"
        table = rows(
            f"{rung}: {_count(len(part), 'value')} {state}",
            ("Value", "Verdict", "Golden", "Now", "Allowed", "Golden is", "How"),
            [_judged_row(item) for item in ordered],
        )
        # A long list of what is right would hide the next rung.
        long = folded and len(part) > MOST_SHOWN
        body.append(details(f"{len(part)} as they should be", table) if long else table)
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
