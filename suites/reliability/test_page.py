"""Injections into a report's page: every field of a record, no new element, no exception."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.records.failure import Failure
from harness.records.record import Metric, Provenance, Record, Status, write_record
from suites.commands import Command
from suites.reliability.counts import LARGE
from suites.reliability.test_terminal import CONTROL, INJECTIONS, assert_harmless

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_variables")]


class Elements(HTMLParser):
    """Elements of a page by name, with the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[tuple[str, ...]] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag, *(name for name, _ in attrs)] += 1


ACTING = {"script", "img", "svg", "iframe", "object", "embed", "link", "form", "base", "math"}


def elements_of(html: str) -> Counter[tuple[str, ...]]:
    """The elements of a page."""
    elements = Elements()
    elements.feed(html)
    return elements.count


def assert_alike(
    plain: Counter[tuple[str, ...]], injected: Counter[tuple[str, ...]], html: str
) -> None:
    """Lines and long texts may fold otherwise; what can act may not come, nor anything new."""
    assert not CONTROL.search(html)
    for element, number in injected.items():
        if element[0] in ACTING or any(name.startswith("on") for name in element[1:]):
            assert number == plain[element], element
    assert set(injected) <= set(plain) or not injected


def page(harness: Command, folder: Path, text: str) -> tuple[Counter[tuple[str, ...]], str]:
    """The elements of the report of a record whose every text is this one, and its HTML."""
    provenance = Provenance(
        stack=text,
        model=text,
        data=text,
        device_key=text,
        recipe=text,
        samples=text,
        versions={text: text},
        python=text,
        platform=text,
        commit=text,
        created=text,
        model_digest=text,
        vocabulary=text,
    )
    failure = Failure(text, text, text)
    metrics = (
        Metric("text", "value", text, text, unit=text, note=text),
        Metric("text", "list", text, [text, text], unit="text"),
        Metric("text", "table", text, {text: [text]}),
        Metric("text", "broken", text, status=Status.BROKEN, failure=failure),
        Metric("text", "not_run", text, status=Status.NOT_RUN, reason=text),
    )
    write_record(Record("text", provenance, metrics, 1.0), folder)
    ended = harness("report", folder)
    assert ended.code in {0, 1, 2, 3}, ended.stderr
    assert "Traceback" not in ended.stderr
    assert_harmless(ended.stderr)
    if ended.code == 2:
        return Counter(), ""
    html = (folder / "report.html").read_text(encoding="utf-8")
    return elements_of(html), html


FIELDS = 24
# A page takes a third of a second.
CHOSEN = INJECTIONS if LARGE else INJECTIONS[::5]


@pytest.mark.parametrize("text", CHOSEN, ids=range(len(CHOSEN)))
def test_no_text_of_a_record_becomes_an_element(
    harness: Command, tmp_path: Path, text: str, tried: Callable[[int], None]
) -> None:
    plain, _ = page(harness, tmp_path / "plain", "plain")
    injected, html = page(harness, tmp_path / "injected", text)
    tried(FIELDS)
    assert_alike(plain, injected, html)
