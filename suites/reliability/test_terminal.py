"""Text from paths, data and errors at the terminal: it is shown, it never acts."""

from __future__ import annotations

import io
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from harness.commands._screen import Screen, emit
from harness.errors import BadInput
from harness.judging.report.html.markup import tag
from harness.records.printable import clean, one_line
from harness.records.record import Metric, Provenance, Record, write_record
from suites.commands import Command
from suites.reliability.counts import count

INJECTIONS = [
    "[/]",
    "[vlm]",
    "[bold]",
    "[/vlm]x[/]",
    "[link=http://example.invalid]x[/link]",
    ":smile:",
    "\x1b[2J",
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "\x1b]8;;http://example.invalid\x1b\\x\x1b]8;;\x1b\\",
    "\x9b2J",
    "\x07\x08\x08\x08",
    "first\rsecond",
    "\u202eright to left",
    "\u2066isolate\u2069",
    "\ufeff",
    "\ud83d",
    "\x00",
    "\x7f",
    "a\nerror: everything is well",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "'\"><svg/onload=alert(1)>",
    "]]>",
    "&lt;b&gt;",
    "</style><script>alert(1)</script>",
    "</title></head><body onload=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "<!--",
    "--><script>alert(1)</script>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "'; touch PWNED; '",
    "$(touch PWNED)",
    "`touch PWNED`",
    "\n\u2028<b>\u2029\x85</b>\x1b]52;c;aGk=\x07",
    "a\n  ::stop-commands::b\n::error title=c::d\ne ##[add-mask]f",
]
assert len(INJECTIONS) >= 40
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


# What a reader, or GitHub's runner, would take for a word of the harness itself: the runner's
# commands begin a line, after blanks, or stand anywhere in it (its ActionCommand.cs).
OURS = re.compile(r"^error: |^\s*::[a-z-]+[^:]*::|##\[[a-z-]+", re.M)


def assert_harmless(text: str) -> None:
    """No character of it acts on a terminal, no line of it passes for ours."""
    assert not CONTROL.search(text)
    assert not OURS.search(text), text


def printed(*objects: Any, **options: Any) -> str:
    stream = io.StringIO()
    Screen(file=stream, stderr=False).print(*objects, **options)
    return stream.getvalue()


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_what_is_printed_is_text(text: str) -> None:
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    for thing in (text, Text(text), table, Panel(text)):
        assert_harmless(printed(thing, soft_wrap=True))
    if not CONTROL.search(text) and not OURS.search(text) and "\ufeff" not in text:
        assert printed(text, soft_wrap=True) == f"{text}\n"


@settings(max_examples=count(50, 500), deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_is_printed_without_control_characters(text: str) -> None:
    assert_harmless(printed(text, soft_wrap=True))
    assert "\n" not in one_line(text)
    assert not CONTROL.search(str(tag("p", text)))


def test_a_folder_whose_name_is_markup_is_printed_as_it_is(
    harness: Command, tmp_path: Path
) -> None:
    """A report was written, and then the closing tag in its path was a traceback."""
    provenance = Provenance("reference", "stand-in", "catalogue", "cpu-x", "r", "s")
    for name in ("[/]", "[vlm]", ":smile:"):
        folder = tmp_path / f"a{name}b" if name != "[/]" else tmp_path / "a[" / "]b"
        write_record(Record("text", provenance, (Metric("text", "m", "a", 1.0),)), folder)
        ended = harness("report", folder)
        assert ended.code in {0, 1, 3}, ended.stderr
        assert f"report: {folder}" in ended.stderr.replace("\n", "")


@pytest.mark.parametrize("begin", ["error: ", "::add-mask::", "  ::stop-commands::", "##[group]"])
def test_no_line_of_a_text_passes_for_ours(begin: str) -> None:
    """Wherever a line begins: of a text, of a cell, where a narrow terminal breaks it."""
    text = f"a\n{begin}b"
    narrow = Table(box=None, show_header=False)
    narrow.add_column(width=12)
    narrow.add_column(width=22)
    narrow.add_row("", f"some words that fill {begin}b")
    for thing in (text, Text(text), narrow, Text.assemble("a\n", (begin[:2], "bold"), begin[2:])):
        assert_harmless(printed(thing, soft_wrap=True))
    assert "› " in printed(text) or "#" in begin


def test_a_traceback_has_no_line_that_passes_for_ours(
    harness: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.commands import doctor

    def failing(arguments: Any) -> int:
        raise ValueError("a\nerror: everything is well\n::stop-commands::b\n##[group]c")

    monkeypatch.setattr(doctor, "execute", failing)
    ended = harness("doctor")
    assert ended.code == 70
    *before, last = ended.stderr.splitlines()
    assert_harmless("\n".join(before))
    assert last.startswith("error: Internal error (ValueError: a)")


@dataclass(frozen=True)
class Said:
    """A document of one text."""

    text: str
    schema: int = 1


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_a_document_is_one_line_that_acts_nowhere(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """And says the very text."""
    emit(Said(text))
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1
    assert out.isascii()
    assert_harmless(out)
    assert json.loads(out)["text"] == text


def test_an_error_is_one_clean_line(harness: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a path or a file says cannot move the cursor or add a line `error: …` of its own."""
    from harness.commands import doctor

    def failing(arguments: Any) -> int:
        raise BadInput("\x1b[2JRow 1\nerror: nothing is wrong\r\u202e")

    monkeypatch.setattr(doctor, "execute", failing)
    ended = harness("doctor")
    assert ended.code == 2
    assert ended.stderr == "error: ␛[2JRow 1 error: nothing is wrong␍⟨U+202E⟩\n"
    ended = harness("report", "/no/such\x1b[2J\nerror: fine")
    assert len([x for x in ended.stderr.splitlines() if x.startswith("error: ")]) == 1
    assert "\x1b" not in ended.stderr
    ended = harness("doctor", "--no\x1b[2J\nerror: fine")
    assert "\x1b" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_random_texts_add_no_element(tried: Any) -> None:
    """The page's one place for text: no injection becomes markup there."""
    dice = random.Random(3)
    tried(count(100, 500))
    alphabet = "<>&\"'/=[]\x1b\x00\u202eaé \n:`"
    for _ in range(count(100, 500)):
        text = "".join(dice.choices(alphabet, k=30))
        element = str(tag("p", text, title=text))
        assert element.count("<") == 2
        assert not CONTROL.search(element)
        assert clean(clean(text)) == clean(text)
