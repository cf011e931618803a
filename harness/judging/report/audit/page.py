"""An audit's page, for a person who never saw the tool: three answers, then what they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.judging.audit.judge import AuditJudgement, Standing
from harness.judging.report.audit.cards import by_rung, findings, not_judged
from harness.judging.report.audit.parts import components, conditions, facts, supervision
from harness.judging.report.audit.view import headline, three_sentences
from harness.judging.report.html.document import document
from harness.judging.report.html.markup import Html, join, prose, tag
from harness.records.audit import Audit
from harness.records.files import write_atomically

CONTENTS = (
    ("tokens", "What it learns from"),
    ("components", "What trains"),
    ("findings", "Findings"),
    ("rungs", "Every check"),
    ("missing", "Not judged"),
    ("conditions", "Conditions"),
)
QUESTIONS = ("What does it learn from?", "What is wrong?", "What to change?")


def _tone(judgement: AuditJudgement) -> str:
    if judgement.findings:
        return "bad"
    if judgement.exit_code == 3:
        return "missing"
    return "known" if judgement.questions else "good"


def _top(audit: Audit, judgement: AuditJudgement, kept: Sequence[str]) -> Html:
    asks = [
        tag("div", tag("h2", question), tag("p", prose(sentence), class_="answer"), class_="ask")
        for question, sentence in zip(QUESTIONS, three_sentences(audit, judgement), strict=True)
    ]
    skipped = len(judgement.of(Standing.NOT_JUDGED)) + len(judgement.missing)
    tiles = [
        (len(judgement.findings), "to change", "bad" if judgement.findings else "missing"),
        (len(judgement.questions), "asked of you", "known" if judgement.questions else "missing"),
        (len(judgement.of(Standing.FINE)), "checks hold", "good"),
        (skipped, "not judged", "missing"),
    ]
    tally = [
        tag("li", tag("b", f"{count:,}"), tag("span", name), class_=f"tile {shade}")
        for count, name, shade in tiles
    ]
    return join(
        [
            tag("p", f"Audit of a training · {Path(audit.training).name}", class_="eyebrow"),
            tag("div", tag("h1", headline(judgement)), class_=f"verdict {_tone(judgement)}"),
            tag("div", *asks, class_="asks"),
            *([tag("ul", *(tag("li", prose(line.strip())) for line in kept))] if kept else []),
            tag("ul", *tally, class_="tally", aria_label="Counts"),
            facts(audit),
        ]
    )


def page_of(audit: Audit, judgement: AuditJudgement, kept: Sequence[str] = ()) -> Html:
    """The whole page; equal audits give equal bytes. kept: lines on the training's golden."""
    return document(
        f"{headline(judgement)} · {Path(audit.training).name}",
        _top(audit, judgement, kept),
        CONTENTS,
        supervision(audit),
        components(audit),
        findings(judgement),
        by_rung(audit, judgement),
        not_judged(judgement),
        conditions(audit),
    )


def render(audit: Audit, judgement: AuditJudgement, out: Path, kept: Sequence[str] = ()) -> Path:
    """Write the page atomically; returns `out`."""
    write_atomically(out, page_of(audit, judgement, kept).encode("utf-8"))
    return out
