"""The report: records and a judgement become one self-contained HTML file and a console view."""

from __future__ import annotations

from harness.report.page import page_of, render
from harness.report.terminal import terminal

__all__ = ["page_of", "render", "terminal"]
