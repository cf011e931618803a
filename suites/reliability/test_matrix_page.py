"""Injections into the page of a matrix and into its Markdown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.judging.matrix.kept import State
from harness.judging.matrix.table import CellEntry, Moved, Point, Step, Table, Timeline, Wrong
from harness.judging.report.matrix.markdown import markdown
from harness.judging.report.matrix.page import matrix_page
from harness.records.record import Verdict
from suites.reliability.counts import LARGE
from suites.reliability.test_other_tools import outside_code
from suites.reliability.test_page import assert_alike, elements_of
from suites.reliability.test_terminal import INJECTIONS, assert_harmless, printed

pytestmark = pytest.mark.slow

CHOSEN = INJECTIONS if LARGE else INJECTIONS[::5]


def matrix(text: str) -> Table:
    """Two stacks, two models: right, wrong, moved, refused; every text of them is this one."""
    labels = (f"{text} 1", f"{text} 2")
    names = {"recipe": text, "device": text, "key": text, "reason": text, "device_key": text}
    more = {"calls": (text,), "page": "#c", "measured": text, "versions": {text: text}}
    wrong = (
        Wrong(text, "text", Verdict.CHANGED, truth=text, value=[text], reason=text),
        Wrong(text, "text", Verdict.BROKEN, error=text, known=True),
    )
    moved = (Moved(text, "text", Verdict.CHANGED, text, (text,), text, {text: text}, text),)
    cells = [
        CellEntry(labels[0], text, state=State.MEASURED, wrong=wrong, **names, **more),
        CellEntry(
            labels[1], text, state=State.MEASURED, moved=moved, left=labels[0], **names, **more
        ),
        CellEntry(labels[0], f"{text} b", state=State.REFUSED, **names, **more),
        CellEntry(labels[1], f"{text} b", state=State.NOT_RUN, **names, **more),
    ]
    points = (Point(labels[0], text, why=text), Point(labels[1], [text]))
    step = Step(*labels, text, [text], text, (text,), text, text, text)
    line = Timeline(text, text, text, text, text, False, points, (step,))
    return Table(
        labels,
        (text, f"{text} b"),
        (text,),
        (text,),
        ("text",),
        tuple(cells),
        (line,),
        (text,),
        text,
    )


@pytest.mark.parametrize("text", CHOSEN, ids=range(len(CHOSEN)))
def test_no_text_of_a_matrix_becomes_an_element(text: str, tried: Callable[[int], None]) -> None:
    """29 fields; a link leads within the page, or is refused where it is made."""
    plain, hostile = matrix("plain"), matrix(text)
    html = str(matrix_page(hostile))
    tried(29)
    assert_alike(elements_of(str(matrix_page(plain))), elements_of(html), html)
    page = markdown(hostile)
    assert_alike(elements_of(markdown(plain)), elements_of(outside_code(page)), page)
    assert len(page.splitlines()) == len(markdown(plain).splitlines())
    assert_harmless(printed(hostile.headline, soft_wrap=True))
