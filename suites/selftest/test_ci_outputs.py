"""Verdicts for other tools: JUnit that a parser reads, Markdown that a dataset cannot write into,
annotations by their escapes; written by options and by what a CI system names."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from harness.commands._ci import Outputs
from harness.judging.goldens.judgement import Judgement
from harness.judging.goldens.verdicts import judge
from harness.judging.report.ci.annotations import commands
from harness.judging.report.ci.compared import of_comparison
from harness.judging.report.ci.junit import junit
from harness.judging.report.ci.markdown import markdown
from harness.judging.report.ci.outcomes import (
    Outcome,
    State,
    Verdicts,
    of_judgement,
)
from harness.judging.report.upgrade.page import comparison_page
from harness.records.printable import shown
from harness.records.record import Verdict
from suites.commands import Command
from suites.selftest.comparisons import broken, comparison, pair
from suites.selftest.report_run import HOSTILE, judgement_of, records, write_run


def verdicts(*outcomes: Outcome, code: int = 1) -> Verdicts:
    return Verdicts("a stack", "two are wrong", code, outcomes)


WRONG = Outcome("labels", "labels.recipe.left", State.FAILED, "CHANGED", "a mask is off")
FINE = Outcome("text", "text.rendered.a", State.PASSED, "SAME")
KNOWN = Outcome("text", "text.rendered.b", State.KNOWN, "CHANGED", "since 5.0.0")
UNRUN = Outcome("cost", "cost.cuda_allocated", State.SKIPPED, "NOT_RUN", "needs CUDA")


def counted(document: bytes) -> dict[str, int]:
    """What a reader of JUnit counts: not what the document says of itself, but what is in it."""
    root = ElementTree.fromstring(document)
    cases = root.findall("./testsuite/testcase")
    kinds = ("failure", "error", "skipped")
    counts = {kind: len(root.findall(f"./testsuite/testcase/{kind}")) for kind in kinds}
    counts["tests"] = len(cases)
    stated = {"failures": "failure", "errors": "error", "skipped": "skipped", "tests": "tests"}
    assert {name: root.get(name) for name in stated} == {
        name: str(counts[kind]) for name, kind in stated.items()
    }
    return counts


def test_a_case_a_value() -> None:
    document = junit(verdicts(FINE, KNOWN, WRONG, UNRUN))
    assert counted(document) == {"tests": 4, "failure": 1, "error": 0, "skipped": 1}
    root = ElementTree.fromstring(document)
    assert [suite.get("name") for suite in root] == ["text", "labels", "cost"]
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("message") == "CHANGED: a mask is off"
    assert root.findtext(".//system-out") == "CHANGED: since 5.0.0"


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_leaves_its_place(text: str) -> None:
    bad = Outcome("text", f"text.rendered.{text}", State.FAILED, "CHANGED", text, "a,b:c.py", 3)
    assert counted(junit(verdicts(bad)))["failure"] == 1
    page = markdown(verdicts(bad))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", page)
    rows = [line for line in page.splitlines() if line.startswith("| text | `")]
    (row,) = rows
    why = row.rsplit(" | ", 1)[1]
    assert not set("<>[]`*_@") & set(why)
    # A reader sees the very text.
    assert html.unescape(why.removesuffix(" |")) == " ".join(shown(text).split())
    (line,) = commands(verdicts(bad))
    assert "\n" not in line
    assert line.startswith("::error file=a%2Cb%3Ac.py,line=3,title=text.rendered.")
    assert line.count("::") == 2 + text.count("::")


def test_markdown_answers_first_and_stays_short() -> None:
    many = [Outcome("ids", f"ids.encoded.{i}", State.FAILED, "CHANGED", "x") for i in range(60)]
    page = markdown(verdicts(FINE, *many))
    assert page.startswith("### ❌ two are wrong\n")
    assert page.count("| ids | `ids.encoded.") == 20
    assert "and 40 more" in page
    assert "| ids | 0 | 0 | 60 | 0 | 0 |" in page
    assert len(list(commands(verdicts(*many)))) == 10
    assert markdown(verdicts(FINE, code=0)).startswith("### ✅")
    assert markdown(verdicts(code=3)).startswith("### ⚠️")


def test_every_judged_value_is_one_outcome() -> None:
    judgement: Judgement = judgement_of(records())
    all_of = of_judgement(judgement)
    assert len(all_of.outcomes) == len(judgement.items)
    assert len(all_of.of(State.FAILED)) == len(judgement.red) > 0
    assert all_of.exit_code == judgement.exit_code


def test_a_comparison_says_what_explains_a_difference() -> None:
    same = pair("inputs.mask_gap.left", Verdict.SAME)
    outcome = comparison([same, pair("forward.loss.left"), broken("update.steps", "new")])
    told = of_comparison(outcome)
    assert [outcome.state for outcome in told.outcomes] == [
        State.PASSED,
        State.FAILED,
        State.FAILED,
    ]
    assert "no known change" in told.outcomes[1].why
    assert told.exit_code == outcome.exit_code == 1


def test_what_is_broken_on_both_sides_can_be_accepted() -> None:
    """The recipe's own calls work with no library of today: who knows that says it once."""
    pairs = [pair("inputs.mask_gap.left", Verdict.SAME), broken("update.steps", "both")]
    asked = comparison(pairs)
    assert asked.exit_code == 3
    assert "```text\nupdate.steps\n```" in markdown(of_comparison(asked))
    accepted = comparison(pairs, accepted=frozenset({"update.steps", "update.gone"}))
    assert accepted.exit_code == 0
    # A known finding never lets the headline say that all is well.
    assert accepted.headline.endswith(": 2 values compared, 1 broken on both sides and accepted.")
    assert accepted.stale_accepts == ("update.gone",)
    (outcome,) = of_comparison(accepted).of(State.KNOWN)
    assert outcome.name == "update.steps"
    assert "accepted: " in comparison_page(accepted)
    # A measurement that is missing is no finding, and cannot be accepted.
    lost = pair("update.steps", Verdict.NOT_COMPARABLE)
    unrun = comparison([lost], accepted=frozenset({"update.steps"}))
    assert unrun.exit_code == 3


