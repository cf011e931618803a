"""An audit on the terminal: three sentences, then what to change, then what was not judged."""

from __future__ import annotations

from rich.console import Console

from harness.judging.audit.advice import worded
from harness.judging.audit.judge import AuditJudgement, Judged, Standing
from harness.judging.report.audit.fitting import fitting
from harness.judging.report.audit.view import headline, three_sentences, title_of
from harness.records.audit import Audit


def terminal(audit: Audit, judgement: AuditJudgement, console: Console) -> None:
    """Print an audit."""
    console.print(f"{headline(judgement)} · {audit.opened.trainer} on {audit.opened.model}")
    for sentence in three_sentences(audit, judgement):
        console.print(f"  {sentence}", soft_wrap=True)
    for item in (*judgement.findings, *judgement.questions):
        console.print()
        _finding(item, console)
    if fit := fitting(audit):
        console.print(f"\n{fit.sentence}", soft_wrap=True)
    skipped = judgement.of(Standing.NOT_JUDGED)
    if skipped or judgement.missing:
        console.print()
        console.print(f"not judged: {len(skipped) + len(judgement.missing)}")
        for reason in dict.fromkeys(
            [*judgement.missing.values(), *(i.check.reason for i in skipped)]
        ):
            console.print(f"  ○ {reason}", soft_wrap=True)


def _finding(item: Judged, console: Console) -> None:
    mark = {Standing.QUESTION: "?", Standing.BROKEN: "✗"}.get(item.standing, "≠")
    console.print(f"{mark} {item.check.finding_id}  {title_of(item)}", soft_wrap=True)
    failure = item.check.failure
    effect = f"{failure.type}: {failure.message} ({failure.where})" if failure else ""
    console.print(f"  {effect or worded(item.advice.effect, item.check)}", soft_wrap=True)
    console.print(f"  → {worded(item.advice.change, item.check)}", soft_wrap=True)
    if item.line:
        console.print(f"    line {item.line.number}: {item.line.text}", soft_wrap=True)
