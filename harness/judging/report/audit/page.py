"""An audit's page, for a person who never saw the tool."""

from __future__ import annotations

from pathlib import Path

from harness.judging.audit.advice import shown, worded
from harness.judging.audit.judge import AuditJudgement, Judged, Standing
from harness.judging.report.audit.view import headline, three_sentences, title_of
from harness.judging.report.html.document import document
from harness.judging.report.html.markup import Html, join, rows, tag
from harness.judging.report.html.sections import section
from harness.judging.report.run.tokens import token_map
from harness.records.audit import Audit
from harness.records.files import write_atomically

CONTENTS = (
    ("tokens", "What is learned from"),
    ("components", "What trains"),
    ("findings", "Findings"),
    ("checks", "Every check"),
)


def page_of(audit: Audit, judgement: AuditJudgement) -> Html:
    """The whole page."""
    tone = "bad" if judgement.findings else "known" if judgement.questions else "good"
    sentences = [tag("p", sentence) for sentence in three_sentences(audit, judgement)]
    banner = tag("div", tag("h1", headline(judgement)), *sentences, class_=f"verdict {tone}")
    top = join([tag("p", f"Audit of {Path(audit.training).name}", class_="eyebrow"), banner])
    return document(
        f"{headline(judgement)} · {Path(audit.training).name}",
        top,
        CONTENTS,
        _tokens(audit),
        _components(audit),
        _findings(judgement),
        _checks(judgement),
    )


def _tokens(audit: Audit) -> Html:
    drawn = [row for rung in audit.rungs for row in rung.rows]
    maps = [
        join([tag("h3", f"Row {row.row}: {row.sample}"), token_map(row.tokens)]) for row in drawn
    ]
    return section("tokens", "What is learned from", *maps)


def _components(audit: Audit) -> Html:
    lines = [
        (c.component, f"{c.parameters:,}", f"{c.trainable:,}", f"{c.bytes:,}", str(c.adapted))
        for rung in audit.rungs
        for c in rung.components
    ]
    columns = ("Component", "Parameters", "Trainable", "Bytes", "Linears adapted")
    return section("components", "What trains", rows("The model by component", columns, lines))


def _findings(judgement: AuditJudgement) -> Html:
    cards = [_card(item) for item in (*judgement.findings, *judgement.questions)]
    return section("findings", "Findings", *(cards or [tag("p", "There is none.")]))


def _card(item: Judged) -> Html:
    shade = "known" if item.standing is Standing.QUESTION else "bad"
    return tag(
        "article",
        tag("header", tag("h3", title_of(item))),
        tag("p", worded(item.advice.effect, item.check)),
        tag("p", worded(item.advice.change, item.check)),
        class_=f"card {shade}",
    )


def _checks(judgement: AuditJudgement) -> Html:
    lines = [
        (
            tag("code", item.check.finding_id),
            item.standing.value,
            shown(item.check.value, item.check.unit),
            shown(item.check.truth, item.check.unit),
        )
        for item in judgement.items
    ]
    return section(
        "checks", "Every check", rows("Checks", ("Check", "Stands", "Is", "Must be"), lines)
    )


def render(audit: Audit, judgement: AuditJudgement, out: Path) -> Path:
    """Write the page atomically; returns `out`."""
    write_atomically(out, page_of(audit, judgement).encode("utf-8"))
    return out
