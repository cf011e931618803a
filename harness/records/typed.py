"""Frozen types from JSON: every field checked by its annotation, numbers finite.

Files lie on a user's disk, where they are cut short, edited and merged. What is no such object is
told in words here, once, instead of failing later and elsewhere.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
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
    if isinstance(value, int | float):
        try:
            is_finite = math.isfinite(value)
        except OverflowError:
            is_finite = False
        if not is_finite:
            shown = value if isinstance(value, float) else "too large for a float"
            raise ValueError(f"{where} is {shown}; record a status instead of a non-finite number")
    elif isinstance(value, list):
        for item in value:
            finite(item, where)
    elif isinstance(value, Mapping):
        for item in value.values():
            finite(item, where)


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


def build(kind: type[T], raw: object, rules: Rules = STRICT, where: str = "") -> T:
    """An instance of a dataclass from a JSON object, its fields built alike.

    Raises ValueError saying which field is missing, unknown, or of another type.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f"{where or 'it'} is {_shown(raw)}, no object")
    hints = hints_of(kind)  # type: ignore[arg-type]  # mypy takes no generic class for hashable
    inside = f"{where}." if where else ""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    unknown = [name for name in raw if name not in known]
    if unknown and not rules.more:
        raise ValueError(f"{inside}{unknown[0]} is no field of it")
    for name, field in known.items():
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if name not in raw and (rules.whole or name in rules.needed or not optional):
            raise ValueError(f"{inside}{name} is missing")
    return kind(**{n: _value(hints[n], raw[n], rules, f"{inside}{n}") for n in raw if n in known})


def _value(hint: Any, raw: object, rules: Rules, where: str) -> Any:
    """A value as its annotation wants it. Raises ValueError where it is another."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        finite(raw, where)
        return raw
    if origin in {Union, types.UnionType}:
        rest = [h for h in inner if h is not type(None)]
        return None if raw is None else _value(rest[0], raw, rules, where)
    if origin is tuple:
        if not isinstance(raw, list | tuple):
            raise ValueError(f"{where} is {_shown(raw)}, no list")
        return tuple(_value(inner[0], x, rules, f"{where}[{i}]") for i, x in enumerate(raw))
    if origin is not None:
        if not isinstance(raw, Mapping):
            raise ValueError(f"{where} is {_shown(raw)}, no object")
        return {k: _value(inner[1], x, rules, f"{where}.{k}") for k, x in raw.items()}
    if isinstance(hint, type) and is_dataclass(hint):
        return raw if isinstance(raw, hint) else build(hint, raw, rules, where)
    if issubclass(hint, Enum):
        try:
            return hint(raw)
        except ValueError as error:
            names = ", ".join(str(member.value) for member in hint)
            raise ValueError(f"{where} is {_shown(raw)}, not one of {names}") from error
    if hint is Path and isinstance(raw, str):
        return Path(raw)
    return _scalar(hint, raw, where)


def _scalar(hint: type, raw: object, where: str) -> object:
    wanted = (int, float) if hint is float else (hint,)
    if not isinstance(raw, wanted) or (isinstance(raw, bool) and hint is not bool):
        raise ValueError(f"{where} is {_shown(raw)}, not {_WORDS[hint]}")
    finite(raw, where)
    return raw


def _shown(raw: object) -> str:
    return "null" if raw is None else repr(raw)[:60]
