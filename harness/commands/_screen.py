"""What the commands print: words for people on stderr, one JSON document on stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from rich.console import Console

JSON_SCHEMA = 1


class Screen(Console):
    """A console whose reader may leave. rich would end the process with 1, which says 'a finding'
    here."""

    def on_broken_pipe(self) -> None:
        """Say no more; the command goes on and its exit code still tells the verdict."""
        self.quiet = True
        _let_go(sys.stderr)


def console() -> Console:
    """Everything for people goes to stderr; stdout holds one JSON document or nothing."""
    return Screen(stderr=True, highlight=False)


def emit(document: Mapping[str, Any]) -> None:
    """The one JSON document of `--json`: ASCII, so that any encoding of stdout can hold it."""
    text = json.dumps({"schema": JSON_SCHEMA, **document}, allow_nan=False)
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _let_go(sys.stdout)


def _let_go(stream: TextIO) -> None:
    """Point a stream without a reader nowhere, so that Python's last flush of it succeeds."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
