"""From a comparison to packages and their releases, over made-up stacks whose causes are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from harness.cli import main
from harness.errors import BadInput
from harness.judging.bisect import blaming, from_compare
from harness.judging.bisect.answers import Bisection
from harness.judging.bisect.bench import Measured
from harness.judging.bisect.findings import chosen
from harness.judging.bisect.spec import ComparisonSpec, Search, relative_band
from harness.judging.compare import sides as upgrade
from harness.judging.compare.document import Document, FactsEntry, FindingEntry
from harness.judging.environments.overlay import Layer
from harness.judging.environments.releases import Release
from harness.judging.goldens.golden import BandKind
from harness.judging.report.bisect.page import page, sentences
from harness.judging.workers.resolve import Request
from harness.measuring.child import crossing
from harness.records.context import Context
from harness.records.files import write_json
from harness.records.record import Metric, Provenance, Record
from harness.records.typed import build

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


@pytest.fixture
def comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    return Comparison(tmp_path, monkeypatch)


@pytest.fixture
def document(comparison: Comparison) -> Bisection:
    answer = comparison.bisect(*(finding(f"forward.{n}") for n in ("pair", "two", "one")))
    assert answer.exit_code == 0
    return answer


def edges(document: Bisection, name: str) -> list[tuple[str, str, str]]:
    answer = document.findings[f"forward.{name}"]
    return [(e.package, e.before, e.after) for e in answer.boundaries]


def causes(document: Bisection, name: str) -> tuple[tuple[str, ...], ...]:
    blame = document.findings[f"forward.{name}"].blame
    assert blame is not None
    return blame.causes


def test_one_package_and_its_release(document: Bisection) -> None:
    assert edges(document, "one") == [("c", "3.7", "3.8")]


def test_of_an_interaction_each_package_has_its_release(document: Bisection) -> None:
    """Each searched while the other one is the new stack's."""
    assert edges(document, "pair") == [("a", "1.3", "1.4"), ("b", "2.6", "2.7")]
    pair = document.findings["forward.pair"]
    assert pair.blame is not None
    assert (pair.blame.causes, pair.blame.interaction) == ((("a", "b"),), True)
    (first, second) = pair.boundaries
    assert first.requirements == (("a==1.3", "b==2.9"), ("a==1.4", "b==2.9"))
    assert second.requirements == (("a==1.9", "b==2.6"), ("a==1.9", "b==2.7"))


