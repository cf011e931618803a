"""`python -m harness.judging.workers.node FILE…`: run commands on this node, one after the other.

For engines that hand out files: each command is read from its file, and how it ended lies beside
it, written whole. One that has ended already, before its node was taken away, is not run again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from harness.errors import BadInput
from harness.judging.workers.running import Command, Ended, run_here
from harness.records.files import read_object, write_json
from harness.records.typed import build

SCHEMA = 1


def hand_out(command: Command, path: Path) -> None:
    """Write a command's file."""
    raw = {**asdict(command), "log": str(command.log)}
    write_json(path, {"schema": SCHEMA, **raw})


def ended_path(path: Path) -> Path:
    """Where it is said how the command of a file ended."""
    return path.with_suffix(".ended")


def read_ended(path: Path) -> Ended:
    """How a command ended. Raises BadInput naming a damaged file."""
    return _read(Ended, path)


T = TypeVar("T")


def _read(kind: type[T], path: Path) -> T:
    raw = read_object(path)
    if raw.pop("schema", None) != SCHEMA:
        raise BadInput(f"{path} has another schema than {SCHEMA}; start the matrix anew.")
    try:
        return build(kind, raw)
    except ValueError as error:
        raise BadInput(f"{path} is not complete ({error}); start the matrix anew.") from error


def main(words: Sequence[str]) -> int:
    """Run the commands of these files; 0 whatever became of them."""
    for path in map(Path, words):
        if not ended_path(path).is_file():
            ended = run_here(_read(Command, path))
            write_json(ended_path(path), {"schema": SCHEMA, **asdict(ended)})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
