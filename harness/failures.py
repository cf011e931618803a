"""What an error tells: whether two are the same one.

The same error is worded by every release for itself: another version, another line, the folder that
it is installed in. What is left when those are taken out are the library's own words.
"""

from __future__ import annotations

import re

# What mismatches.py puts before a library's own words.
_PAIRS = re.compile(
    r"\S+ \S+ and \S+ \S+ do not work together: "
    r"(?:\S+ needs \S+ and declares it nowhere\.|\S+ asks for \S+\.)(?=\s|$)"
)
# In order: each takes out what the later ones would cut to pieces.
_CHANGING = (
    _PAIRS,
    re.compile(r"\([^()]*/[^()]*\)"),  # a folder that may have spaces in its name
    re.compile(r"0x[0-9a-fA-F]+"),
    re.compile(r"[\w.@~+-]*(?:/[\w.@~+=-]+)+/?"),
    re.compile(r"[\w-]+\.(?:py|pyc|json|jinja|txt|safetensors|bin|pt|whl|so(?:\.\d+)*)\b"),
    # Versions, lines and sizes; not the digits of a name (Vision2Seq, float16).
    re.compile(
        r"(?<!\w)[-v]?\d[\d.]*(?:e[-+]?\d+)?(?:\.?(?:dev|post|rc|a|b)\d+)*(?:\+[\w.]+)?"
        r"(?:\s?[KMGT]i?B\b)?"
    ),
)


def own_words(message: str) -> str:
    """A message without versions, numbers, memory addresses, paths and names of files."""
    for changing in _CHANGING:
        message = changing.sub("…", message)
    return " ".join(message.replace("…", " ").split())
