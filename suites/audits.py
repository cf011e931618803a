"""Audits of the trainings in suites/trainings, in this process: opened, measured and judged."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import torch
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from harness.judging.audit.asking import assembled, rungs, user_training
from harness.judging.audit.judge import AuditJudgement, judge
from harness.judging.workers.resolve import Request, new_context
from harness.measuring.audit.run import audited as rung_record
from harness.measuring.audit.run import close_session, open_session
from harness.measuring.snapshots.source import STAND_IN, resolve
from harness.records.audit import Audit
from harness.records.context import Scale
from harness.records.record import write_record

TRAININGS = Path(__file__).parent / "trainings"


@dataclass(frozen=True)
class Mistake:
    """A mistake as people make it: an edit of a training's text. training: its file's name without
    `.py`. edits: (old, new) texts, each old one there exactly once. finds: the metric id that must
    turn red, at its rung and before any other. loss_on: as the command has it. fast: tried in
    every run of the suites, the others in the slow ones."""

    name: str
    training: str
    edits: tuple[tuple[str, str], ...]
    finds: str
    loss_on: str = ""
    fast: bool = False

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


def stated(source: str, name: str) -> object:
    """The value of a training's line `NAME = …`; None without such a line."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            return ast.literal_eval(node.value)
    return None


def needs(source: str) -> dict[str, str]:
    """What a training says that it needs, as `NEEDS = {distribution: versions}`; nothing without
    such a line."""
    there = stated(source, "NEEDS")
    return dict(there) if isinstance(there, dict) else {}


def lacks(source: str) -> str:
    """The releases and the device (`DEVICE = "cuda"`) that a training needs and that are not here,
    as a sentence; '' where all are."""
    there = {name: version(name) for name in needs(source)}
    absent = [
        f"{name}{versions}, here is {there[name]}"
        for name, versions in needs(source).items()
        if not SpecifierSet(versions).contains(there[name], prereleases=True)
    ]
    if stated(source, "DEVICE") == "cuda" and not torch.cuda.is_available():
        absent.append("a CUDA device")
    return f"needs {'; '.join(absent)}" if absent else ""


def model_of(training: Path) -> Path:
    """The tiny model that a training trains: of the family that it says (`TINY = "…"`), else the
    stand-in."""
    other = stated(training.read_text("utf-8"), "TINY")
    return resolve(f"tiny:{other}").snapshot if other else STAND_IN


def audited(
    training: Path, out: Path, only: Sequence[str] = (), *, loss_on: str = "", steps: int = 2
) -> tuple[Audit, AuditJudgement]:
    """A training's audit and its judgement. only: rungs, all by default."""
    wanted = tuple(rung for rung in rungs() if not only or rung in only)
    user = user_training(training, steps=steps, loss_on=loss_on)
    request = Request("current", "", "", threads=2, training=user)
    context = new_context(request, out, Path(sys.executable), Scale(), print)
    with mock.patch.dict(os.environ, {"MODEL": str(model_of(training))}):
        open_session(context)
        for rung in wanted:
            write_record(rung_record(context, rung), out)
    close_session(context)
    document = assembled(context, "current")
    document = replace(document, missing={r: m for r, m in document.missing.items() if r in wanted})
    return document, judge(document)


def red(judgement: AuditJudgement) -> list[str]:
    """The metric ids of the findings, those that another explains left out, in ladder order."""
    return [item.check.metric_id for item in judgement.findings]


def known_here() -> list[str]:
    """What is rightly found of every training with pictures on the installed release: it trains on
    counted positions (known_changes/mrope-in-training.toml)."""
    return ["inputs.positions"] if Version(version("transformers")) < Version("4.47") else []
