"""`harness report DIR…`: wiring of reading, judging and rendering."""

from __future__ import annotations

import argparse

from harness.accepted import read_accepted
from harness.commands import console, emit, judged, judgement_json
from harness.errors import BadInput
from harness.record import read_records, write_atomically


def report_command(arguments: argparse.Namespace) -> int:
    """Judge and render every folder; the worst exit code: 1 beats 3, both beat 0."""
    from harness.report import page_of, terminal

    if len(arguments.directories) > 1 and arguments.out:
        raise BadInput("Give --out with one directory only; several write beside their records.")
    accepted = read_accepted(arguments.accept)
    # All are read before a page is written: a bad one leaves none.
    ready = []
    for directory in arguments.directories:
        judgement = judged(read_records(directory), accepted)
        ready.append((directory, judgement, page_of(directory, judgement)))
    screen = console()
    for directory, judgement, page in ready:
        path = arguments.out or directory / "report.html"
        write_atomically(path, page)
        terminal(judgement, screen)
        screen.print(f"report: {path}", soft_wrap=True)
    if arguments.json:
        reports = [{"directory": str(d), **judgement_json(j)} for d, j, _ in ready]
        emit({"reports": reports})
    return min({judgement.exit_code for _, judgement, _ in ready} - {0}, default=0)
