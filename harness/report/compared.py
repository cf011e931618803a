"""Placeholder until the page is written."""

from __future__ import annotations


def render_comparison(comparison, records, folders, out):  # type: ignore
    return out


def terminal_comparison(comparison, screen):  # type: ignore
    for f in comparison.findings:
        screen.print(
            f"{f.pair.finding} {f.pair.verdict.value} {f.pair.standing} known={[c.name for c in f.known]} cause={f.cause} ({f.cause_note}) gap={f.pair.gap}",
            soft_wrap=True,
            markup=False,
        )
    screen.print(comparison.headline, soft_wrap=True)
