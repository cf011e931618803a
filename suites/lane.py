"""The lane and the batch that its tests share."""

from __future__ import annotations

from pathlib import Path

from harness.measuring.lane import __main__ as command

TOKENS = 170


def run_command(out: Path, *words: str) -> int:
    return command.run(command.spec_of([*words, "--out", str(out)]))
