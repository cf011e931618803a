"""`harness register table [--write]`: the known changes of the libraries as Markdown."""

from __future__ import annotations

import argparse

from harness.commands._screen import print_or_write
from harness.judging.report import register

ABOUT = "the known changes of the libraries, as a table"


def arguments(parser: argparse.ArgumentParser) -> None:
    """One verb of its own, as `harness lane` has it."""
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=type(parser))
    about = "the register's entries as Markdown"
    tables = verbs.add_parser("table", help=about, description=f"{about.capitalize()}.")
    tables.add_argument("--write", action="store_true", help=f"into {register.SHOWN}")


def execute(arguments: argparse.Namespace) -> int:
    """Print or write the page."""
    print_or_write(register.page(), register.PATH if arguments.write else None)
    return 0
