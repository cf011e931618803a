"""What the commands print: words for people on stderr, one JSON document on stdout."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, TextIO

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from harness.records.files import write_atomically
from harness.records.folders import refuse_installed
from harness.records.printable import MARK, is_ours, shown


class _Clean:
    """What is printed, its text made harmless once rich has laid it out."""

    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line: list[Segment] = []
        for segment in console.render(self._renderable, options):
            # Rich's own movements and colours are controls and styles, never text.
            if segment.control:
                line.append(segment)
                continue
            first, *further = shown(segment.text).split("\n")
            line.append(Segment(first, segment.style))
            for begun in further:
                yield from _marked(line)
                yield Segment.line()
                line = [Segment(begun, segment.style)]
        yield from _marked(line)


def _marked(line: list[Segment]) -> list[Segment]:
    """A line as it is printed: one that would pass for ours begins with a mark, and loses its
    colours where they part what must not stand together."""
    text = "".join(segment.text for segment in line if not segment.control)
    if shown(text) != text:
        line = [*(segment for segment in line if segment.control), Segment(shown(text))]
    return [Segment(MARK), *line] if is_ours(text) else line


class Command:
    """A line for a CI system, whose own escapes make it harmless: printed as it is."""

    def __init__(self, line: str) -> None:
        self._line = line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self._line)
        yield Segment.line()


class _Cleaning(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [r if isinstance(r, Command) else _Clean(r) for r in renderables]


class Screen(Console):
    """The one place where text becomes terminal output: a string is text and never markup, a
    control character in it is shown and never sent, and no line of it passes for an error of ours
    or a command to a CI system, whatever prints.

    Its reader may leave: rich would end the process with 1, which says 'a finding' here.
    """

    def __init__(self, *, stderr: bool = True, file: TextIO | None = None) -> None:
        super().__init__(stderr=stderr, file=file, highlight=False, markup=False, emoji=False)
        self.push_render_hook(_Cleaning())

    def on_broken_pipe(self) -> None:
        """Say no more; the command goes on and its exit code still tells the verdict."""
        self.quiet = True
        _let_go(sys.stderr)


def console() -> Console:
    """Everything for people goes to stderr; stdout holds one JSON document or nothing."""
    return Screen()


class Printed(Protocol):
    """A frozen type that is a document (_documents). schema: its version, in its schema's name."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def schema(self) -> int:
        """Which form of its kind it is."""


def to_json(document: Printed) -> dict[str, Any]:
    """Its fields, the version first; paths as texts."""
    return {"schema": document.schema, **asdict(document, dict_factory=_plain)}


def _plain(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in fields}


def emit(document: Printed) -> None:
    """The one JSON document of `--json`, of a type that has a schema: ASCII, so that
    any encoding of stdout can hold it, and no text in it is a command to a CI system."""
    text = json.dumps(to_json(document), allow_nan=False)
    _print(text.replace("##[", "##\\u005b"))


def print_or_write(page: str, path: Path | None) -> None:
    """A generated page into its committed file, or, without a path, on stdout.

    Raises BadInput where it would be written and this is no clone.
    """
    if path is None:
        _print(page.removesuffix("\n"))
        return
    refuse_installed(f"{path.parent.name}/{path.name}")
    write_atomically(path, page.encode("utf-8"))


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _let_go(sys.stdout)


def _let_go(stream: TextIO) -> None:
    """Point a stream without a reader nowhere, so that Python's last flush of it succeeds."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