def test_of_two_causes_neither_hides_the_other(document: Bisection) -> None:
    assert edges(document, "two") == [("c", "3.1", "3.2"), ("d", "4.4", "4.5")]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["a"], "PACKAGE"),
        (["--good", "1"], "--good"),
        (["--metric", "text.x"], "--metric"),
        (["--wheels", "."], "--wheels"),
        (["--pre"], "--pre"),
        (["--yanked"], "--yanked"),
    ],
)
def test_what_does_not_go_with_a_comparison_is_refused(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Instead of being left aside without a word."""
    assert main(["bisect", "--from-compare", "x", *words]) == 2
    assert f"error: {named} does not go with --from-compare" in capsys.readouterr().err


def test_all_of_it_is_said(document: Bisection) -> None:
    text = "\n".join(sentences(document))
    assert "forward.pair is an interaction of a with b." in text
    assert "moved in a 1.4 (1.3 still has the old value); in b 2.7 (2.6 still" in text
    assert "forward.two comes with c and, by itself, d." in text
    assert text.count("Both sides of every change were measured twice and answered alike.") == 3
    assert "b 2.7" in page(document)


ROUNDING = {"kind": "relative", "limit": 7.6e-6, "origin": "rounding: 64 × 2^-23"}


def test_a_finding_is_judged_within_the_band_of_its_comparison(comparison: Comparison) -> None:
    """Else whatever moves a last digit is responsible too, in a release that is none."""
    answer = comparison.bisect(finding("forward.near", band=ROUNDING))
    assert causes(answer, "near") == (("b",),)
    assert edges(answer, "near") == [("b", "2.4", "2.5")]
    band = answer.findings["forward.near"].band
    assert band is not None
    assert band.kind is BandKind.RELATIVE
    assert answer.exit_code == 0


def test_a_band_that_the_user_gives_stands_before_it(comparison: Comparison) -> None:
    answer = comparison.bisect(finding("forward.near", band=ROUNDING), band=0.0)
    assert causes(answer, "near") == (("a",), ("b",))
    with pytest.raises(BadInput, match="--band is -1"):
        comparison.bisect(finding("forward.near"), band=-1.0)


def test_it_is_measured_as_the_comparison_was(comparison: Comparison) -> None:
    """With the masks that its sides shared, on its device, with its threads."""
    write_json(comparison.folder / "old" / "work" / "context.json", {"threads": 1})
    answer = comparison.bisect(finding("forward.one"))
    assert comparison.bench.context.exchange == "digest"
    request = comparison.how.request
    assert (request.stack, request.device, request.threads) == ("reference", "cpu", 1)
    assert answer.options[-4:] == ("--device", "cpu", "--threads", "1")
    comparison.bisect(finding("forward.one"), threads=2)
    assert comparison.how.request.threads == 2
    with pytest.raises(BadInput, match="was measured on cpu; leave --device cuda out"):
        comparison.bisect(finding("forward.one"), device="cuda")


CROSSED = tuple(finding(f"trajectory.adapter_{n}.saved_by_old") for n in ("read", "lost"))


def test_what_needs_both_stacks_at_once_is_refused_in_words(comparison: Comparison) -> None:
    answer = comparison.bisect(finding("forward.one"), *CROSSED)
    assert edges(answer, "one") == [("c", "3.7", "3.8")]
    text = "\n".join(sentences(answer))
    assert "saved_by_old: cannot be bisected: it needs both stacks at once" in text
    assert "does not bring it" not in text
    assert answer.exit_code == 3
    for words in ((), ["trajectory.adapter_read.saved_by_old"]):
        with pytest.raises(BadInput, match="it needs both stacks at once"):
            comparison.bisect(*CROSSED, wanted=words)


def test_what_only_the_crossing_measures_is_known_by_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {"digest": "d", "saved": 2, "kept": 2, "without": []}
    monkeypatch.setattr(crossing, "_read", lambda context, adapter: shown)
    context = Context(
        "reference", "stand-in", "catalogue", Path(), True, tmp_path, family="qwen2_vl"
    )
    record = crossing.run(context, {"saved_by_old": tmp_path})
    assert {m.name for m in record.metrics} == set(upgrade.CROSSED)


def test_values_that_only_the_truth_tells_apart_are_refused_in_words(
    comparison: Comparison,
) -> None:
    """Within the band of each other, the one just inside the truth's and the other outside."""
    sides = {n: {"status": "OK", "value": v} for n, v in (("old", 1.0), ("new", 1.000001))}
    with pytest.raises(BadInput, match="only the truth tells its two values apart"):
        comparison.bisect(finding("forward.near", band=ROUNDING, standing="broke", **sides))


def test_what_neither_stack_shows_by_itself_is_said(comparison: Comparison) -> None:
    answer = comparison.bisect(finding("forward.gone"))
    (sentence, *_) = sentences(answer)
    assert sentence.startswith(
        "forward.gone: cannot be bisected: There is no forward.gone; near it"
    )
    assert answer.exit_code == 3


def test_a_package_that_could_not_be_tried_leaves_the_answer_open(comparison: Comparison) -> None:
    comparison.bench.broken = "d"
    answer = comparison.bisect(finding("forward.one"))
    assert edges(answer, "one") == [("c", "3.7", "3.8")]
    assert answer.exit_code == 3
    text = "\n".join(sentences(answer))
    assert "Not tried, so another cause may hide there: d (d==4.9 does not resolve)." in text


def test_stacks_whose_packages_cannot_be_swapped(comparison: Comparison) -> None:
    comparison.monkeypatch.setattr(
        comparison.bench, "measure", lambda asked: Measured("x", None, {}, "no room.")
    )
    answer = comparison.bisect(finding("forward.one"))
    assert "forward.one: cannot be bisected: reference" in sentences(answer)[0]
    assert "no room." in sentences(answer)[0]
    assert answer.exit_code == 3


def listed(*findings: tuple[str, str, str]) -> Document:
    entries = tuple(
        build(FindingEntry, finding(name, rung=rung, cause=why)) for name, rung, why in findings
    )
    facts = FactsEntry("stand-in", "catalogue", "m", "cpu-x")
    return Document("reference", "latest", facts, {}, entries)


def test_what_follows_from_another_is_bisected_only_by_name() -> None:
    raw = listed(("inputs.x", "inputs", ""), ("forward.y", "forward", "inputs.x"))
    assert [q.finding for q in chosen(raw, [])[0]] == ["inputs.x"]
    assert [q.finding for q in chosen(raw, ["forward.y"])[0]] == ["forward.y"]
    with pytest.raises(BadInput, match="name one with --finding"):
        chosen(listed(("forward.y", "forward", "inputs.x")), [])
    with pytest.raises(BadInput, match=r"^The comparison has no finding; there is nothing"):
        chosen(listed(), [])
