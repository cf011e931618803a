"""The first screen of a comparison's page: may I upgrade, what changes, what should I do."""

from __future__ import annotations

from collections.abc import Sequence

from harness.judging.compare.comparison import Comparison
from harness.judging.report.html.markup import Html, join, limited, prose, tag
from harness.judging.report.upgrade.answer import Answer

# The front page holds one screen.
MOST_CHANGES, MOST_TODO = 6, 6


def _list(items: Sequence[str], most: int, more: str, none: str) -> Html:
    if not items:
        return tag("p", none, class_="soft")
    shown = [tag("li", prose(limited(item, 240))) for item in items[:most]]
    if len(items) > most:
        shown.append(tag("li", tag("a", f"{len(items) - most} more", href=more)))
    return tag("ul", *shown)


def front(comparison: Comparison, told: Answer) -> Html:
    """What was compared with what, and the answers to three questions, on one screen."""
    facts = comparison.facts
    questions = tag(
        "div",
        tag(
            "div",
            tag("h2", "May I upgrade?"),
            tag("p", tag("b", told.title), class_="answer"),
            tag("p", told.why),
            class_="ask",
        ),
        tag(
            "div",
            tag("h2", "What changes for me?"),
            _list(told.changes, MOST_CHANGES, "#findings", "Nothing that was measured."),
            class_="ask",
        ),
        tag(
            "div",
            tag("h2", "What should I do?"),
            _list(told.todo, MOST_TODO, "#findings", "Nothing."),
            class_="ask",
        ),
        class_="asks",
    )
    where = (
        f"model {facts['model']} · data {facts['data']} · {facts['device_key']} · "
        f"{comparison.compared} values compared"
    )
    old, new = comparison.names
    heading = tag(
        "h1",
        tag("span", old, class_="side-old"),
        " → ",
        tag("span", new, class_="side-new"),
    )
    return join(
        [
            tag("p", "Upgrade check", class_="eyebrow"),
            tag("div", heading, tag("p", where), class_=f"verdict {told.tone}"),
            questions,
        ]
    )
