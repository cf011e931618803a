"""The token supervision map of one sample: what is trained on, what is masked, what is image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby

from harness.judging.report.html.markup import Child, Html, join, limited, rows, tag
from harness.records.beside import Token

KINDS = ("trained", "masked", "image")
# A long prompt stays readable; what is left out is said.
MOST_TOKENS = 2500
MOST_TEXT = 60


def _shown(text: str) -> Html:
    """A token's text; line breaks are shown and break the line."""
    parts = text.split("\n")
    return tag("b", "↵\n".join(parts)) if len(parts) > 1 else tag("b", text)


def _run(kind: str, role: str, texts: list[str]) -> Html:
    shade = kind if kind in KINDS else "masked"
    heard = tag("span", f" [{kind}{', ' + role if role else ''}: ", class_="unseen")
    end = tag("span", "] ", class_="unseen")
    # A picture's hundreds of equal placeholders, or what fills a row up, are one thing to a reader.
    fills = kind != "trained" and "padding" in (kind, role)
    fewest = 2 if kind == "image" else 4
    if (fills or kind == "image") and len(texts) >= fewest and len(set(texts)) == 1:
        return tag("span", heard, f"{texts[0]} × {len(texts):,}", end, class_=f"tk {shade}")
    return tag("span", heard, *[_shown(text) for text in texts], end, class_=f"tk {shade}")


def legend() -> Html:
    """What the three looks mean."""
    meaning = {
        "trained": "underlined: a target of the loss",
        "masked": "struck through: seen, never a target",
        "image": "boxed: replaced by the picture, never a target",
    }
    items = [
        tag("li", tag("span", kind, class_=f"tk {kind} mono"), f" {words}")
        for kind, words in meaning.items()
    ]
    return tag("ul", *items, class_="legend")


def token_map(sample: Iterable[Token]) -> Html:
    """The map, and a table of tokens by role and kind. An unknown kind has a masked one's look and
    its own name."""
    tokens = [(token.kind, token.role, limited(token.text, MOST_TEXT)) for token in sample]
    runs = [
        _run(kind, role, [text for _, _, text in group])
        for (kind, role), group in groupby(tokens[:MOST_TOKENS], key=lambda t: t[:2])
    ]
    rest: Child = None
    if len(tokens) > MOST_TOKENS:
        rest = tag("p", f"{len(tokens) - MOST_TOKENS:,} more tokens are not drawn.", class_="soft")
    counts = Counter((role or "—", kind) for kind, role, _ in tokens)
    roles = list(dict.fromkeys(role or "—" for _, role, _ in tokens))
    kinds = [
        k
        for k in dict.fromkeys([*KINDS, *(t[0] for t in tokens)])
        if any(counts[role, k] for role in roles)
    ]
    body = [(role, *[f"{counts[role, kind]:,}" for kind in kinds]) for role in roles]
    body.append(("all", *[f"{sum(counts[r, k] for r in roles):,}" for k in kinds]))
    table = rows(
        "Tokens by role", ("Role", *kinds), body, numeric=frozenset(range(1, len(kinds) + 1))
    )
    drawn = tag("div", *runs, class_="tokens", tabindex="0", role="region", aria_label="Token map")
    return join([legend(), drawn, rest, table])
