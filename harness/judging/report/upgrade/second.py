"""The page's section on what was measured twice because it may have been noise."""

from __future__ import annotations

from harness.judging.compare.comparison import Comparison
from harness.judging.compare.second import SecondLook
from harness.judging.report.html.markup import Child, Html, rows, tag
from harness.judging.report.html.sections import section
from harness.judging.report.html.values import number
from harness.judging.report.upgrade.cards import side_text

TITLE = "Looked at twice"


def second(comparison: Comparison) -> Html:
    """Every such value with both looks, those that did not come back as spurious."""
    lead = (
        "A difference outside its band, with nothing exact before it that would explain it, is "
        "measured again, one side after the other. What does not come back is spurious: it stays "
        "here and raises nothing."
    )
    body: Html = tag("p", "Nothing had to be.", class_="soft")
    if comparison.looks:
        body = rows(
            "First look and second",
            ("Value", "It", "Band", "OLD", "NEW", "OLD again", "NEW again"),
            [_row(look) for look in comparison.looks],
        )
    return section("second", TITLE, tag("p", lead, class_="soft"), body)


def _row(look: SecondLook) -> tuple[Child, ...]:
    first, again = look.first, look.again
    word = "came back" if look.came_back else "is spurious"
    return (
        tag("code", first.finding),
        word,
        f"{number(first.band.limit)} ({first.band.kind.value})",
        *(side_text(p, side.value) for p in (first, again) for side in (p.old, p.new)),
    )
