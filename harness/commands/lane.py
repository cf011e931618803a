"""`harness lane measure | contest | whole | several | killed | ladder | table`: on a GPU."""

from __future__ import annotations

import argparse

from harness.commands._arguments import path
from harness.commands._screen import print_or_write
from harness.judging.report.lane import ladder, table
from harness.judging.workers.process import become
from harness.records.seals import write_sealed

ABOUT = "what a training step costs on a GPU, case by case"
# Begins no word that a process can be given: what looks like an option is the measuring one's.
# argparse takes a word of REMAINDER for an unknown option where that is the first.
NOTHING = "\0"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Seven verbs; the measuring ones have the options of what they become."""
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=type(parser))
    for name, about in (
        ("measure", "measure cases, one file each; --help lists them"),
        ("contest", "sides in processes of their own, peers among them, in turn"),
        ("whole", "a training from a cold start to its adapter, every phase timed"),
        ("several", "one process, data parallel and FSDP on the same steps"),
        ("killed", "one of several processes killed, and its training gone on with"),
    ):
        one = verbs.add_parser(name, help=about, add_help=False, prefix_chars=NOTHING)
        one.add_argument("words", nargs=argparse.REMAINDER)
    of_gpu = verbs.add_parser("ladder", help="a GPU's records of the ladder as one file")
    of_gpu.add_argument("folder", type=path)
    of_gpu.add_argument("out", type=path)
    of_gpu.add_argument("--like", required=True, help="a committed stack with known findings")
    tables = verbs.add_parser("table", help="the committed records as Markdown")
    tables.add_argument("--write", action="store_true", help=f"into {table.SHOWN}")


def execute(arguments: argparse.Namespace) -> int:
    """Become the measuring process, or render what was measured."""
    if arguments.verb == "ladder":
        write_sealed(arguments.out, ladder.record_of(arguments.folder, arguments.like))
    elif arguments.verb == "table":
        print_or_write(table.page(), table.PATH if arguments.write else None)
    else:
        module = {
            "measure": "lane",
            "contest": "lane.contest",
            "whole": "lane.whole",
            "several": "lane.several",
            "killed": "lane.killed",
        }[arguments.verb]
        become(module, *arguments.words)
    return 0
