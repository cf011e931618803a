"""A fault put into functions that are imported already: their code is replaced, nothing else.

Importing the project anew around every fault takes longer than most tests.
"""

from __future__ import annotations

import gc
import inspect
import types
from collections.abc import Iterable, Iterator

Named = tuple[str, int]


def swapped(path: str, source: str, changed: str) -> dict[Named, types.CodeType] | None:
    """The code of every function that a fault changes, by its qualified name and first line in
    `source`; None where the fault lies outside functions, and the module must be imported anew."""
    old, new = (compile(text, path, "exec") for text in (source, changed))
    before, after = list(_functions(old)), list(_functions(new))
    if [code.co_qualname for code in before] != [code.co_qualname for code in after]:
        return None
    if list(_around(old)) != list(_around(new)):
        return None
    return {
        (one.co_qualname, one.co_firstlineno): other
        for one, other in zip(before, after, strict=True)
        if one.co_code != other.co_code
        or one.co_consts != other.co_consts
        or _names(one) != _names(other)
    }


Alive = dict[str, list[types.FunctionType]]


def alive() -> Alive:
    """Every function there is, by its file. Once, before any fork: whoever looks through all
    objects has the kernel copy every page of them."""
    by_file: Alive = {}
    for each in gc.get_objects():
        if isinstance(each, types.FunctionType):
            by_file.setdefault(each.__code__.co_filename, []).append(each)
    return by_file


def swap(functions: Iterable[types.FunctionType], codes: dict[Named, types.CodeType]) -> int:
    """Replace the code of some of a file's functions; how many there were."""
    count = 0
    for function in functions:
        code = codes.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
        if code is not None:
            function.__code__ = code
            count += 1
    return count


def _names(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    return code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    return (const for const in code.co_consts if isinstance(const, types.CodeType))


def _functions(code: types.CodeType) -> Iterator[types.CodeType]:
    """Of a module or a class body, in order; those of its classes too, none that a function makes
    when it is called."""
    for inner in _nested(code):
        if inner.co_flags & inspect.CO_OPTIMIZED:
            yield inner
        else:
            yield from _functions(inner)


def _around(code: types.CodeType) -> Iterator[tuple[object, ...]]:
    """What a module's and its classes' own lines do."""
    plain = tuple(x for x in code.co_consts if not isinstance(x, types.CodeType))
    yield code.co_code, tuple(map(repr, plain)), code.co_names
    for inner in _nested(code):
        if not inner.co_flags & inspect.CO_OPTIMIZED:
            yield from _around(inner)
