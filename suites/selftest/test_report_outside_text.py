"""What files and users wrote stays text: it is escaped, never a link, an element or an error."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.judging.report.html.markup import clean, escape, tag, without_ansi
from harness.judging.report.run.page import render
from suites.selftest.report_run import (
    HOSTILE,
    Page,
    judgement_of,
    parsed,
    records,
    write_run,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "20260102-abc")


@pytest.fixture
def page(folder: Path) -> Page:
    return parsed(render(folder, records(), judgement_of(records()), folder / "report.html"))


@pytest.mark.parametrize("text", HOSTILE)
def test_outside_text_never_becomes_markup(tmp_path: Path, text: str) -> None:
    """The page of hostile texts has exactly the elements of the page of harmless ones."""

    def skeleton(folder: Path, word: str) -> tuple[list[tuple[str, tuple[str, ...]]], str]:
        # JSON files can carry a lone surrogate only as an escape; records refuse to write one.
        stored = word.encode("utf-8", "replace").decode("utf-8")
        write_run(folder, stored)
        hostile = {
            rung: replace(
                r,
                metrics=tuple(replace(m, note=(m.note or "") + word) for m in r.metrics),
                provenance=replace(r.provenance, platform=word),
            )
            for rung, r in records().items()
        }
        judgement = judgement_of(hostile)
        spoilt = tuple(replace(i, reason=i.reason + word, evidence=word) for i in judgement.items)
        out = render(folder, records(), replace(judgement, items=spoilt), folder / "report.html")
        raw = out.read_text(encoding="utf-8")
        page = parsed(out)
        shape = [
            (e, tuple(sorted(a)))
            for e, a in page.elements
            # Word differences follow the words, so their number may differ.
            if e not in {"ins", "del", "b", "span"}
        ]
        return shape, raw

    plain, _ = skeleton(tmp_path / "a", "harmless")
    spoilt, raw = skeleton(tmp_path / "b", text)
    assert spoilt == plain
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]", raw)
    assert "<script" not in raw.lower()


@pytest.mark.parametrize("text", HOSTILE)
def test_escaping(text: str) -> None:
    escaped = escape(text)
    assert not set(escaped) & set("<>\"'")
    escaped.encode("utf-8")
    assert tag("p", text, title=text).count("<") == 2


def test_text_that_people_write_stays_as_it_is() -> None:
    for text in ("상품 설명", "👩‍👩‍👧 ❤️", "Café № 5 — “x”", "a\n\tb"):
        assert clean(text) == text


def test_logs_lose_colours_and_keep_the_last_state_of_a_line() -> None:
    assert without_ansi("1%\r50%\r100%\n\x1b[1;31mred\x1b[0m\x1b]8;;https://x\x07l") == (
        "100%\nredl"
    )


def test_links_out_and_handlers_are_refused() -> None:
    for attributes in ({"href": "https://x"}, {"src": "x.png"}, {"onclick": "x"}):
        with pytest.raises(ValueError, match=r"must start|may not"):
            tag("a", attributes=attributes)


def test_equal_input_gives_equal_bytes(folder: Path) -> None:
    one = render(folder, records(), judgement_of(records()), folder / "a.html").read_bytes()
    two = render(folder, records(), judgement_of(records()), folder / "b.html").read_bytes()
    assert one == two
