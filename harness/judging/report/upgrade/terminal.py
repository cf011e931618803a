"""The console view of a comparison: the ladder, one line a finding, the answer."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.judging.compare.comparison import Comparison
from harness.judging.report.run.terminal import print_stale
from harness.judging.report.upgrade.answer import answer
from harness.judging.report.upgrade.front import MOST_TODO
from harness.judging.report.upgrade.ladder import STYLES, verdict_text, worst
from harness.judging.report.upgrade.view import Group, groups, told_severity
from harness.records.printable import clean
from harness.records.record import RUNGS, Verdict

_TONE_STYLE = {"good": "bold green", "known": "bold yellow", "bad": "bold red", "missing": "bold"}


def terminal_comparison(comparison: Comparison, console: Console) -> None:
    """Print the ladder, the findings and the answer."""
    grouped = groups(comparison)
    told = answer(comparison, grouped)
    table = Table(header_style="bold")
    for name in ("rung", "verdict", "compared", "differ", "follow"):
        table.add_column(name, justify="left" if name in {"rung", "verdict"} else "right")
    for rung in comparison.rungs:
        pairs = [p for p in comparison.pairs if p.rung == rung]
        here = [f for f in comparison.findings if f.pair.rung == rung]
        out = {Verdict.NOT_RUN, Verdict.NOT_COMPARABLE}
        table.add_row(
            f"{RUNGS.index(rung):>2} {rung}",
            verdict_text(worst(pairs)),
            str(sum(p.verdict not in out for p in pairs)),
            str(sum(f.is_own for f in here)),
            str(sum(not f.is_own for f in here)),
        )
    console.print(table)
    for group in grouped:
        console.print(_line(group))
    console.print(Text(clean(told.title), style=_TONE_STYLE[told.tone]))
    console.print(Text(clean(told.why)), soft_wrap=True)
    for item in told.todo[:MOST_TODO]:
        console.print(Text(clean(f"  • {item}")), soft_wrap=True)
    print_stale(comparison.stale_accepts, console)
    console.print(Text(clean(comparison.headline), style="bold"), soft_wrap=True)


def _line(group: Group) -> Text:
    head = group.head.pair
    text = verdict_text(head.verdict)
    text.append(f"  {head.rung:<12}", style=STYLES[head.verdict])
    text.append(clean(group.title))
    more = [
        told_severity(group),
        *([f"{len(group.consequences)} follow"] if group.consequences else []),
    ]
    return text.append(clean(f"  ({', '.join(more)})"), style="bright_black")
