"""The console view of a judgement, and console output as HTML."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from harness.judging.goldens.judgement import Judged, Judgement
from harness.judging.goldens.power import sentence, unseen
from harness.judging.report.html.markup import Html, join, limited, tag
from harness.judging.report.html.values import SYMBOLS, allowed, text_of, tone
from harness.records.printable import clean
from harness.records.record import Verdict

_STYLES = {"good": "green", "bad": "bold red", "known": "yellow", "missing": "bright_black"}
# Rich's colour names -> classes of the page's stylesheet, readable on the dark screen.
_CLASSES = {"green": "green", "red": "red", "yellow": "yellow", "blue": "blue"}
_MOST = 40
SCREEN_WIDTH = 110


def _plain(text: str, limit: int = 300) -> Text:
    """Outside text for the console: no markup is parsed, no control character reaches it."""
    return Text(clean(limited(text, limit)))


def _detail(item: Judged) -> Text:
    """The finding, then what was found against what should be there, then why."""
    text = _plain(item.finding)
    text.stylize("bold")
    if item.now is not None:
        line = f"{text_of(item.now, item.unit, 60)} ({item.how})"
        if item.golden is not None:
            line += f", golden {text_of(item.golden, item.unit, 60)}"
        if item.kind in {"truth", "observed"}:
            line += f", allowed: {allowed(item.band, item.unit)}"
        text.append("\n").append_text(_plain(line))
    # A known finding's reason stands in its evidence: the stack's own list says why.
    why = item.evidence if item.known and item.evidence else item.reason
    return text.append("\n").append_text(_plain(why, 240)) if why else text


def _table(title: str, items: tuple[Judged, ...]) -> Table:
    table = Table(title=Text(title), title_justify="left", show_header=False, show_lines=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("finding", overflow="fold")
    for item in items[:_MOST]:
        state = Text(f"{SYMBOLS[item.verdict]} {item.verdict.value}", style=_STYLES[tone(item)])
        table.add_row(state, _detail(item))
    if len(items) > _MOST:
        table.add_row("", f"… {len(items) - _MOST} more in the report")
    return table


def _ladder(judgement: Judgement) -> Table:
    table = Table(title=Text("By rung"), title_justify="left", header_style="bold")
    names = {"good": "as it should be", "bad": "unexpected", "known": "known", "missing": "not run"}
    table.add_column("rung")
    for name in names.values():
        table.add_column(name, justify="right")
    for rung in judgement.rungs:
        counts = Counter(tone(item) for item in judgement.items if item.rung == rung)
        cells = [
            Text(str(counts[shade]), style=_STYLES[shade] if counts[shade] else "bright_black")
            for shade in names
        ]
        table.add_row(_plain(rung), *cells)
    return table


def terminal(judgement: Judgement, console: Console) -> None:
    """Print the judgement: by rung, unexpected findings, known ones, what is missing, verdict."""
    console.print(_ladder(judgement))
    if judgement.red:
        console.print(_table("Unexpected findings", judgement.red))
    if judgement.known:
        console.print(_table("Known findings", judgement.known))
    unobserved = sum(item.is_unobserved for item in judgement.missing)
    if unobserved:
        line = f"○ not run: {unobserved} observed values that this device has none of yet: "
        command = _plain(judgement.calibration, 4000)
        # Unwrapped, so that it can be copied.
        console.print(Text(line, style="bright_black").append_text(command), soft_wrap=True)
    rest = (item for item in judgement.missing if not item.is_unobserved)
    reasons = Counter((i.verdict, i.rung, i.reason) for i in rest)
    for (verdict, rung, reason), count in reasons.items():
        word = "not comparable" if verdict is Verdict.NOT_COMPARABLE else "not run"
        line = Text(f"○ {word}: {count} at {rung}: ", style="bright_black")
        console.print(line.append_text(_plain(reason)))
    print_stale(judgement.stale_accepts, console)
    style = "bold red" if judgement.red else "bold"
    console.print(Text(clean(judgement.headline), style=style), soft_wrap=True)
    if judgement.worth is not None:
        told = sentence(judgement.worth, judgement.facts.device_key)
        worth = " ".join(filter(None, (told, unseen(judgement.trial))))
        console.print(Text(clean(worth), style="bright_black"), soft_wrap=True)


def print_stale(names: Sequence[str], console: Console) -> None:
    """Say which accepted ids no longer occur; nothing where all do."""
    if names:
        line = f"no longer found, take out of --accept: {', '.join(names)}"
        console.print(Text(clean(line)), soft_wrap=True)


def _classes(segment: Segment) -> str:
    style = segment.style
    if style is None:
        return ""
    names = ["b"] if style.bold else []
    if style.color is not None:
        name = style.color.name
        names.append("dim" if name.startswith("bright_black") else _CLASSES.get(name, ""))
    return " ".join(filter(None, names))


def screen(*printed: object, label: str, width: int = SCREEN_WIDTH) -> Html:
    """What rich prints, as a <pre> with the page's own classes; never rich's inline colours."""
    console = Console(
        file=io.StringIO(),
        width=width,
        color_system="truecolor",
        force_terminal=True,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    parts: list[Html] = []
    options = console.options.update(width=width)
    for item in printed:
        for segment in console.render(item, options):
            if segment.control:
                continue
            name = _classes(segment)
            parts.append(tag("span", segment.text, class_=name) if name else join([segment.text]))
    return tag("pre", *parts, class_="screen", tabindex="0", role="region", aria_label=label)


def judgement_screen(judgement: Judgement) -> Html:
    """The console view of `terminal`, as HTML."""
    printed: list[object] = [_ladder(judgement)]
    if judgement.red:
        printed.append(_table("Unexpected findings", judgement.red))
    if judgement.known:
        printed.append(_table("Known findings", judgement.known))
    printed.append(Text(clean(judgement.headline), style="bold"))
    return screen(*printed, label="Console view of the judgement")


def log_screen(name: str, text: str) -> Html:
    """A log's last lines; lines that name an error or a warning stand out."""
    lines = []
    for line in text.splitlines():
        low = line.lower()
        style = "red" if "error" in low else "yellow" if "warning" in low else ""
        lines.append(Text(clean(limited(line, 400)) + "\n", style=style, end=""))
    return screen(*lines, label=f"Log {name}", width=400)
