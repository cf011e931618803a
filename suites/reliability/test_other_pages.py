"""Injections into the pages, words and script of a comparison, a bisect and an audit."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.commands._screen import Screen
from harness.judging.audit.judge import judge
from harness.judging.bisect.answers import (
    Bisection,
    Cause,
    Edge,
    FindingAnswer,
    Responsible,
    Shown,
    write_bisection,
)
from harness.judging.bisect.question import Kind
from harness.judging.bisect.search import Answer, Outcome
from harness.judging.report.audit.page import page_of
from harness.judging.report.audit.terminal import terminal
from harness.judging.report.bisect.page import page, sentences
from harness.judging.report.bisect.reproduce import script
from harness.records.audit import Audit, Check, ComponentRow, DrawnRow, Opened, RungChecks
from harness.records.beside import Token
from harness.records.failure import Failure
from harness.records.printable import one_line
from harness.records.record import Metric, Provenance, Record, Status, write_record
from suites.commands import Command
from suites.reliability.counts import LARGE, count
from suites.reliability.test_page import assert_alike, elements_of
from suites.reliability.test_terminal import INJECTIONS, assert_harmless, printed

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_variables")]

CHOSEN = INJECTIONS if LARGE else INJECTIONS[::5]
ALPHABET = "<>&\"'/=[]\x1b\x00\u202eaé \n:`$;(){}\ud800"


def random_texts(number: int) -> list[str]:
    dice = random.Random(19)
    return ["".join(dice.choices(ALPHABET, k=dice.randrange(1, 40))) for _ in range(number)]


def compared(harness: Command, folder: Path, text: str) -> str:
    """The page of two folders of records whose every text is this one; NEW's values differ."""
    for side in ("old", "new"):
        provenance = Provenance(
            *[text] * 6,
            {text: side + text},
            text,
            text,
            commit=text,
            created=text,
            model_digest=text,
            vocabulary=text,
            family=text,
        )
        failure = Failure(text, text, text)
        values = (
            Metric("text", "value", text, side + text, unit=text, note=text),
            Metric("text", "list", text, [text, side], unit="text"),
            Metric("text", "table", text, {text: [side]}),
            Metric("text", "gone", text, status=Status.NOT_RUN, reason=side + text),
            Metric("text", "both", text, status=Status.BROKEN, failure=failure)
            if side == "new"
            else Metric("text", "both", text, text),
        )
        write_record(Record("text", provenance, values, 1.0), folder / side)
    ended = harness("compare", f"{folder}/old/", f"{folder}/new/", "--out", folder / "out")
    assert ended.code in {1, 3}, ended.stderr
    assert "Traceback" not in ended.stderr
    assert_harmless(ended.stderr)
    return (folder / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", CHOSEN, ids=range(len(CHOSEN)))
def test_no_text_of_two_sides_becomes_an_element(
    harness: Command, tmp_path: Path, text: str, tried: Callable[[int], None]
) -> None:
    """20 fields of each side's record, on the page of a comparison and at the terminal."""
    plain = compared(harness, tmp_path / "plain", "plain")
    html = compared(harness, tmp_path / "injected", text)
    tried(20)
    assert_alike(elements_of(plain), elements_of(html), html)


def bisection(text: str, finding: str = "text.a") -> Bisection:
    edge = Edge(
        package=text,
        before="1.0",
        after="1.1",
        old=Answer.GOOD,
        new=Answer.BAD,
        skipped={text: text},
        shows=(Shown(Kind.VALUE, text), Shown(Kind.ERROR, text, text)),
        companions={text: (text, text)},
        cause=Cause.COMPANIONS,
        cause_note=text,
        requirements=((text,), (text,)),
    )
    blame = Responsible(((text, text),), True, {text: text}, {text: text}, "")
    answer = FindingAnswer(
        text, (edge,), {text: Outcome(Answer.BAD, text)}, ((text, text),), blame=blame
    )
    open_end = FindingAnswer(text, problem=text)
    return Bisection(
        text,
        text,
        text,
        text,
        {finding: answer, f"{finding}{text}": open_end},
        (text,),
        (text,),
        from_compare=text,
        wheels=text,
    )


@pytest.mark.parametrize("text", CHOSEN, ids=range(len(CHOSEN)))
def test_no_text_of_a_bisect_becomes_an_element_or_a_command(
    tmp_path: Path, text: str, tried: Callable[[int], None]
) -> None:
    """20 fields: on its page, in its words, in the script that shows it again."""
    result = bisection(text)
    html = page(result)
    tried(20)
    assert_alike(elements_of(page(bisection("plain"))), elements_of(html), html)
    for line in sentences(result):
        assert_harmless(printed(line, soft_wrap=True))
    if "\0" not in text and "\ud83d" not in text:
        run_script(script(bisection(text, f"{text}.a")), tmp_path)
    write_bisection(result, tmp_path)


def run_script(text: str, folder: Path) -> None:
    """Run it with commands that do nothing: what it runs of its own leaves a trace."""
    tools = folder / "tools"
    tools.mkdir()
    for name in ("uv", "python3"):
        (tools / name).write_text("#!/bin/sh\nexit 0\n")
        (tools / name).chmod(0o755)
    (folder / "run").mkdir()
    (folder / "reproduce.sh").write_text(text, encoding="utf-8")
    subprocess.run(
        ["bash", folder / "reproduce.sh"],
        cwd=folder / "run",
        env={"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "HARNESS": "true"},
        capture_output=True,
        check=True,
    )
    assert list((folder / "run").iterdir()) == []


def audit(text: str) -> Audit:
    opened = Opened(
        text, text, text, text, text, text, 2, {text: text}, (text,), {text: text}, text, text
    )
    token = Token(text, "trained", text)
    checks = (
        Check(
            "labels",
            "padding_trained",
            text,
            text,
            "plain",
            evidence=(text, text),
            setting=text,
            unit=text,
        ),
        Check("labels", "there", text, status=Status.BROKEN, failure=Failure(text, text, text)),
        Check("labels", "prompt_trained", text, status=Status.NOT_RUN, reason=text),
    )
    component = ComponentRow(text, 1, 1, 4, {text: 1}, {text: 1}, 1, 1)
    rung = RungChecks(
        "labels", checks, 1.0, (DrawnRow(0, text, (token, token), ((2, 2),)),), (component,)
    )
    return Audit(
        text, text, text, f"x = {text!r}", text, text, text, 2, opened, (rung,), {"cost": text}
    )


@pytest.mark.parametrize("text", CHOSEN, ids=range(len(CHOSEN)))
def test_no_text_of_an_audit_becomes_an_element(text: str, tried: Callable[[int], None]) -> None:
    """34 fields of what a process left of a user's training; kept lines of its golden too."""
    audited = audit(text)
    html = page_of(audited, judge(audited), (text,))
    tried(34)
    plain = audit("plain")
    assert_alike(elements_of(page_of(plain, judge(plain), ("plain",))), elements_of(html), html)
    assert_harmless(printed_of(audited))


def printed_of(audited: Audit) -> str:
    """What an audit prints."""
    import io

    stream = io.StringIO()
    terminal(audited, judge(audited), Screen(file=stream, stderr=False))
    return stream.getvalue()


def test_random_texts_act_on_no_page(tried: Callable[[int], None]) -> None:
    """In every field of a bisect and of an audit."""
    texts: list[Any] = random_texts(count(10, 500))
    tried(2 * len(texts))
    bisected, audited = elements_of(page(bisection("plain"))), audit("plain")
    plain = elements_of(page_of(audited, judge(audited), ("plain",)))
    for text in texts:
        html = page(bisection(text))
        assert_alike(bisected, elements_of(html), html)
        hostile = audit(text)
        html = page_of(hostile, judge(hostile), (text,))
        assert_alike(plain, elements_of(html), html)
        assert "\n" not in one_line(text)