def test_who_reads_failures_only_is_never_told_green() -> None:
    """What ends with 3, because what was required is missing or nothing was judged, is an error."""
    lost = broken("forward.loss", "both")
    absent = comparison([pair("inputs.mask_gap.left", Verdict.SAME)], wanted=("inputs", "backward"))
    for asked in (comparison([lost]), comparison([]), absent):
        told = of_comparison(asked)
        assert asked.exit_code == told.exit_code == 3
        assert counted(junit(told))["error"] > 0
        assert list(commands(told))
        assert markdown(told).startswith("### ⚠️")
    nothing = judge({"text": records()["text"]}, (), ())
    assert nothing.exit_code == 3
    assert counted(junit(of_judgement(nothing)))["error"] > 0


def test_the_environment_of_a_ci_system_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "step.md"
    summary.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    screen = Console(record=True, width=40, file=io.StringIO())
    Outputs().write(verdicts(WRONG), screen)
    assert summary.read_text("utf-8").startswith("before\n### ❌")
    # One line each, however narrow the terminal is: the runner reads lines.
    assert "::error title=labels.recipe.left::CHANGED: a mask is off\n" in screen.export_text()


def test_the_verb_writes_both(
    tmp_path: Path, harness: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    folder = write_run(tmp_path / "20260102-abc")
    xml, page = tmp_path / "a.xml", tmp_path / "a.md"
    ended = harness("report", folder, "--junit", xml, "--summary", page)
    assert ended.code == 1
    assert counted(xml.read_bytes())["failure"] > 0
    assert page.read_text("utf-8").startswith("### ❌")


def test_a_file_that_cannot_be_written_is_refused_before_anything(
    tmp_path: Path, harness: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    folder = write_run(tmp_path / "20260102-abc")
    ended = harness("report", folder, "--junit", tmp_path / "nowhere" / "a.xml")
    assert ended.code == 2
    assert "--junit" in ended.sentence
    assert not (folder / "report.html").exists()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere" / "step.md"))
    ended = harness("report", folder)
    assert ended.code == 2
    assert "$GITHUB_STEP_SUMMARY" in ended.sentence
