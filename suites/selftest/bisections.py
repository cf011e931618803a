"""A bisect's bench, question and answer without any release installed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from packaging.version import Version

from harness.judging.bisect.answers import (
    FindingAnswer,
)
from harness.judging.bisect.bench import Measured
from harness.judging.bisect.question import Question
from harness.judging.bisect.range import search_range
from harness.judging.bisect.spec import Search
from harness.judging.environments.overlay import Layer
from harness.judging.environments.releases import Release
from harness.judging.workers.resolve import Request
from harness.records.record import Metric, Provenance, Record

VERSIONS = ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"]


SPAN = tuple(Release(Version(v)) for v in VERSIONS)


def record(*metrics: Metric) -> Record:
    provenance = Provenance(
        "reference", "stand-in", "catalogue", "cpu-x", "r", "s", family="qwen2_vl"
    )
    return Record("forward", provenance, metrics)


def metric(value: object, **changes: Any) -> Metric:
    return Metric("forward", "loss", value=value, **changes)  # type: ignore[arg-type]


class Bench:
    """A bench whose releases show what a table says; a companion moves at 1.3."""

    def __init__(self, shows: dict[str, object], by_companion: bool = False) -> None:
        self.shows, self.by_companion = shows, by_companion
        self.asked: list[tuple[Sequence[str], str]] = []
        self.built = self.extra = 0

    def keep(self, needed: Iterable[Measured]) -> None:
        """Nothing is built, so nothing is dropped."""

    def measure(self, asked: Sequence[str], again: str = "") -> Measured:
        assert (asked, again) not in self.asked, "measured twice"
        self.asked.append((asked, again))
        version = asked[0].split("==")[1]
        shown = self.shows[version]
        default = "2" if version >= "1.3" or "helper==2" in asked else "1"
        if len(asked) > 1 and self.by_companion:
            shown = self.shows["1.3"]
        layer = Layer(
            "reference", tuple(asked), {"helper": default, "x": version}, {"helper": default}, {}
        )
        if isinstance(shown, Exception):
            return Measured(version, layer, {}, str(shown))
        shown_metric = shown if isinstance(shown, Metric) else metric(shown)
        return Measured(version, layer, {"forward": record(shown_metric)})


def ask(bench: Bench, question: Question, *, exhaustive: bool = False) -> FindingAnswer:
    how = Search(Request("reference", "stand-in", "catalogue"), exhaustive=exhaustive)
    return search_range("x", [question], SPAN, bench, how, lambda line: None)[question.finding]  # type: ignore[arg-type]


LOSS = Question("forward.loss")
