"""What an audit found, as cards, and every check below them rung by rung."""

from __future__ import annotations

from collections import Counter

from harness.judging.audit.advice import shown, worded
from harness.judging.audit.judge import AuditJudgement, Judged, Standing
from harness.judging.report.audit.view import title_of
from harness.judging.report.html.markup import Child, Html, details, join, limited, prose, rows, tag
from harness.judging.report.html.sections import section
from harness.judging.report.html.values import how_chip
from harness.records.audit import Audit, Basis, Relation
from harness.records.record import Status

TONES = {
    Standing.FINE: ("good", "✓ holds"),
    Standing.WRONG: ("bad", "≠ wrong"),
    Standing.BROKEN: ("bad", "✗ raised"),
    Standing.QUESTION: ("known", "? asked"),
    Standing.NOT_JUDGED: ("missing", "○ not judged"),
    Standing.RECORDED: ("missing", "recorded"),
}
BASES = {
    Basis.ARITHMETIC: "arithmetic of your batch, model and settings",
    Basis.ORACLE: "the model family's own rule, computed without its library",
    Basis.IDENTITY: "two computations that must agree",
    Basis.DECLARED: "what your settings say",
}
RELATIONS = {
    Relation.EQUAL: "",
    Relation.AT_MOST: "at most ",
    Relation.AT_LEAST: "at least ",
    Relation.RECORDED: "",
}


def _unit(unit: str) -> str:
    return "" if unit in {"1", "text", "share"} else f" {unit}"


def value_of(item: Judged) -> str:
    """What was measured, with its unit; of what raised, the error."""
    check = item.check
    if check.failure is not None:
        return f"{check.failure.type}: {check.failure.message}"
    if check.status is Status.NOT_RUN:
        return check.reason
    return shown(check.value, check.unit) + _unit(check.unit)


def must_be(item: Judged) -> str:
    """What it must be, with what is let pass; `—` for what is only recorded."""
    check = item.check
    if check.relation is Relation.RECORDED or check.status is not Status.OK:
        return "—"
    tail = f" ± {shown(check.tolerance, check.unit)}" if check.tolerance else ""
    return f"{RELATIONS[check.relation]}{shown(check.truth, check.unit)}{tail}{_unit(check.unit)}"


def _line(name: str, value: Child) -> Html:
    return join([tag("dt", name), tag("dd", value)])


def _card(item: Judged, symptoms: list[Judged]) -> Html:
    check = item.check
    shade, words = TONES[item.standing]
    lines: list[Html] = []
    if check.failure is None:
        lines.append(_line("Effect", prose(limited(worded(item.advice.effect, check), 900))))
    lines.append(_line("Change", prose(limited(worded(item.advice.change, check), 900))))
    if item.line:
        code = tag("pre", limited(item.line.text, 300), class_="command")
        lines.append(_line(f"Line {item.line.number}", code))
    if check.failure:
        failed = f"{value_of(item)} ({check.failure.where})"
        lines.append(_line("Error", limited(failed, 900)))
    else:
        lines.append(_line("Is", join([limited(value_of(item), 300), " ", how_chip(check.how)])))
        lines.append(_line("Must be", limited(f"{must_be(item)}: {BASES[check.basis]}", 300)))
    if check.evidence:
        lines.append(_line("Look at", limited(", ".join(check.evidence), 600)))
    if symptoms:
        named = join([tag("code", s.check.finding_id) for s in symptoms], ", ")
        lines.append(_line("With it moved", named))
    return tag(
        "article",
        tag(
            "header",
            tag("h3", title_of(item)),
            tag("span", words, class_=f"chip {shade}"),
            tag("code", check.finding_id),
        ),
        tag("dl", *lines),
        class_=f"card {shade}",
    )


def findings(judgement: AuditJudgement) -> Html:
    """What to change, then what only the user can say."""
    red = judgement.of(Standing.WRONG, Standing.BROKEN)
    parts: list[Child] = []
    for item in judgement.findings:
        under = [s for s in red if s.under == item.check.finding_id]
        parts.append(_card(item, under))
    if judgement.questions:
        parts.append(tag("h3", "Questions to you"))
        parts += [_card(item, []) for item in judgement.questions]
    lead = "In the order of the ladder, from text to trained weights: mend the first one first."
    empty = tag("p", "Nothing that was judged is wrong.")
    return section(
        "findings", "Findings", *([tag("p", lead, class_="soft"), *parts] if parts else [empty])
    )


def by_rung(audit: Audit, judgement: AuditJudgement) -> Html:
    """Every check with what it is and must be."""
    parts: list[Child] = []
    for rung in audit.rungs:
        items = [item for item in judgement.items if item.check.rung == rung.rung]
        counts = Counter(TONES[item.standing] for item in items)
        chips = [
            tag("span", f"{counts[tone]} {tone[1]}", class_=f"chip {tone[0]}")
            for tone in dict.fromkeys(TONES.values())
            if counts[tone]
        ]
        lines = [_check(item) for item in items]
        table = rows(
            f"{rung.rung}: {len(items)} checks in {rung.seconds:.1f} s",
            ("Check", "Stands", "Is", "Must be"),
            lines,
        )
        wrong = any(TONES[item.standing][0] == "bad" for item in items)
        parts.append(
            details(
                join([tag("code", rung.rung), *chips]),
                table,
                opened=wrong,
                id_=f"rung-{rung.rung}",
            )
        )
    return section("rungs", "Every check", *parts)


def _check(item: Judged) -> tuple[Child, ...]:
    shade, words = TONES[item.standing]
    fine = item.standing in {Standing.FINE, Standing.RECORDED, Standing.NOT_JUDGED}
    title = worded(item.advice.fine, item.check) if fine else title_of(item)
    name = item.check.finding_id.split(".", 1)[1]
    return (
        join([title, tag("div", tag("code", name), class_="soft small")]),
        tag("span", words, class_=f"chip {shade}"),
        limited(value_of(item), 240),
        limited(must_be(item), 240),
    )


def not_judged(judgement: AuditJudgement) -> Html:
    """What was not judged, each reason once."""
    reasons: dict[str, list[str]] = {}
    for rung, reason in judgement.missing.items():
        reasons.setdefault(reason, []).append(rung)
    for item in judgement.of(Standing.NOT_JUDGED):
        reasons.setdefault(item.check.reason, []).append(item.check.finding_id)
    if not reasons:
        return section("missing", "Not judged", tag("p", "Everything was judged."))
    items = [
        tag("li", reason, " ", join([tag("code", limited(n, 80)) for n in names], ", "))
        for reason, names in reasons.items()
    ]
    return section("missing", "Not judged", tag("ul", *items))
