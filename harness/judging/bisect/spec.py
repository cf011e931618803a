"""What a bisect is asked, frozen: what moved, between which ends, and how it is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput
from harness.judging.bisect.question import Question
from harness.judging.goldens.golden import Band, BandKind
from harness.judging.workers.resolve import Request
from harness.records.context import data_words
from harness.records.recipes import recipe_digest, recipe_words
from harness.records.record import RUNGS


@dataclass(frozen=True)
class Search:
    """How releases are measured and searched.

    request: model, data, device and recipe; its stack is the base that everything but the moved
    package stays at. limit_s: seconds for one rung. monotonic: trust that each answer changes only
    once. exhaustive: evaluate every release.
    """

    request: Request
    limit_s: float = 600.0
    monotonic: bool = False
    exhaustive: bool = False

    @property
    def base(self) -> str:
        """The stack that all else stays at."""
        return self.request.stack


@dataclass(frozen=True)
class RangeSpec:
    """The releases of one package between two ends. wheels: resolve and install from this folder
    alone. pre, yanked: such releases too."""

    package: str
    good: str
    bad: str
    questions: tuple[Question, ...]
    search: Search
    wheels: Path | None = None
    pre: bool = False
    yanked: bool = False


@dataclass(frozen=True)
class ComparisonSpec:
    """The findings of the comparison in `folder`: those wanted, else all that stand for
    themselves. band: stands before the comparison's own. packages: only these are swapped; none
    named: every one that differs."""

    folder: Path
    wanted: tuple[str, ...]
    search: Search
    band: Band | None = None
    packages: tuple[str, ...] = ()


def questions(
    findings: Sequence[str], metrics: Sequence[str], band: Band | None
) -> tuple[Question, ...]:
    """What is asked: findings by their verdict, metrics by their value.

    Raises BadInput where nothing is asked, or for an id whose rung does not exist.
    """
    asked = [Question(finding, by_verdict=True) for finding in findings]
    asked += [Question(metric, band) for metric in metrics]
    if not asked:
        raise BadInput(
            "Say what moved: --finding ID (judged against its golden) or --metric RUNG.METRIC."
        )
    for question in asked:
        if question.rung not in RUNGS or "." not in question.finding:
            raise BadInput(
                f"{question.finding!r} names no metric; write RUNG.METRIC[.CASE] with one of "
                f"{', '.join(RUNGS)}."
            )
    return tuple(asked)


def relative_band(limit: float | None) -> Band | None:
    """The band of `--band`, None without it. Raises BadInput where it is no part of a value."""
    if limit is None:
        return None
    if not 0 <= limit < math.inf:
        raise BadInput(f"--band is {limit}; give a part of the value, as 0.01.")
    return Band(BandKind.RELATIVE, limit, "asked for with --band")


def probe_options(request: Request) -> tuple[str, ...]:
    """The words that make `harness probe` measure with the same model, data, recipe and device."""
    words: list[str] = []
    if request.training is not None:
        threads = ["--threads", str(request.threads)] if request.threads else []
        return ("--training", request.training.text, *threads)
    for name, source in (("model", request.model), ("data", request.data)):
        words += [f"--{name}", str(Path(source).resolve()) if Path(source).exists() else source]
    words += data_words(request.columns, request.splits)
    words += recipe_words(recipe_digest(request.recipe))
    threads = ["--threads", str(request.threads)] if request.threads else []
    return (*words, "--device", request.device, *threads)
