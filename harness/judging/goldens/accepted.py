"""The file of `--accept`: finding ids that do not raise the exit code."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import BadInput


def read_accepted(path: Path | None) -> frozenset[str]:
    """The finding ids of an accept file: one a line, `#` begins a comment.

    Raises BadInput naming a file that is not there, cannot be read or is no text.
    """
    if path is None:
        return frozenset()
    if not path.is_file():
        raise BadInput(f"There is no file {path} to accept findings from.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no UTF-8 text; list one finding id a line.") from error
    # A case may hold a `#`; only one at the start or after a space begins a comment.
    kept = (re.split(r"(?:^|\s)#", line)[0].strip() for line in lines)
    return frozenset(filter(None, kept))
