"""A bisect's answer in words, on its page and in its document."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from harness.judging.bisect.answers import (
    Bisection,
    Cause,
    Edge,
    FindingAnswer,
    Shown,
)
from harness.judging.bisect.question import Kind
from harness.judging.bisect.search import Answer
from harness.judging.report.bisect.page import headline, page, sentences


def test_the_answer_in_words(bisection: Bisection) -> None:
    text = "\n".join(sentences(bisection))
    assert "forward.loss moved in x 1.3 (1.2 still has the old value)" in text
    assert "helper 1 → 2; with those alone the finding does not move" in text
    assert "5 environments built, 12 s" in text


def test_findings_with_one_answer_share_its_sentences(bisection: Bisection) -> None:
    answered = bisection.findings["forward.loss"]
    names = [f"forward.f{i}" for i in range(6)]
    still = replace(answered, boundaries=(), problem="never moved")
    many = replace(bisection, findings={**dict.fromkeys(names, answered), "forward.g": still})
    lines = sentences(many)
    assert "forward.f0, forward.f1, forward.f2, forward.f3 and 2 more moved in x 1.3" in lines[0]
    alone = replace(bisection, findings={"forward.f0": answered})
    assert len(lines) == len(sentences(alone)) + 1
    assert "never moved" in lines
    assert "forward.f3 and 3 more</title>" in page(many)


@pytest.mark.parametrize(
    ("good_first", "new", "sentence"),
    [
        (True, Answer.BAD, "x.y broke in p 1.10 (1.9 is right)."),
        (False, Answer.BAD, "x.y became right in p 1.10 (1.9 is wrong)."),
    ],
)
def test_the_newer_release_is_named_whichever_end_is_good(
    good_first: bool, new: Answer, sentence: str
) -> None:
    before, after = ("1.9", "1.10") if good_first else ("1.10", "1.9")
    edge = Edge(
        package="p",
        before=before,
        after=after,
        old=Answer.GOOD,
        new=new,
        skipped={},
        shows=(Shown(Kind.VALUE, "right"), Shown(Kind.VALUE, "wrong")),
        companions={},
        cause=Cause.PACKAGE,
        cause_note="",
        requirements=((), ()),
    )
    assert headline("x.y", FindingAnswer("p", (edge,), by_verdict=True)) == sentence


def test_the_page_escapes_what_a_release_printed(bisection: Bisection) -> None:
    html = page(bisection)
    assert "<b>2</b>" not in html
    assert "&lt;b&gt;2" in html
    assert "<script" not in html
    assert not re.search(r'(?:href|src)="(?!#|data:)', html)
