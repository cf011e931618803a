"""From a comparison to packages and their releases, over made-up stacks whose causes are known."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from harness import bisect_compare
from harness.cli import main
from harness.context import Context
from harness.errors import BadInput
from harness.evaluation import Measured
from harness.overlay import Layer
from harness.record import Metric, Provenance, Record, read_json, write_json
from harness.releases import Release
from harness.report.bisected import page, sentences

OLD = {"a": "1.0", "b": "2.0", "c": "3.0", "d": "4.0"}
NEW = {"a": "1.9", "b": "2.9", "c": "3.9", "d": "4.9"}


class Bench:
    """A base with four packages. `pair` needs a from 1.4 with b from 2.7; `two` moves with c from
    3.2 or with d from 4.5, each by itself; `one` with c from 3.8 alone."""

    python = Path("python")
    built = extra = 0

    def __init__(self) -> None:
        self.context = Context(
            "reference", "stand-in", "catalogue", Path(), True, Path(), model_digest="m"
        )

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def keep(self, needed: Iterable[Measured]) -> None:
        """Nothing is built."""

    def measure(self, asked: Sequence[str], again: str = "") -> Measured:
        here = {n: Version(v) for n, v in OLD.items()}
        for text in asked:
            wish = Requirement(text)
            here[wish.name] = Version(next(iter(wish.specifier)).version)
        at = {n: here[n] >= Version(v) for n, v in
              {"a": "1.4", "b": "2.7", "c": "3.2", "d": "4.5"}.items()}  # fmt: skip
        shown = {
            "pair": at["a"] and at["b"],
            "two": at["c"] or at["d"],
            "one": here["c"] >= Version("3.8"),
        }
        place = Provenance("reference", "stand-in", "catalogue", "cpu-x", "r", "s")
        metrics = tuple(Metric("forward", name, value=int(v)) for name, v in shown.items())
        layer = Layer("reference", tuple(asked), {n: str(v) for n, v in here.items()}, {}, {})
        return Measured("x", layer, {"forward": Record("forward", place, metrics)})


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    write_json(tmp_path / "comparison.json", {
        "schema": 1, "old": "reference", "new": "latest",
        "packages": {n: [OLD[n], NEW[n]] for n in OLD},
        "facts": {"model": "stand-in", "model_digest": "m", "data": "catalogue"},
        "findings": [
            {"id": f"forward.{n}", "rung": "forward", "cause": "", "accepted": False}
            for n in ("pair", "two", "one")
        ],
    })  # fmt: skip

    def published(package: str) -> tuple[Release, ...]:
        major = OLD[package].split(".")[0]
        return tuple(Release(Version(f"{major}.{i}")) for i in range(10))

    monkeypatch.setattr(bisect_compare, "make_bench", lambda *words: Bench())
    monkeypatch.setattr(bisect_compare, "installed", lambda python: OLD)
    monkeypatch.setattr(bisect_compare, "requires", lambda python, package: frozenset())
    monkeypatch.setattr(bisect_compare.releases, "published", published)
    arguments = argparse.Namespace(
        from_compare=str(tmp_path), finding=None, out=tmp_path / "out", json=False,
        package=None, good=None, bad=None, metric=None, wheels=None,
        assume_monotonic=False, exhaustive=False, model="stand-in", data="catalogue",
        device="auto", threads=None, limit=600.0,
    )  # fmt: skip
    assert bisect_compare.from_compare(arguments) == 0
    found: dict[str, Any] = read_json(tmp_path / "out" / "bisect.json")
    return found


def edges(document: dict[str, Any], name: str) -> list[tuple[str, str, str]]:
    found = document["findings"][f"forward.{name}"]
    return [
        (e.get("package", found["package"]), e["before"], e["after"]) for e in found["boundaries"]
    ]


def test_one_package_and_its_release(document: dict[str, Any]) -> None:
    assert edges(document, "one") == [("c", "3.7", "3.8")]


def test_of_an_interaction_each_package_has_its_release(document: dict[str, Any]) -> None:
    """Each searched while the other one is the new stack's."""
    assert edges(document, "pair") == [("a", "1.3", "1.4"), ("b", "2.6", "2.7")]
    blame = document["findings"]["forward.pair"]["blame"]
    assert (blame["causes"], blame["interaction"]) == ([["a", "b"]], True)
    (first, second) = document["findings"]["forward.pair"]["boundaries"]
    assert first["requirements"] == [["a==1.3", "b==2.9"], ["a==1.4", "b==2.9"]]
    assert second["requirements"] == [["a==1.9", "b==2.6"], ["a==1.9", "b==2.7"]]


def test_of_two_causes_neither_hides_the_other(document: dict[str, Any]) -> None:
    assert edges(document, "two") == [("c", "3.1", "3.2"), ("d", "4.4", "4.5")]


@pytest.mark.parametrize(
    ("words", "named"),
    [(["a"], "PACKAGE"), (["--good", "1"], "--good"), (["--metric", "text.x"], "--metric"),
     (["--wheels", "."], "--wheels")],
)  # fmt: skip
def test_what_does_not_go_with_a_comparison_is_refused(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Instead of being left aside without a word."""
    assert main(["bisect", "--from-compare", "x", *words]) == 2
    assert f"error: {named} does not go with --from-compare" in capsys.readouterr().err


def test_all_of_it_is_said(document: dict[str, Any]) -> None:
    said = "\n".join(sentences(document))
    assert "forward.pair is an interaction of a with b." in said
    assert "moved in a 1.4 (1.3 still has the old value); in b 2.7 (2.6 still" in said
    assert "forward.two comes with c and, by itself, d." in said
    assert said.count("Both sides of every change were measured twice and answered alike.") == 3
    assert "b 2.7" in page(document)


def listed(*findings: tuple[str, str, str]) -> dict[str, Any]:
    names = ("id", "rung", "cause")
    return {"findings": [dict(zip(names, f, strict=True)) | {"accepted": False} for f in findings]}


def test_what_follows_from_another_is_bisected_only_by_name() -> None:
    raw = listed(("inputs.x", "inputs", ""), ("forward.y", "forward", "inputs.x"))
    assert [q.finding for q in bisect_compare.chosen(raw, [])] == ["inputs.x"]
    assert [q.finding for q in bisect_compare.chosen(raw, ["forward.y"])] == ["forward.y"]
    with pytest.raises(BadInput, match="name one with --finding"):
        bisect_compare.chosen(listed(("forward.y", "forward", "inputs.x")), [])
    with pytest.raises(BadInput, match=r"^The comparison has no finding; there is nothing"):
        bisect_compare.chosen(listed(), [])
