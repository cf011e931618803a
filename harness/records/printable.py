"""Text from data, models and libraries as it may stand before a person: nothing in it acts.

Control sequences would move a terminal's cursor, recolour or hide what was printed before;
bidirectional marks make a text read as another. They become visible signs instead. A line that
begins as an error of ours does, or as a command to GitHub's runner, is marked.
"""

from __future__ import annotations

import re

# Characters that change how the text around them reads: bidirectional marks, embeddings,
# overrides and isolates (Unicode UAX #9), invisible separators, and the tag block.
_STEERING = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200c\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# GitHub's runner takes `::name …::` at the beginning of a line, after blanks, for a command, and
# the older `##[name …]` anywhere in it (its ActionCommand.cs).
_OURS = re.compile(r"^(?=[^\S\n]*(?:error: |::))", re.M)
MARK = "› "


def clean(text: str) -> str:
    """Make invisible and steering characters visible: ␀, ␛, ⟨U+202E⟩; lone surrogates become �."""

    def control(character: re.Match[str]) -> str:
        code = ord(character[0])
        if code < 0x20:
            return chr(0x2400 + code)
        return "␡" if code == 0x7F else "�"

    text = _STEERING.sub(
        lambda character: f"⟨U+{ord(character[0]):04X}⟩", text.replace("\r\n", "\n")
    )
    return _UNPRINTABLE.sub(control, text)


def shown(text: str) -> str:
    """A text for the terminal: clean, no older command of a runner's in it, and half a surrogate
    pair, as in a path that is no UTF-8, as its escape, which tells two such paths apart."""
    return clean(text.encode("utf-8", "backslashreplace").decode("utf-8")).replace("##[", "## [")


def is_ours(line: str) -> bool:
    """Whether a line would pass for an error of ours or a command to a runner."""
    return _OURS.match(line) is not None


def quoted(text: str) -> str:
    """Lines of another's text for the terminal: shown, and none passes for ours."""
    return _OURS.sub(MARK, shown(text))


def one_line(text: object) -> str:
    """A text as one clean line: no part of it passes for a line of its own."""
    return shown(" ".join(str(text).split("\n")))
