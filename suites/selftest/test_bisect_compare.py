"""From a comparison to packages and their releases, over made-up stacks whose causes are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import BadInput
from harness.judging.bisect.answers import Bisection
from harness.judging.goldens.golden import BandKind
from harness.judging.report.bisect.page import page, sentences
from harness.records.files import write_json
from suites.selftest.compared_stacks import ROUNDING, Comparison, edges, finding


@pytest.fixture
def comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    return Comparison(tmp_path, monkeypatch)


@pytest.fixture
def document(comparison: Comparison) -> Bisection:
    answer = comparison.bisect(*(finding(f"forward.{n}") for n in ("pair", "two", "one")))
    assert answer.exit_code == 0
    return answer


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
