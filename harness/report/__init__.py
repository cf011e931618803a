"""The report: records and a judgement become one self-contained HTML file and a console view."""

from __future__ import annotations

from harness.report.page import render
from harness.report.terminal import terminal

__all__ = ["render", "terminal"]
