"""HTML as a typed value: a plain `str` is always escaped, only `Html` passes through.

Texts in a report come from models, datasets, logs and error messages, so none of them is
trusted. Escaping is not something a section remembers to do; it is what `tag` does to a `str`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping

from harness.records.printable import clean

LIMIT = 4000
_VOID = frozenset({"meta", "img", "br", "hr", "col"})
# CSI and OSC sequences of terminals, as found in the logs of progress bars.
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")

# Printable ASCII without & < > " ' is its own markup, and most of a page.
_PLAIN = re.compile(r"[\t\n !#-%(-;=?-~]*")
# A page that the harness writes in a folder below: `pages/0123456789abcdef.html`.
_BESIDE = re.compile(r"[a-z]+/[0-9a-z-]+\.html", re.ASCII)


class Html(str):
    """Markup that `tag` or `join` has made; never built from outside text."""

    __slots__ = ()


Child = Html | str | None


def without_ansi(text: str) -> str:
    """A log's text without colours and cursor movements; of a redrawn line, its last state."""
    plain = _ANSI.sub("", text)
    return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in plain.split("\n"))


def limited(text: str, limit: int = LIMIT) -> str:
    """The text, cut at `limit` characters with a note of how many are left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]} … (+{len(text) - limit:,} characters)"


def escape(text: str) -> Html:
    """Outside text as markup: cleaned, then every special character escaped."""
    if _PLAIN.fullmatch(text):
        return Html(text)
    return Html(html.escape(clean(text), quote=True))


def join(parts: Iterable[Child], between: str = "") -> Html:
    """Concatenate; plain strings are escaped."""
    pieces = (p if isinstance(p, Html) else escape(p) for p in parts if p is not None)
    return Html(str(escape(between)).join(pieces))


def _attribute(tag_name: str, name: str, value: str) -> str:
    name = name.rstrip("_").replace("_", "-")
    # The page loads nothing: links stay inside it or lead to a page beside it, pictures are data.
    allowed = {"href": "#", "src": "data:image/"}.get(name, "")
    beside = name == "href" and _BESIDE.fullmatch(value)
    if not value.startswith(allowed) and not beside:
        raise ValueError(f"{name} of <{tag_name}> must start with {allowed!r}, got {value[:40]!r}")
    if name.startswith("on") or name == "srcset":
        raise ValueError(f"<{tag_name}> may not have the attribute {name}")
    return f' {name}="{escape(value)}"'


def tag(
    element: str,
    *children: Child,
    attributes: Mapping[str, str | None] | None = None,
    **more: str | None,
) -> Html:
    """One element. `class_` means class, `aria_label` aria-label; None leaves one out.

    Raises ValueError on a link that leads elsewhere than into the page or to one below its folder,
    a picture that is no data URI, or a handler.
    """
    given = {**(attributes or {}), **more}
    head = "".join(_attribute(element, k, v) for k, v in given.items() if v is not None)
    if element in _VOID:
        return Html(f"<{element}{head}>")
    return Html(f"<{element}{head}>{join(children)}</{element}>")


def prose(text: str) -> Html:
    """Our own words, with what stands between backticks as code."""
    parts = text.split("`")
    return join([tag("code", p) if i % 2 else p for i, p in enumerate(parts)])


def rows(
    caption: str,
    columns: Iterable[str],
    body: Iterable[Iterable[Child]],
    *,
    numeric: frozenset[int] = frozenset(),
    class_: str | None = None,
) -> Html:
    """A table in a box of its own that scrolls sideways; the first cell of a row is its header."""
    names = list(columns)

    def cell(index: int, content: Child) -> Html:
        mark = "num" if index in numeric else None
        if index == 0:
            return tag("th", content, scope="row", class_=mark)
        return tag("td", content, class_=mark)

    head = tag(
        "thead",
        tag(
            "tr",
            *[
                tag("th", n, scope="col", class_="num" if i in numeric else None)
                for i, n in enumerate(names)
            ],
        ),
    )
    lines = [tag("tr", *[cell(i, c) for i, c in enumerate(line)]) for line in body]
    # Many columns of words need width to be readable, numbers do not; the box scrolls where there
    # is none.
    slim = len(names) < 3 or (len(numeric) == len(names) - 1 and len(names) < 6)
    wide = "slim" if slim else "wide" if len(names) > 4 else ""
    looks = " ".join(filter(None, [wide, class_])) or None
    table = tag(
        "table", tag("caption", tag("span", caption)), head, tag("tbody", *lines), class_=looks
    )
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)


def details(summary: Child, *children: Child, opened: bool = False, id_: str | None = None) -> Html:
    """A part that folds without a script."""
    return tag(
        "details",
        tag("summary", summary),
        tag("div", *children, class_="folded"),
        open="open" if opened else None,
        id=id_,
    )
