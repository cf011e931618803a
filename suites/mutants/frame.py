"""The sampling frame: which lines of the libraries the recipe's own training executes, and the
mutants of them; and draws from it."""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from suites.mutants.operators import Edited, edits

# Of torch what trains by Python; the rest of it, tokenizers, Pillow, torchvision's kernels and
# Jinja's templates are no Python of these and are left out.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "transformers": ("transformers/",),
    "peft": ("peft/",),
    "trl": ("trl/",),
    "accelerate": ("accelerate/",),
    "bitsandbytes": ("bitsandbytes/",),
    "qwen_vl_utils": ("qwen_vl_utils/",),
    "torch": (
        *("torch/optim/", "torch/utils/data/", "torch/utils/checkpoint.py"),
        *("torch/nn/modules/", "torch/nn/functional.py", "torch/nn/utils/clip_grad.py"),
    ),
}
# Of a hundred draws. One library's share of the lines says how much of its code is Python, not how
# much it decides; within one every function is as likely as any other, so that a table of a
# thousand lines (transformers' names of other models' weights) drowns none.
SHARES = {
    "transformers": 40,
    "peft": 15,
    "trl": 10,
    "accelerate": 10,
    "bitsandbytes": 10,
    "qwen_vl_utils": 5,
    "torch": 10,
}
# By file below site-packages: the executed lines.
Lines = Mapping[str, Collection[int]]


def library_of(file: str) -> str:
    """'' where the file is of none."""
    for library, beginnings in LIBRARIES.items():
        if file.startswith(beginnings):
            return library
    return ""


def traced(site: Path, run: Callable[[], object]) -> dict[str, list[int]]:
    """The lines inside functions of the libraries that `run` executes, by file. What importing a
    module executes is left out: it happens once, before anything can be planted."""
    root = f"{site}/"
    found: dict[str, set[int]] = {}
    known: dict[str, set[int] | None] = {}

    def lines_of(code: CodeType) -> set[int] | None:
        path = code.co_filename
        if path not in known:
            inside = path.startswith(root) and library_of(path[len(root) :])
            known[path] = found.setdefault(path[len(root) :], set()) if inside else None
        return known[path]

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        lines = lines_of(frame.f_code)
        if lines is None or frame.f_code.co_name == "<module>" or _is_importing(frame):
            return None

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "line":
                lines.add(frame.f_lineno)
            return line

        return line

    threading.settrace(call)
    sys.settrace(call)
    try:
        run()
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
    return {file: sorted(lines) for file, lines in sorted(found.items()) if lines}


def _is_importing(frame: FrameType) -> bool:
    """Whether a module's own lines called it."""
    back = frame.f_back
    while back is not None:
        if back.f_code.co_name == "<module>" and "site-packages" in back.f_code.co_filename:
            return True
        back = back.f_back
    return False


@dataclass(frozen=True)
class Mutant:
    """file: below site-packages."""

    file: str
    edit: Edited

    @property
    def name(self) -> str:
        """No other has it."""
        edit = self.edit
        where = f"{self.file}:{edit.line}:{edit.column}"
        return f"{where} {edit.operator} {edit.variant}"


class Frame:
    """Mutants by library and executed line, and draws from them."""

    def __init__(self, site: Path, lines: Lines) -> None:
        self.site, self.lines = site, lines

    @lru_cache  # noqa: B019 - one frame a process
    def of(self, file: str) -> dict[int, list[Mutant]]:
        """By executed line; lines without any are left out."""
        executed = set(self.lines[file])
        by_line: dict[int, list[Mutant]] = {}
        for edit in edits((self.site / file).read_bytes()):
            if edit.line in executed:
                by_line.setdefault(edit.line, []).append(Mutant(file, edit))
        return by_line

    def sizes(self) -> dict[str, dict[str, int]]:
        """By library: files, functions, executed lines, those that have mutants, mutants."""
        sizes: dict[str, dict[str, int]] = {}
        for library in LIBRARIES:
            files = [file for file in self.lines if library_of(file) == library]
            every = [self.of(file) for file in files]
            sizes[library] = {
                "files": len(files),
                "functions": len(self.functions(library)),
                "lines": sum(len(self.lines[file]) for file in files),
                "lines_with_mutants": sum(len(of) for of in every),
                "mutants": sum(len(mutants) for of in every for mutants in of.values()),
            }
        return sizes

    def draws(self, seed: int, before: Collection[str] = ()) -> Iterator[Mutant]:
        """Without end and without repeats: a library by its share, a function of it, an executed
        line of that, an operator that changes the line, one of its changes; each uniformly.
        before: names not to be drawn."""
        drawn, chance = set(before), random.Random(seed)
        functions = {library: self.functions(library) for library in LIBRARIES}
        shares = {library: share for library, share in SHARES.items() if functions[library]}
        while True:
            library = chance.choices(list(shares), list(shares.values()))[0]
            by_line = chance.choice(functions[library])
            by_operator: dict[str, list[Mutant]] = {}
            for mutant in by_line[chance.choice(sorted(by_line))]:
                by_operator.setdefault(mutant.edit.operator, []).append(mutant)
            mutant = chance.choice(by_operator[chance.choice(sorted(by_operator))])
            if mutant.name not in drawn:
                drawn.add(mutant.name)
                yield mutant

    def functions(self, library: str) -> list[dict[int, list[Mutant]]]:
        """Of every function its mutants by line, in the order of files and names."""
        functions: dict[tuple[str, str], dict[int, list[Mutant]]] = {}
        for file in (file for file in self.lines if library_of(file) == library):
            for line, mutants in self.of(file).items():
                for mutant in mutants:
                    of = functions.setdefault((file, mutant.edit.function), {})
                    of.setdefault(line, []).append(mutant)
        return [functions[name] for name in sorted(functions)]


def read_lines(path: Path) -> dict[str, list[int]]:
    """As `draw` leaves them in its folder."""
    lines: dict[str, list[int]] = json.loads(path.read_text())
    return lines
