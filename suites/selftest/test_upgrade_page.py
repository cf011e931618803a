"""A comparison's page and console view: groups, examples, hostile values."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.judging.compare.comparison import Comparison, Experiment
from harness.judging.compare.pairs import Side
from harness.judging.compare.predicates import Predicate
from harness.judging.report.upgrade.page import render_comparison
from harness.judging.report.upgrade.terminal import terminal_comparison
from harness.judging.report.upgrade.view import effects, example, groups
from harness.records.record import Status, Verdict
from harness.records.typed import Json
from suites.selftest.report_run import HOSTILE, Page, parsed
from suites.selftest.upgrades import (
    BROKEN,
    CALL,
    FIXED,
    M_ROPE,
    SAME,
    change,
    comparison,
    pair,
    told,
)


def page(tmp_path: Path, outcome: Comparison) -> tuple[Page, str]:
    path = render_comparison(outcome, tmp_path / "report.html")
    return parsed(path), path.read_text(encoding="utf-8")


def test_a_group_holds_its_findings_and_everything_that_follows() -> None:
    trial = Experiment(("inputs",), (pair("forward.loss", verdict=Verdict.SAME),))
    outcome = comparison([FIXED, pair("forward.loss", 0.4, 0.3), SAME], [M_ROPE], [trial])
    (group,) = groups(outcome)
    assert [f.pair.finding for f in group.consequences] == ["forward.loss"]
    assert group.is_fix
    assert effects(group, outcome.pairs) == ()
    right = pair("forward.loss.right", 0.4, 0.3)
    trial = Experiment(("inputs",), (replace(right, verdict=Verdict.SAME),))
    outcome = comparison([FIXED, right], [M_ROPE], [trial])
    assert [words for words, _ in effects(groups(outcome)[0], outcome.pairs)] == [
        "loss of a batch, padded right"
    ]


@pytest.mark.parametrize(
    ("finding", "title"),
    [
        ("model.lora_new_fields", "title of a · 2 more known changes"),
        ("interface.warnings.train", "Warnings come and go, for 3 known reasons"),
    ],
)
def test_many_changes_of_one_value_are_told_by_the_first(finding: str, title: str) -> None:
    metric = ".".join(finding.split(".")[:2])
    changes = [
        change(name, metric, "cosmetic", when=(Predicate(metric, line=f"^{name}$"),))
        for name in "abc"
    ]
    moved = pair(finding, [], ["a", "b", "c"])
    (group,) = groups(comparison([moved], changes))
    assert group.title == title


@pytest.mark.parametrize(
    ("old", "new", "left", "right"),
    [
        (["a b c", "x y"], ["a b c", "x z"], "[1] x y", "[1] x z"),
        ([[1, 2], [3, 4]], [[1, 2], [3, 5]], "[1] 3 4", "[1] 3 5"),
        ([1, 2], [1, 2, 3], "—", "[2] 3"),
        (["a", "b"], ["a"], "[1] b", "—"),
    ],
)
def test_the_example_is_the_first_difference(old: Json, new: Json, left: str, right: str) -> None:
    assert example(pair("ids.encoded.x", old, new)) == (left, right)


def test_a_long_row_is_shown_around_its_first_difference() -> None:
    old = " ".join(map(str, range(100)))
    left, right = example(pair("inputs.positions.x", [old], [old.replace("50 ", "77 ")]))
    assert "50" in left
    assert "77" in right
    assert len(left) < 80


def test_the_page_answers_first_and_says_how_everything_is_known(tmp_path: Path) -> None:
    wrong = pair(
        "forward.side_gap",
        3.0,
        3.0,
        verdict=Verdict.SAME,
        standing="both wrong",
        truth=0.0,
        reason="padding must not matter",
    )
    outcome = comparison([FIXED, BROKEN, wrong], [M_ROPE, CALL])
    shown, raw = page(tmp_path, outcome)
    text = " ".join(shown.text)
    asked = ("May I upgrade?", "What changes for me?", "What should I do?", "The ladder")
    questions = [text.index(question) for question in asked]
    assert questions == sorted(questions)
    for words in (
        "OLDSTACK",
        "NEWSTACK",
        "Yes, after changing your code",
        "title of mrope",
        "effect of mrope",
        "evidence of mrope",
        "ref mrope 2.0",
        "advice of call",
        "BROKEN on NEW",
        "TypeError: gone",
        "OLD is wrong, NEW is right",
        "padding must not matter",
        "measured",
        "emulated",
        "1.9",
        "2.0",
    ):
        assert words in text, words
    assert len(shown.ids) == len(set(shown.ids))
    links = [a["href"] for t, a in shown.elements if t == "a" and a.get("href")]
    assert all(link and link.startswith("#") for link in links)
    assert {link[1:] for link in links if link} <= set(shown.ids)
    assert "<script" not in raw


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_values_stay_text(text: str, tmp_path: Path) -> None:
    bad = Side(Status.BROKEN, error=text)
    outcome = comparison(
        [
            pair("text.rendered.a", text, "plain " * 10),
            pair("text.rendered.b", [text], ["x"]),
            pair("text.rendered.c", verdict=Verdict.BROKEN, broken="new", new=bad),
            pair("text.record", verdict=Verdict.NOT_COMPARABLE, reason=text),
        ]
    )
    shown, _ = page(tmp_path, replace(outcome, old=text, new=text))
    names = {name for name, _ in shown.elements}
    assert not names & {"script", "img", "iframe", "object"}
    assert not [a for _, attributes in shown.elements for a in attributes if a.startswith("on")]
    stream = io.StringIO()
    terminal_comparison(outcome, Console(file=stream, width=120))
    assert "\x1b" not in stream.getvalue()


def test_equal_comparisons_give_equal_bytes(tmp_path: Path) -> None:
    outcome = comparison([FIXED, BROKEN, SAME], [M_ROPE, CALL])
    one = render_comparison(outcome, tmp_path / "a.html").read_bytes()
    assert one == render_comparison(outcome, tmp_path / "b.html").read_bytes()


def test_causes_that_were_not_tried_are_said_to_be_open(tmp_path: Path) -> None:
    outcome = replace(comparison([pair("forward.loss")]), established=False)
    assert "Causes are not established" in " ".join(page(tmp_path, outcome)[0].text)


def test_the_console_view_ends_with_the_headline() -> None:
    outcome = comparison([FIXED, pair("forward.loss")], [M_ROPE])
    stream = io.StringIO()
    terminal_comparison(outcome, Console(file=stream, width=150))
    lines = stream.getvalue().strip().splitlines()
    assert lines[-1] == outcome.headline
    assert any(re.search(r"IMPROVED.*title of mrope.*fixed, was wrong training", x) for x in lines)


def test_the_best_answer_is_never_all_green_with_a_finding() -> None:
    assert told(comparison([FIXED], [M_ROPE]))[0] != "good"
