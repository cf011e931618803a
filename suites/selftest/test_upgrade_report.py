"""The comparison's page and console view on made-up pairs: the answer, the cards, hostile texts."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.judging.compare.causes import compare
from harness.judging.compare.comparison import Comparison, Experiment
from harness.judging.compare.pairs import Pair, Side
from harness.judging.compare.register import Change, Predicate
from harness.judging.report.upgrade.answer import answer
from harness.judging.report.upgrade.page import render_comparison
from harness.judging.report.upgrade.terminal import terminal_comparison
from harness.judging.report.upgrade.view import effects, example, groups
from harness.records.failure import Failure
from harness.records.record import Metric, Provenance, Record, Status, Verdict
from harness.records.typed import Json
from suites.selftest.test_report import HOSTILE, Page, parsed


def pair(finding: str, before: Json = 1.0, after: Json = 2.0, **changes: object) -> Pair:
    rung, metric, *case = finding.split(".", 2)
    numbers = isinstance(before, float) and isinstance(after, float)
    gap = abs(after - before) if numbers else None  # type: ignore[operator]
    result = Pair(
        finding,
        rung,
        metric,
        "".join(case),
        Verdict.CHANGED,
        Side(Status.OK, before, "measured"),
        Side(Status.OK, after, "emulated"),
        gap=gap,
    )
    return replace(result, **changes)  # type: ignore[arg-type]


def change(name: str, metric: str, severity: str = "cost", **changes: object) -> Change:
    entry = Change(
        name,
        f"title of {name}",
        "torch",
        "1.9",
        "2.0",
        f"ref {name} 2.0",
        severity,
        f"effect of {name}",
        f"advice of {name}",
        f"evidence of {name}",
        (Predicate(metric),),
    )
    return replace(entry, **changes)  # type: ignore[arg-type]


def comparison(
    pairs: Sequence[Pair], changes: Sequence[Change] = (), experiments: Sequence[Experiment] = ()
) -> Comparison:
    sides = []
    for version in ("1.9", "2.0"):
        place = Provenance(
            "s", "stand-in", "catalogue", "cpu-x", "r", "s", {"torch": version}, family="qwen2_vl"
        )
        sides.append(
            {p.rung: Record(p.rung, place, (Metric(p.rung, "m", value=1),)) for p in pairs}
        )
    return compare(
        ("OLDSTACK", "NEWSTACK"),
        (sides[0], sides[1]),
        pairs,
        changes,
        experiments=experiments,
        established=True,
    )


def page(tmp_path: Path, outcome: Comparison) -> tuple[Page, str]:
    path = render_comparison(outcome, tmp_path / "report.html")
    return parsed(path), path.read_text(encoding="utf-8")


def told(outcome: Comparison) -> tuple[str, str]:
    parts = answer(outcome, groups(outcome))
    return parts.tone, parts.title


FIXED = pair("inputs.positions.left", verdict=Verdict.IMPROVED, standing="fixed")
BROKEN = pair(
    "interface.call.x",
    verdict=Verdict.BROKEN,
    broken="new",
    new=Side(Status.BROKEN, error="TypeError: gone (x:1)"),
)
SAME = pair("text.rendered.a", "a", "a", verdict=Verdict.SAME)
M_ROPE = change("mrope", "inputs.positions", "wrong training")
CALL = change(
    "call",
    "interface.call",
    "crash",
    when=(Predicate("interface.call", broken="new", error="gone"),),
)


@pytest.mark.parametrize(
    ("pairs", "changes", "tone", "title"),
    [
        ([SAME], [], "good", "Yes: nothing changes"),
        ([SAME, pair("forward.loss")], [], "bad", "Not yet: something unknown changed"),
        ([FIXED, BROKEN], [M_ROPE, CALL], "known", "Yes, after changing your code"),
        ([FIXED], [M_ROPE], "known", "Yes"),
        (
            [pair("cost.flops", verdict=Verdict.WORSE)],
            [change("c", "cost.flops")],
            "known",
            "Yes, but not for free",
        ),
        (
            [pair("text.record", verdict=Verdict.NOT_COMPARABLE, reason="other device")],
            [],
            "missing",
            "Nothing was compared",
        ),
    ],
)
def test_the_answer(pairs: list[Pair], changes: list[Change], tone: str, title: str) -> None:
    assert told(comparison(pairs, changes)) == (tone, title)


def test_training_that_was_wrong_and_is_mended_is_said_by_name() -> None:
    outcome = comparison([FIXED, BROKEN], [M_ROPE, CALL])
    assert "1 fault of OLD is fixed, 1 of them wrong training (title of mrope)" in (
        answer(outcome, groups(outcome)).why
    )


def gap(before: float, after: float, truth: float = 0.0) -> Pair:
    """A value that both sides get wrong, unless one of them is the truth."""
    result = pair("update.accumulation_gap", before, after, truth=truth)
    sides = (replace(s, right=s.value == truth) for s in (result.old, result.new))
    return replace(result, **dict(zip(("old", "new"), sides, strict=True)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "severity", "is_wrong"),
    [
        # 4.45.1 weighs micro-batches a little wrong, 4.47.1 adds them up: both wrong, one by far.
        (gap(0.006, 18.8), "wrong training", True),
        (gap(18.8, 0.006), "wrong training", False),
        (gap(0.0, 3.0), "wrong training", True),
        (gap(0.0, 3.0), "cost", False),
        (gap(3.0, 0.0), "wrong training", False),
        # Nobody knows which of the two is right.
        (pair("update.accumulation_gap", 1.0, 2.0), "wrong training", False),
    ],
)
def test_an_upgrade_that_trains_wrong_in_silence_is_no_yes(
    wrong: Pair, severity: str, is_wrong: bool
) -> None:
    outcome = comparison(
        [wrong, BROKEN], [change("sum", "update.accumulation_gap", severity), CALL]
    )
    tone, title = told(outcome)
    assert (tone == "bad") is is_wrong
    assert (title == "Not as it is: something goes wrong in silence") is is_wrong
    assert ("1 of them wrong and in silence" in answer(outcome, groups(outcome)).why) is is_wrong


def test_what_must_be_done_comes_before_what_a_fix_means() -> None:
    outcome = comparison([FIXED, BROKEN], [M_ROPE, CALL])
    assert answer(outcome, groups(outcome)).todo == ("advice of call", "advice of mrope")


def test_what_new_trains_wrong_in_silence_comes_first() -> None:
    lost = pair("trajectory.adapter_lost.saved_by_old", 0.0, 16.0, verdict=Verdict.WORSE)
    dear = pair("cost.flops", verdict=Verdict.WORSE)
    changes = [
        M_ROPE,
        CALL,
        change("adapter", "trajectory.adapter_lost", "wrong training"),
        change("dear", "cost.flops"),
    ]
    outcome = comparison([FIXED, BROKEN, lost, dear], changes)
    told = answer(outcome, groups(outcome))
    order = ("adapter", "call", "dear", "mrope")
    assert told.todo == tuple(f"advice of {name}" for name in order)
    assert [line.split(" (")[0] for line in told.changes] == [f"title of {n}" for n in order]
    unknown = comparison([pair("forward.loss"), lost, BROKEN], changes)
    assert "forward.loss" in answer(unknown, groups(unknown)).changes[0]


@pytest.mark.parametrize(
    ("side", "kind", "message", "title"),
    [
        ("old", "ChildDied", "signal 9; last line: x", "Measuring text died on OLD"),
        ("new", "ChildHung", "no answer within 5 s", "Measuring text hung on NEW"),
    ],
)
def test_a_process_that_died_or_hung_is_no_change_of_a_package(
    side: str, kind: str, message: str, title: str
) -> None:
    failure = Failure(kind, message, "a.log")
    sides = {side: Side(Status.BROKEN, error="in words", failure=failure)}
    dead = pair("text.probe", verdict=Verdict.BROKEN, broken=side, **sides)
    outcome = comparison([dead, SAME])
    (group,) = groups(outcome)
    told = answer(outcome, (group,))
    assert group.title == title
    assert (told.tone, told.title) == ("bad", "Not yet: not everything was measured")
    assert told.why == f"{title}: {message}."
    assert told.todo == (
        "Run the same command again with `--resume`: it measures that rung anew. If it ends so "
        "again, a.log says where it stood.",
    )
    assert outcome.exit_code == 1
    # Beside another unknown difference that one is told first.
    outcome = comparison([dead, pair("forward.loss")])
    assert answer(outcome, groups(outcome)).title == "Not yet: something unknown changed"
    assert "forward.loss" in answer(outcome, groups(outcome)).why


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
