"""Pictures, numbers, axes, colours: what a report is drawn from."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import BadInput
from harness.judging.report.html.charts import ticks
from harness.judging.report.html.document import stylesheet
from harness.judging.report.html.textdiff import changed_words, difference
from harness.judging.report.html.values import number, size
from harness.judging.report.run.data import picture_uri
from harness.judging.report.run.terminal import terminal
from suites.selftest.report_run import (
    judgement_of,
    png,
    records,
)


def test_pictures_are_checked(tmp_path: Path) -> None:
    inside = tmp_path / "run"
    inside.mkdir()
    (tmp_path / "out.png").write_bytes(png(2, 2, (0, 0, 0)))
    (inside / "ok.png").write_bytes(png(2, 2, (0, 0, 0)))
    (inside / "no.png").write_bytes(b"<svg onload=alert(1)>")
    (inside / "wide.png").write_bytes(png(5000, 1, (0, 0, 0)))
    (inside / "heavy.png").write_bytes(png(2, 2, (0, 0, 0)) + bytes(500_000))
    uri = picture_uri(inside / "ok.png", inside)
    assert base64.b64decode(uri.split(",")[1]) == png(2, 2, (0, 0, 0))
    for name, why in {
        "../out.png": "outside",
        "gone.png": "not in",
        "no.png": "neither",
        "wide.png": "5000×1",
        "heavy.png": "over",
    }.items():
        with pytest.raises(BadInput, match=why):
            picture_uri(inside / name, inside)


def test_word_differences() -> None:
    old, new = difference("the quick brown fox", "the slow brown fox jumps")
    assert str(old) == "the <del>quick</del> brown fox"
    assert str(new) == "the <ins>slow</ins> brown fox<ins> jumps</ins>"
    assert changed_words("the quick brown fox", "the slow brown fox jumps") == (1, 2)
    assert difference("a b", "a b") == ("a b", "a b")
    assert difference("a ", "a")[0] == "a<del>␣</del>"


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 70, 5) == [0, 20, 40, 60]
    assert ticks(0.42, 3.31) == [1, 2, 3]
    assert ticks(5, 5) == [5]
    for low, high in ((0.0, 1e-6), (1e-3, 12.7), (-5.0, 5.0), (2.4999, 2.5001), (0, 1e9)):
        places = ticks(low, high)
        assert 1 < len(places) <= 6
        assert all(low <= t <= high for t in places)


def test_numbers_are_written_exactly() -> None:
    assert number(8_293_898_752) == "8,293,898,752"
    assert number(0.000030449) == "3.045e-05"
    assert number(2.5) == "2.5"
    assert size(5_898_851_352) == "5.49 GiB"
    assert size(1023) == "1,023 B"


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


PAIRS = [
    *[
        (ink, ground)
        for ink in ("ink", "soft", "link", "good", "bad", "known", "missing")
        for ground in ("paper", "card")
    ],
    ("good", "good-bg"),
    ("bad", "bad-bg"),
    ("known", "known-bg"),
    ("missing", "missing-bg"),
    ("image", "image-bg"),
    ("ink", "code"),
    ("link", "code"),
    ("base", "card"),
    ("tuned", "card"),
    ("screen-ink", "screen"),
]


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("pair", PAIRS, ids="/".join)
def test_contrast(mode: str, pair: tuple[str, str]) -> None:
    """WCAG 2.2 AA for text, by its own formula."""
    light, dark = stylesheet().split("@media (prefers-color-scheme: dark)")[:2]
    source = light if mode == "light" else dark
    palette = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", source))
    bright, dim = sorted((_luminance(palette[name]) for name in pair), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 4.5


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_console_colours_are_readable(mode: str) -> None:
    colours = re.findall(r"pre\.screen \.\w+ \{ color: (#[0-9a-f]{6})", stylesheet())
    assert len(colours) == 5
    light, dark = stylesheet().split("@media (prefers-color-scheme: dark)")[:2]
    source = light if mode == "light" else dark
    ground = re.search(r"--screen: (#[0-9a-f]{6})", source)
    assert ground is not None
    for colour in colours:
        assert (_luminance(colour) + 0.05) / (_luminance(ground[1]) + 0.05) >= 4.5


@pytest.mark.parametrize("width", [60, 100, 200])
def test_the_terminal_says_the_same(width: int) -> None:
    out = io.StringIO()
    judgement = judgement_of(records())
    item = judgement.red[0]
    spoilt = replace(item, reason="[red]x[/red]\x1b[2J\u202e")
    judgement = replace(judgement, items=tuple(spoilt if i is item else i for i in judgement.items))
    terminal(judgement, Console(file=out, width=width, highlight=False, force_terminal=False))
    text = out.getvalue()
    assert judgement.headline in text
    assert "forward.pad_gap" in text
    assert "ModuleNotFoundError" in text or "imports rich" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
