"""Frozen types from JSON: every field checked by its annotation, numbers finite.

Files lie on a user's disk, where they are cut short, edited and merged. What is no such object is
told in words here, once, instead of failing later and elsewhere.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

T = TypeVar("T")
_WORDS: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
}


def finite(value: object, where: str) -> None:
    """Raises ValueError naming `where` for a number inside a JSON value that is not finite."""
    if (shown := infinite(value)) is not None:
        raise ValueError(f"{where} {_no_number(shown)}")


def _no_number(shown: object) -> str:
    return f"is {shown}; record a status instead of a non-finite number"


def infinite(value: object) -> object | None:
    """A number inside a JSON value that is not finite, as it is shown; None where all are."""
    if isinstance(value, str) or value is None:
        return None
    if isinstance(value, int | float):
        try:
            return None if math.isfinite(value) else value
        except OverflowError:
            return "too large for a float"
    if isinstance(value, list):
        return next((each for x in value if (each := infinite(x)) is not None), None)
    if isinstance(value, Mapping):
        return next((each for x in value.values() if (each := infinite(x)) is not None), None)
    return None


def numbers_of(value: object) -> list[float] | None:
    """The numbers of a scalar or a flat list, else None."""
    items = value if isinstance(value, list) else [value]
    if all(isinstance(x, int | float) and not isinstance(x, bool) for x in items):
        return [float(x) for x in items]  # type: ignore[arg-type]
    return None


@cache
def hints_of(kind: Any) -> Mapping[str, Any]:
    """A type's fields with their annotations, names in them looked up."""
    # `Json` names itself in its own definition; any JSON value goes there.
    return get_type_hints(kind, localns={"Json": Any})


@dataclass(frozen=True)
class Rules:
    """needed: fields that must be there although they have a default. more: whether there may be
    fields that the type does not have; they are left out. whole: every field must be there."""

    needed: frozenset[str] = frozenset()
    more: bool = False
    whole: bool = False


STRICT = Rules()


class _Wrong(Exception):
    """A value that is not as its annotation wants it. place: of it in the whole."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.place = ""

    def inside(self, place: str) -> _Wrong:
        """The same, told from what holds it."""
        joint = "." if self.place and self.place[0] != "[" else ""
        self.place = f"{place}{joint}{self.place}"
        return self


_Reader: TypeAlias = Callable[[object], Any]


def build(kind: type[T], raw: object, rules: Rules = STRICT, where: str = "") -> T:
    """An instance of a dataclass from a JSON object, its fields built alike.

    Raises ValueError saying which field is missing, unknown, or of another type.
    """
    try:
        # mypy takes no generic class for hashable.
        built: T = _object_reader(kind, rules)(raw)  # type: ignore[arg-type]
    except _Wrong as wrong:
        place = wrong.inside(where).place if where else wrong.place
        raise ValueError(f"{place or 'it'} {wrong.message}") from wrong.__cause__
    return built


@cache
def _object_reader(kind: Any, rules: Rules) -> _Reader:
    """Reads a dataclass; worked out once, for a record has thousands of values."""
    hints = hints_of(kind)
    optional = {
        field.name
        for field in fields(kind)
        if field.default is not MISSING or field.default_factory is not MISSING
    }
    needed = [
        name for name in _names(kind) if rules.whole or name in rules.needed or name not in optional
    ]
    readers: dict[str, _Reader] = {}

    def read(raw: object) -> Any:
        if not isinstance(raw, Mapping):
            raise _Wrong(f"is {_shown(raw)}, no object")
        if not readers:  # here, for a type may hold itself
            readers.update({name: _reader(hints[name], rules) for name in _names(kind)})
        if not rules.more and (unknown := [name for name in raw if name not in readers]):
            raise _Wrong("is no field of it").inside(unknown[0])
        if missing := [name for name in needed if name not in raw]:
            raise _Wrong("is missing").inside(missing[0])
        values = {}
        for name in raw:
            if name in readers:
                try:
                    values[name] = readers[name](raw[name])
                except _Wrong as wrong:
                    raise wrong.inside(name) from wrong.__cause__
        return kind(**values)

    return read


def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


@cache
def _reader(hint: Any, rules: Rules) -> _Reader:
    """Reads a value as its annotation wants it. Raises _Wrong where it is another."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return _any
    if origin in {Union, types.UnionType}:
        (rest, *_) = (h for h in inner if h is not type(None))
        other = _reader(rest, rules)
        return lambda raw: None if raw is None else other(raw)
    if origin is tuple:
        return _list_reader(_reader(inner[0], rules))
    if origin is not None:
        return _mapping_reader(_reader(inner[1], rules))
    if isinstance(hint, type) and is_dataclass(hint):
        whole = _object_reader(hint, rules)
        return lambda raw: raw if isinstance(raw, hint) else whole(raw)
    if issubclass(hint, Enum):
        return _enum_reader(hint)
    scalar = _scalar_reader(hint)
    return (
        (lambda raw: Path(raw) if isinstance(raw, str) else scalar(raw)) if hint is Path else scalar
    )


def _any(raw: object) -> object:
    if (shown := infinite(raw)) is not None:
        raise _Wrong(_no_number(shown))
    return raw


def _list_reader(item: _Reader) -> _Reader:
    def read(raw: object) -> tuple[Any, ...]:
        if not isinstance(raw, list | tuple):
            raise _Wrong(f"is {_shown(raw)}, no list")
        values: list[Any] = []
        try:
            for each in raw:
                values.append(item(each))
        except _Wrong as wrong:
            raise wrong.inside(f"[{len(values)}]") from wrong.__cause__
        return tuple(values)

    return read


def _mapping_reader(item: _Reader) -> _Reader:
    def read(raw: object) -> dict[str, Any]:
        if not isinstance(raw, Mapping):
            raise _Wrong(f"is {_shown(raw)}, no object")
        values: dict[str, Any] = {}
        for name, each in raw.items():
            try:
                values[name] = item(each)
            except _Wrong as wrong:
                raise wrong.inside(name) from wrong.__cause__
        return values

    return read


def _enum_reader(kind: type[Enum]) -> _Reader:
    names = ", ".join(str(member.value) for member in kind)

    def read(raw: object) -> Enum:
        try:
            return kind(raw)
        except ValueError as error:
            raise _Wrong(f"is {_shown(raw)}, not one of {names}") from error

    return read


def _scalar_reader(kind: type) -> _Reader:
    wanted = (int, float) if kind is float else (kind,)

    def read(raw: object) -> object:
        if not isinstance(raw, wanted) or (isinstance(raw, bool) and kind is not bool):
            raise _Wrong(f"is {_shown(raw)}, not {_WORDS[kind]}")
        return _any(raw)

    return read


def _shown(raw: object) -> str:
    return "null" if raw is None else repr(raw)[:60]
