"""Audits of the trainings in suites/trainings, in this process: opened, measured and judged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from harness.judging.audit.asking import AuditSpec, assembled, rungs
from harness.judging.audit.judge import AuditJudgement, judge
from harness.measuring.audit.run import audit
from harness.measuring.snapshots.source import STAND_IN
from harness.records.audit import Audit
from harness.records.jobs import AuditJob

TRAININGS = Path(__file__).parent / "trainings"


@dataclass(frozen=True)
class Mistake:
    """A mistake as people make it: an edit of a training's text. training: its file's name without
    `.py`. edits: (old, new) texts, each old one there exactly once. finds: the metric id that must
    turn red, at its rung and before any other. loss_on: as the command has it."""

    name: str
    training: str
    edits: tuple[tuple[str, str], ...]
    finds: str
    loss_on: str = ""

    @property
    def rung(self) -> str:
        """Where it must be found."""
        return self.finds.split(".", 1)[0]

    def source(self) -> str:
        """The training with the mistake. Raises ValueError where an edit no longer applies."""
        text = (TRAININGS / f"{self.training}.py").read_text("utf-8")
        for old, new in self.edits:
            if text.count(old) != 1:
                raise ValueError(f"{self.name}: {old!r} stands {text.count(old)} times")
            text = text.replace(old, new)
        return text


def audited(
    training: Path, out: Path, only: Sequence[str] = (), *, loss_on: str = "", steps: int = 2
) -> tuple[Audit, AuditJudgement]:
    """A training's audit and its judgement. only: rungs, all by default."""
    wanted = tuple(rung for rung in rungs() if not only or rung in only)
    job = AuditJob(training, "", out, wanted, steps, loss_on, threads=2, limit_s=600.0)
    with mock.patch.dict(os.environ, {"MODEL": str(STAND_IN)}):
        audit(job, lambda: None)
    spec = AuditSpec(training, "", "current", steps, loss_on, threads=2, limit_s=600.0)
    document = assembled(spec, training.read_text("utf-8"), out, {})
    return document, judge(document)


def red(judgement: AuditJudgement) -> list[str]:
    """The metric ids of the findings, those that another explains left out, in ladder order."""
    return [item.check.metric_id for item in judgement.findings]
