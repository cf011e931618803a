"""The sampling frame: which lines of the libraries the recipe's own training executes, and the
mutants of them; and draws from it."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
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
# What is executed while batches, steps and texts are made, and what only while a processor, a model
# or a trainer is, or an adapter is kept. Of 89 drawn from both alike, before this was chosen, four
# acted: most of what sets up is of other models and other machines.
WORK, SET_UP = "work", "set-up"
PHASES = {WORK: 80, SET_UP: 20}
# By phase and file below site-packages: the executed lines.
Lines = Mapping[str, Mapping[str, Collection[int]]]


def library_of(file: str) -> str:
    """'' where the file is of none."""
    for library, beginnings in LIBRARIES.items():
        if file.startswith(beginnings):
            return library
    return ""


def traced(
    site: Path, run: Callable[[], object], phase: Callable[[], str]
) -> dict[str, dict[str, list[int]]]:
    """The lines inside functions of the libraries that `run` executes, by phase and file; those of
    both are of the first. What importing a module executes is left out: it happens once, before
    anything can be planted."""
    root = f"{site}/"
    executed: dict[str, dict[str, set[int]]] = {WORK: {}, SET_UP: {}}
    inside: dict[str, str] = {}

    def file_of(path: str) -> str:
        if path not in inside:
            below = path[len(root) :] if path.startswith(root) else ""
            inside[path] = below if library_of(below) else ""
        return inside[path]

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        file = file_of(frame.f_code.co_filename)
        if not file or frame.f_code.co_name == "<module>" or _is_importing(frame, start):
            return None
        lines = executed[phase()].setdefault(file, set())

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "line":
                lines.add(frame.f_lineno)
            return line

        return line

    start, before = sys._getframe(), sys.gettrace()
    threading.settrace(call)
    sys.settrace(call)
    try:
        run()
    finally:
        sys.settrace(before)
        threading.settrace(before)  # type: ignore[arg-type]
    for file, lines in executed[SET_UP].items():
        lines -= executed[WORK].get(file, set())
    return {
        name: {file: sorted(lines) for file, lines in sorted(of.items()) if lines}
        for name, of in executed.items()
    }


def _is_importing(frame: FrameType, start: FrameType) -> bool:
    """Whether a module's own lines called it, since `start`."""
    back = frame.f_back
    while back is not None and back is not start:
        if back.f_code.co_name == "<module>":
            return True
        back = back.f_back
    return False


@dataclass(frozen=True)
class Mutant:
    """file: below site-packages."""

    file: str
    edit: Edited
    phase: str

    @property
    def name(self) -> str:
        """No other has it."""
        edit = self.edit
        where = f"{self.file}:{edit.line}:{edit.column}"
        return f"{where} {edit.operator} {edit.variant}"


# Of a function its mutants by line.
Function = Mapping[int, list[Mutant]]


class Frame:
    """Mutants by phase, library, function and executed line, and draws from them."""

    def __init__(self, site: Path, lines: Lines) -> None:
        self._site, self._lines = site, lines
        self._functions = {
            (phase, library): self._of(phase, library) for phase in PHASES for library in LIBRARIES
        }

    def _of(self, phase: str, library: str) -> list[Function]:
        """Of every function that has any, in the order of files and names."""
        functions: dict[tuple[str, str], dict[int, list[Mutant]]] = {}
        for file, lines in self._lines.get(phase, {}).items():
            if library_of(file) == library:
                executed = set(lines)
                for edit in edits((self._site / file).read_bytes()):
                    if edit.line in executed:
                        of = functions.setdefault((file, edit.function), {})
                        of.setdefault(edit.line, []).append(Mutant(file, edit, phase))
        return [functions[name] for name in sorted(functions)]

    def sizes(self) -> dict[str, dict[str, dict[str, int]]]:
        """By phase and library: files, executed lines, functions and lines that have mutants, and
        mutants."""
        sizes: dict[str, dict[str, dict[str, int]]] = {}
        for (phase, library), functions in self._functions.items():
            every = self._lines.get(phase, {})
            lines = [of for file, of in every.items() if library_of(file) == library]
            sizes.setdefault(phase, {})[library] = {
                "files": len(lines),
                "lines": sum(map(len, lines)),
                "functions": len(functions),
                "lines_with_mutants": sum(map(len, functions)),
                "mutants": sum(len(of) for function in functions for of in function.values()),
            }
        return sizes

    def draws(self, seed: int, before: Collection[str] = ()) -> Iterator[Mutant]:
        """Without end and without repeats: a phase and a library by their shares, a function, an
        executed line of it, an operator that changes the line, one of its changes; each uniformly.
        before: names not to be drawn."""
        drawn, chance = set(before), random.Random(seed)
        while True:
            phase, library = _chosen(chance, PHASES), _chosen(chance, SHARES)
            if not (functions := self._functions[phase, library]):
                continue
            by_line = chance.choice(functions)
            by_operator: dict[str, list[Mutant]] = {}
            for mutant in by_line[chance.choice(sorted(by_line))]:
                by_operator.setdefault(mutant.edit.operator, []).append(mutant)
            mutant = chance.choice(by_operator[chance.choice(sorted(by_operator))])
            if mutant.name not in drawn:
                drawn.add(mutant.name)
                yield mutant


def _chosen(chance: random.Random, shares: Mapping[str, int]) -> str:
    return chance.choices(list(shares), list(shares.values()))[0]
