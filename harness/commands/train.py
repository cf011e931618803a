"""`harness train SPEC FOLDER`: one training from a spec, also what accelerate launches."""

from __future__ import annotations

import argparse

from harness.commands._arguments import path
from harness.judging.workers.process import become

ABOUT = "one training from a spec.json, alone or under accelerate launch"


def arguments(parser: argparse.ArgumentParser) -> None:
    """SPEC and FOLDER."""
    parser.add_argument("spec", type=path, metavar="SPEC", help="a run's training/spec.json")
    parser.add_argument("folder", type=path, metavar="FOLDER", help="its results and its state")


def execute(arguments: argparse.Namespace) -> int:
    """Become the measuring process: a launcher's signals and ranks are then its own."""
    become("training", str(arguments.spec), str(arguments.folder))
