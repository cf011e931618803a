"""`python -m harness`."""

import atexit
import os
import sys
from typing import NoReturn

from harness.cli import main


def _leave(ended: list[int]) -> None:
    if not ended:
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return  # Python's own end meets the same reader that has left, and treats it as ever
    os._exit(ended[-1])


def program() -> NoReturn:
    """The command line as a process. Once it has ended, what it imported is not taken apart object
    by object, which takes up to a tenth of a short command."""
    ended: list[int] = []
    # The first to be registered is the last to be called: what else was left for the end is done.
    atexit.register(_leave, ended)
    code = main()
    ended.append(code)
    sys.exit(code)


if __name__ == "__main__":
    program()
