"""`harness report DIR…`: wiring of reading, judging and rendering."""

from __future__ import annotations

import argparse

from harness.commands._arguments import path, verdict_options
from harness.commands._ci import outputs_to
from harness.commands._documents.reported import Reported, ReportedFolder
from harness.commands._documents.verdict import verdict_of
from harness.commands._screen import console, emit
from harness.commands._verdict import judged_folder
from harness.errors import BadInput
from harness.judging.goldens.accepted import read_accepted
from harness.judging.report.ci.outcomes import of_judgement
from harness.judging.report.run.page import page_of
from harness.judging.report.run.terminal import terminal
from harness.records.files import write_atomically

ABOUT = "render existing records, measure nothing"


def arguments(parser: argparse.ArgumentParser) -> None:
    """DIR…, --out, and what every judging verb has."""
    parser.add_argument("directories", nargs="+", type=path, metavar="DIR")
    parser.add_argument("--out", type=path, help="the HTML file (default: DIR/report.html)")
    verdict_options(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Judge and render every folder; the worst exit code: 1 beats 3, both beat 0."""
    outputs = outputs_to(arguments.junit, arguments.summary)
    if len(arguments.directories) > 1 and (arguments.junit or arguments.summary):
        raise BadInput(
            "Give --junit and --summary with one directory only; each holds one verdict."
        )
    if len(arguments.directories) > 1 and arguments.out:
        raise BadInput("Give --out with one directory only; several write beside their records.")
    accepted = read_accepted(arguments.accept)
    # All are read before a page is written: a bad one leaves none.
    ready = []
    for directory in arguments.directories:
        records, judgement = judged_folder(directory, accepted)
        ready.append((directory, judgement, page_of(directory, records, judgement)))
    screen = console()
    for directory, judgement, page in ready:
        file = arguments.out or directory / "report.html"
        write_atomically(file, page)
        terminal(judgement, screen)
        outputs.write(of_judgement(judgement), screen)
        screen.print(f"report: {file}", soft_wrap=True)
    if arguments.json:
        folders = (ReportedFolder(directory=str(d), **vars(verdict_of(j))) for d, j, _ in ready)
        emit(Reported(tuple(folders)))
    return min({judgement.exit_code for _, judgement, _ in ready} - {0}, default=0)
