"""A mutant put into functions that are imported already: their code is replaced, so that every
reference to them has it. No file is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType

from suites.mutants.frame import Mutant
from suites.mutation.swapped import Alive, Named


class NotPlantable(Exception):
    """Why the change cannot be put into running code, or is no Python."""


def changed_code(path: str, source: bytes, mutated: bytes) -> dict[Named, CodeType]:
    """The code of every function, at any depth, that differs, by qualified name and first line.
    Raises NotPlantable where two of those cannot be told apart, or it is no Python."""
    old = _all(compile(source, path, "exec", dont_inherit=True))
    try:
        new = list(_all(compile(mutated, path, "exec", dont_inherit=True)))
    except SyntaxError as error:
        raise NotPlantable(f"no Python: {error.msg}") from error
    before, after = _by_name(old), _by_name(new)
    differ = [name for name in before if name in after and before[name] != after[name]]
    if any(len(before[name]) > 1 and "<lambda>" in name[0] for name in differ):
        raise NotPlantable("two functions of one name on one line")
    return {name: after[name][0] for name in differ}


def _by_name(codes: Iterable[CodeType]) -> dict[Named, list[CodeType]]:
    named: dict[Named, list[CodeType]] = {}
    for code in codes:
        named.setdefault(_name(code), []).append(code)
    return named


def plant(mutant: Mutant, site: Path, alive: Alive) -> int:
    """Into this process, for good; how many functions. alive: as suites.mutation.swapped lists it.
    Raises NotPlantable where no function has it or one would need other variables around it."""
    path = site / mutant.file
    source = path.read_bytes()
    codes = changed_code(str(path), source, mutant.edit.applied(source))
    count = 0
    for function in alive.get(str(path), ()):
        code = codes.get(_name(function.__code__))
        if code is not None:
            try:
                function.__code__ = code
            except ValueError as error:
                raise NotPlantable(str(error)) from error
            count += 1
    if not count:
        raise NotPlantable("no function that is alive has it")
    return count


def _all(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from _all(inner)


def _name(code: CodeType) -> Named:
    return code.co_qualname, code.co_firstlineno
