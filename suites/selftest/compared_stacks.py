"""A comparison of two stacks of four packages, bisected without any of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from harness.judging.bisect import blaming, from_compare
from harness.judging.bisect.answers import Bisection
from harness.judging.bisect.bench import Measured
from harness.judging.bisect.spec import ComparisonSpec, Search, relative_band
from harness.judging.environments.overlay import Layer
from harness.judging.environments.releases import Release
from harness.judging.workers.resolve import Request
from harness.records.context import Context
from harness.records.files import write_json
from harness.records.record import Metric, Provenance, Record

OLD = {"a": "1.0", "b": "2.0", "c": "3.0", "d": "4.0"}


NEW = {"a": "1.9", "b": "2.9", "c": "3.9", "d": "4.9"}


class Bench:
    """A base with four packages. `pair` needs a from 1.4 with b from 2.7; `two` moves with c from
    3.2 or with d from 4.5, each by itself; `one` with c from 3.8 alone. `near` moves by a last
    digit with a from 1.2 and by a half with b from 2.5; `gone` is in no record."""

    python = Path("python")
    built = extra = 0

    def __init__(self, broken: str = "") -> None:
        """broken: a package that cannot be installed alone."""
        self.broken = broken
        self.context = Context(
            "reference",
            "stand-in",
            "catalogue",
            Path(),
            True,
            Path(),
            model_digest="m",
            family="qwen2_vl",
        )

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def keep(self, needed: Iterable[Measured]) -> None:
        """Nothing is built."""

    def measure(self, asked: Sequence[str], again: str = "") -> Measured:
        if [Requirement(text).name for text in asked] == [self.broken]:
            return Measured("x", None, {}, f"{asked[0]} does not resolve")
        here = {n: Version(v) for n, v in OLD.items()}
        for text in asked:
            wish = Requirement(text)
            here[wish.name] = Version(next(iter(wish.specifier)).version)
        at = {
            n: here[n] >= Version(v)
            for n, v in {"a": "1.4", "b": "2.7", "c": "3.2", "d": "4.5"}.items()
        }
        shown = {
            "pair": at["a"] and at["b"],
            "two": at["c"] or at["d"],
            "one": here["c"] >= Version("3.8"),
            "near": 0.4 + 1e-8 * (here["a"] >= Version("1.2")) + (here["b"] >= Version("2.5")) / 2,
        }
        place = Provenance(
            "reference", "stand-in", "catalogue", "cpu-x", "r", "s", family="qwen2_vl"
        )
        metrics = tuple(Metric("forward", name, value=float(v)) for name, v in shown.items())
        layer = Layer("reference", tuple(asked), {n: str(v) for n, v in here.items()}, {}, {})
        return Measured("x", layer, {"forward": Record("forward", place, metrics)})


def finding(name: str, **changes: Any) -> dict[str, Any]:
    """One of a comparison's document."""
    side = {"status": "OK", "value": 0, "how": "measured", "error": "", "right": None}
    return {
        "id": name,
        "rung": name.split(".")[0],
        "metric": name.split(".")[1],
        "cause": "",
        "accepted": False,
        "standing": "",
        "old": side,
        "new": {**side, "value": 1},
        "band": {"kind": "exact", "limit": 0.0, "origin": "exact"},
        **changes,
    }


class Comparison:
    """Runs `bisect --from-compare` on a comparison of these findings."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.bench = Bench()
        self.how = Search(Request("reference", "stand-in", "catalogue"))

    def bisect(
        self,
        *findings: dict[str, Any],
        wanted: Sequence[str] = (),
        band: float | None = None,
        **request: Any,
    ) -> Bisection:
        """The answer; how it was measured is kept."""
        write_json(
            self.folder / "comparison.json",
            {
                "schema": 1,
                "old": "reference",
                "new": "latest",
                "packages": {n: [OLD[n], NEW[n]] for n in OLD},
                "facts": {
                    "model": "stand-in",
                    "model_digest": "m",
                    "data": "catalogue",
                    "device_key": "cpu-x",
                },
                "findings": findings,
            },
        )

        def published(package: str) -> tuple[Release, ...]:
            major = OLD[package].split(".")[0]
            return tuple(Release(Version(f"{major}.{i}")) for i in range(10))

        def open_bench(how: Search, *words: object) -> Bench:
            self.how = how
            return self.bench

        self.monkeypatch.setattr(from_compare, "open_bench", open_bench)
        self.monkeypatch.setattr(from_compare, "installed", lambda python: OLD)
        self.monkeypatch.setattr(blaming, "requires", lambda python, package: frozenset())
        self.monkeypatch.setattr(from_compare.releases, "published", published)
        how = Search(Request("current", "stand-in", "catalogue", **request))
        spec = ComparisonSpec(self.folder, tuple(wanted), how, relative_band(band))
        return from_compare.bisect_comparison(spec, lambda line: None)


def edges(document: Bisection, name: str) -> list[tuple[str, str, str]]:
    answer = document.findings[f"forward.{name}"]
    return [(e.package, e.before, e.after) for e in answer.boundaries]


ROUNDING = {"kind": "relative", "limit": 7.6e-6, "origin": "rounding: 64 × 2^-23"}
