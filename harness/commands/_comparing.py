"""A comparison measured, judged, written and shown, for the verbs that make one."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from harness.judging.compare.comparison import Comparison
from harness.judging.compare.document import Document, document_of, write_comparison
from harness.judging.compare.plan import asked_of, begun
from harness.judging.compare.question import compare_sides
from harness.judging.compare.sides import Side
from harness.judging.compare.spec import CompareSpec
from harness.judging.report.upgrade.ladder import LadderView
from harness.judging.report.upgrade.page import render_comparison
from harness.judging.report.upgrade.terminal import terminal_comparison


def measured(spec: CompareSpec, sides: tuple[Side, Side], out: Path, screen: Console) -> Comparison:
    """Both sides measured, causes found; the records lie in `out`, which is held by the caller."""
    view = LadderView(screen, spec.texts, spec.rungs, tuple(side.out for side in sides))
    with begun(out, asked_of(spec), sides), view:
        return compare_sides(spec, sides, view)


def shown(comparison: Comparison, out: Path, screen: Console) -> Document:
    """Its document and page written, the terminal's view printed."""
    document = document_of(comparison)
    write_comparison(document, out)
    render_comparison(comparison, out / "report.html")
    terminal_comparison(comparison, screen)
    return document
