"""Findings as cards: what, where, on what evidence, with what effect, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.errors import Lack
from harness.judging.goldens.expected import expected_path
from harness.judging.goldens.judgement import MISSING, Facts, Judged, Judgement
from harness.judging.report.html.markup import Child, Html, join, limited, prose, rows, tag
from harness.judging.report.html.sections import section
from harness.judging.report.html.textdiff import difference
from harness.judging.report.html.values import (
    allowed,
    effect,
    how_chip,
    text_of,
    tone,
    verdict_chip,
)
from harness.records.recipes import recipe_words
from harness.records.record import Verdict

# A card names this many of the findings that share its reason.
MOST_NAMES = 12


def listed_in(facts: Facts) -> str:
    """The list of these conditions' known findings, as it is called under golden/expected."""
    path = expected_path(facts.stack_name, facts.recipe_name, family=facts.family)
    return path.relative_to(expected_path(facts.stack_name).parent).as_posix()


def _advice(item: Judged, facts: Facts) -> str:
    recipe = recipe_words(facts.recipe)
    probe = " ".join(["harness", "probe", item.rung, *recipe])
    if item.kind == "expected":
        file = listed_in(facts)
        return (
            f"Check whether the change is right; then update `golden/expected/{file}`, "
            "which must list exactly what this stack shows."
        )
    if item.first_look is not None:
        return "Nothing: it did not come back."
    if item.accepted:
        return "Nothing in this run: the `--accept` file lists it."
    if item.verdict is Verdict.NOT_RUN and item.lack is Lack.METRIC:
        return f"Measure the rung again with this version: `{probe}`."
    if item.verdict is Verdict.NOT_RUN:
        if item.lack is Lack.WEIGHTS:
            return "Give a model that has weights: `--model` or HARNESS_MODEL."
        if item.lack is Lack.CUDA:
            return f"Measure it on a machine with CUDA: `{probe}`."
        return f"Remove the reason, then measure again: `{probe}`."
    if item.kind == "none":
        return "Look at the value itself, or compare two stacks on the same data."
    if item.verdict is Verdict.NOT_COMPARABLE:
        return "Repeat the measurement under the same conditions as the golden's."
    if item.verdict is Verdict.BROKEN:
        return f"Start at this error: `{probe}`. Later rungs that need the same call fail with it."
    if item.kind == "observed":
        return (
            "Find what changed on this machine or stack. If the change is meant: "
            f'`{" ".join(["harness", "golden", "update", item.finding, *recipe])} --reason "…"`.'
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


def _card(group: Sequence[Judged], facts: Facts, known: Mapping[str, str]) -> Html:
    item = group[0]
    names = [tag("code", i.finding) for i in group[:MOST_NAMES]]
    noun = "values" if tone(item) == "missing" else "findings"
    title = tag("h4", names[0] if len(group) == 1 else f"{len(group)} {noun} at {item.rung}")
    lines = [_line("Rung", item.rung)]
    if len(group) > 1 and not _measured(group):
        more = f" … and {len(group) - MOST_NAMES} more below" if len(group) > MOST_NAMES else None
        lines.append(_line("Findings", join([join(names, ", "), more])))
    if item.reason:
        what = "Error" if item.verdict is Verdict.BROKEN else "Reason"
        if item.kind in {"truth", "observed"} and item.verdict is not Verdict.NOT_RUN:
            what = what if item.verdict is Verdict.BROKEN else "The rule"
        lines.append(_line(what, limited(item.reason, 900)))
    if item.evidence and len({i.evidence for i in group}) == 1:
        lines.append(_line("Evidence", limited(item.evidence, 900)))
    if len(group) == 1 and item.now is not None and item.kind != "expected":
        ids = join(
            [
                text_of(item.now, item.unit),
                " instead of ",
                text_of(item.golden, item.unit),
                f" (allowed: {allowed(item.band, item.unit)}) ",
                how_chip(item.how),
            ]
        )
        lines.append(_line("Found", ids))
    if item.first_look is not None:
        first = [f"{i.finding}: {text_of(i.first_look, i.unit)}" for i in group]
        lines.append(_line("At first", "; ".join(first)))
    if len(group) == 1 and effect(item):
        lines.append(_line("Effect", effect(item)))
    why = [
        known[i.finding]
        for i in group
        if i.known and known.get(i.finding, i.evidence) != i.evidence
    ]
    if why and item.kind != "expected":
        lines.append(_line("Why it is known", limited("; ".join(dict.fromkeys(why)), 900)))
    if not item.known:
        lines.append(_line("What to do", prose(_advice(item, facts))))
    return tag(
        "article",
        tag("header", verdict_chip(item), title),
        tag("dl", *lines),
        _evidence(item) if len(group) == 1 else _cases(group),
        class_=f"card {tone(item)}",
    )


def _measured(group: Sequence[Judged]) -> bool:
    return any(item.now is not None for item in group)


def _cases(group: Sequence[Judged]) -> Html | None:
    """Several cases of one metric: their numbers side by side."""
    if not _measured(group):
        return None
    body = [
        (
            tag("code", item.finding.split(".", 1)[-1]),
            text_of(item.golden, item.unit),
            text_of(item.now, item.unit),
            effect(item),
            limited(item.evidence, 200),
            how_chip(item.how),
        )
        for item in group
    ]
    caption = f"{len(group)} cases, allowed: {allowed(group[0].band, group[0].unit)}"
    return rows(caption, ("Case", "Golden", "Now", "Effect", "Evidence", "How"), body)


def _unobserved(group: Sequence[Judged], judgement: Judgement) -> Html:
    """What this device has no number of its own for: one card, and one command for all."""
    metrics = sorted({".".join(item.finding.split(".")[:2]) for item in group})
    command = judgement.calibration
    advice = (
        f"Nothing must be done: the truths are judged without them. `{command}` makes this "
        "device's own, so that a later change here is noticed."
    )
    return tag(
        "article",
        tag("header", verdict_chip(group[0]), tag("h4", f"{len(group)} observed values")),
        tag(
            "dl",
            _line("Metrics", join([tag("code", name) for name in metrics], ", ")),
            _line("Reason", f"no number was observed on {judgement.facts.device_key} yet"),
            _line("What to do", prose(advice)),
        ),
        class_=f"card {tone(group[0])}",
    )


def _groups(items: Iterable[Judged]) -> list[list[Judged]]:
    groups: dict[tuple[str, ...], list[Judged]] = {}
    for item in items:
        # Cases of one metric that differ for one reason belong together; so does everything
        # that one error or one missing condition stops.
        shared = item.verdict in {Verdict.NOT_RUN, Verdict.BROKEN} and item.kind != "expected"
        own = "" if shared else ".".join(item.finding.split(".")[:2]) + item.kind
        # A text's difference is its evidence, so it keeps its own card.
        if isinstance(item.now, str) and item.unit != "digest":
            own = item.finding + item.kind
        known = str(item.known or item.accepted)
        key = (item.rung, item.verdict, item.reason, known, own)
        if item.is_unobserved:
            key = ("", item.verdict, item.kind, known, "")
        groups.setdefault(key, []).append(item)
    return list(groups.values())


def findings(judgement: Judgement, known: Mapping[str, str]) -> Html:
    """Unexpected findings, then known ones, then what was not run; each with what to do.

    known: the stack's reason for each finding that it expects.
    """
    facts = judgement.facts
    list_file = listed_in(facts)
    parts: list[Child] = []
    # What was only not run says nothing about a training: it comes after what is wrong.
    known_items = sorted(judgement.known, key=lambda item: item.verdict in MISSING)
    listed = (
        f"What this stack is known to do (`golden/expected/{list_file}`): nothing broke today, "
        "but a training with these libraries has the faults below. They stay in every report, and "
        "the run turns red on the day one disappears or grows."
    )
    gone = (
        "Outside its band at first, and inside when its rung was measured again, alone: noise, "
        "which raises nothing."
    )
    twice = [("Spurious", judgement.spurious, "", gone)] if judgement.spurious else []
    for title, items, none, note in (
        ("Unexpected", judgement.red, "No unexpected finding.", ""),
        *twice,
        ("Known", known_items, "No known finding applies to this stack and device.", listed),
        ("Not run", judgement.missing, "Everything that has a golden was measured.", ""),
    ):
        parts.append(tag("h3", f"{title} ({len(items)})"))
        if note and any(item.known or item.first_look is not None for item in items):
            parts.append(tag("p", prose(note), class_="soft"))
        cards = [
            _unobserved(group, judgement) if group[0].is_unobserved else _card(group, facts, known)
            for group in _groups(items)
        ]
        parts.append(join(cards) if cards else tag("p", none, class_="soft"))
    return section("findings", "Findings", *parts)
