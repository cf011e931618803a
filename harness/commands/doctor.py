"""`harness doctor`: what is missing, and the command that mends it; installs nothing."""

from __future__ import annotations

import argparse

from harness.commands._arguments import json_option, stack_option
from harness.commands._documents.inspected import Inspected
from harness.commands._screen import console, emit
from harness.judging.environments.inspection import exit_code, inspect

ABOUT = "name what is missing and the command that mends it"


def arguments(parser: argparse.ArgumentParser) -> None:
    """--stack, --require-cuda."""
    stack_option(parser)
    parser.add_argument("--require-cuda", action="store_true", help="exit 3 without CUDA")
    json_option(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print the inspection; 2 where something is missing, 3 where this machine cannot do it."""
    lines = inspect(arguments.stack, require_cuda=arguments.require_cuda)
    screen = console()
    for line in lines:
        mend = f"  → {line.mend}" if line.mend else ""
        screen.print(
            f"{line.state:>8}  {line.what}: {line.found}{mend}", markup=False, soft_wrap=True
        )
    if arguments.json:
        emit(Inspected(tuple(lines)))
    return exit_code(lines)
