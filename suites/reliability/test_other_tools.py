"""Injections into what other tools are given of a verdict: JUnit, Markdown, annotations."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from harness.judging.report.ci.annotations import commands
from harness.judging.report.ci.junit import junit
from harness.judging.report.ci.markdown import markdown
from harness.judging.report.ci.outcomes import Outcome, State, Verdicts
from suites.reliability.test_page import assert_alike, elements_of
from suites.reliability.test_terminal import CONTROL, INJECTIONS


def verdicts(text: str) -> Verdicts:
    """One value of every state; every text of it is this one."""
    outcomes = [Outcome(text, text, state, text, text, text, 3) for state in State]
    return Verdicts(text, text, 1, tuple(outcomes))


def shape(document: bytes) -> list[tuple[str, tuple[str, ...]]]:
    """Elements of an XML document with their attributes' names, in order."""
    return [(x.tag, tuple(x.keys())) for x in ElementTree.fromstring(document).iter()]


def outside_code(page: str) -> str:
    """Markdown without its code spans, in which nothing is an element."""
    return re.sub("`[^`]*`", "", page)


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_no_text_of_a_verdict_leaves_its_place(text: str, tried: Callable[[int], None]) -> None:
    """7 fields in each of what --junit, --summary and GitHub's runner are given."""
    plain, hostile = verdicts("plain"), verdicts(text)
    tried(3 * 7)
    document = junit(hostile)
    assert shape(document) == shape(junit(plain))
    assert not CONTROL.search(document.decode())
    page = markdown(hostile)
    assert_alike(elements_of(markdown(plain)), elements_of(outside_code(page)), page)
    assert len(page.splitlines()) == len(markdown(plain).splitlines())
    lines = [*commands(hostile)]
    assert len(lines) == len([*commands(plain)])
    for line in lines:
        assert re.fullmatch("::error file=[^,:]*,line=3,title=[^,:]*::.*", line)
        assert not CONTROL.search(line)
        assert "##[" not in line
