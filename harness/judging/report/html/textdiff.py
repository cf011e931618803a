"""Differences between two texts, word by word, as <del> and <ins>."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from harness.judging.report.html.markup import Html, join, limited, tag

# Matching is quadratic in the worst case; longer texts are shown without marks.
MOST_WORDS = 1500
_WORDS = re.compile(r"\s+|[^\W_]+(?:['’][^\W_]+)*|.", re.S)


def words(text: str) -> list[str]:
    """Words, runs of white space and single other characters; joined they give the text."""
    return _WORDS.findall(text)


def _marked(part: list[str], element: str) -> Html:
    text = "".join(part)
    # White space alone would be an invisible mark; it is shown as what it is.
    shown = text if text.strip() else text.replace("\n", "↵\n").replace(" ", "␣")
    return tag(element, shown)


def _changes(a: list[str], b: list[str]) -> list[tuple[bool, int, int, int, int]]:
    """(same, i, j, k, m) of a[i:j] and b[k:m]; a lone space between two changes joins them."""
    codes = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    changes: list[tuple[bool, int, int, int, int]] = []
    for n, (kind, i, j, k, m) in enumerate(codes):
        bridge = kind == "equal" and 0 < n < len(codes) - 1 and not "".join(a[i:j]).strip()
        if changes and not changes[-1][0] and (kind != "equal" or bridge):
            _, start, _, begin, _ = changes[-1]
            changes[-1] = (False, start, j, begin, m)
        else:
            changes.append((kind == "equal", i, j, k, m))
    return changes


def difference(old: str, new: str) -> tuple[Html, Html]:
    """The old text with what it loses in <del>, the new one with what it gains in <ins>."""
    old, new = limited(old), limited(new)
    a, b = words(old), words(new)
    if len(a) > MOST_WORDS or len(b) > MOST_WORDS:
        return join([old]), join([new])
    left: list[Html] = []
    right: list[Html] = []
    for same, i, j, k, m in _changes(a, b):
        if same:
            left.append(join(["".join(a[i:j])]))
            right.append(join(["".join(b[k:m])]))
            continue
        if i < j:
            left.append(_marked(a[i:j], "del"))
        if k < m:
            right.append(_marked(b[k:m], "ins"))
    return join(left), join(right)


def changed_words(old: str, new: str) -> tuple[int, int]:
    """How many words of the old text are gone and how many of the new one are new."""
    a = [w for w in words(limited(old)) if not w.isspace()]
    b = [w for w in words(limited(new)) if not w.isspace()]
    if len(a) > MOST_WORDS or len(b) > MOST_WORDS:
        return len(a), len(b)
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    same = sum(block.size for block in blocks)
    return len(a) - same, len(b) - same
