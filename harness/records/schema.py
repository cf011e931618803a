"""A frozen type's JSON as a JSON Schema (draft 2020-12), worked out from its annotations.

The type is the format: what `records.typed` builds back, and what `asdict` writes, is what the
schema allows, so that other tools can hold a document against it without this package.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from harness.records.typed import hints_of

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: Mapping[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    Path: "string",
}
# A document's own seal (records.seals): of what it says, and of the files that belong to it.
_HEX = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_SEAL: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "document": _HEX,
        "files": {"type": "object", "additionalProperties": _HEX},
    },
    "required": ["document"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Form:
    """How a type becomes a document.

    version: its `schema` number. sealed: whether a file carries its seal. whole: whether every
    field is written, as asdict does; by hand those with a default may be left out. without: fields
    that are not written. numbered: whether the document has a `schema` that the type has not.
    optional: fields that are written only where they say something.
    """

    version: int
    sealed: bool = False
    whole: bool = True
    numbered: bool = False
    without: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


def json_schema(kind: Any, title: str, form: Form) -> dict[str, Any]:
    """The schema of a document of this type. Raises TypeError for an annotation that has no JSON
    form here."""
    definitions: dict[str, Any] = {}
    top = _object(kind, definitions, form)
    properties = {k: v for k, v in top["properties"].items() if k not in form.without}
    required = [k for k in top["required"] if k in properties and k not in form.optional]
    if form.numbered or "schema" in properties:
        properties = {**properties, "schema": {"const": form.version}}
        required = ["schema", *(name for name in required if name != "schema")]
    if form.sealed:
        properties["seal"] = dict(_SEAL)
        required = [*required, "seal"]
    return {
        "$schema": DRAFT,
        "title": title,
        **top,
        "properties": properties,
        "required": required,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(kind: Any, definitions: dict[str, Any], form: Form) -> dict[str, Any]:
    hints = hints_of(kind)
    known = fields(kind)
    needed = [
        f.name
        for f in known
        if form.whole or (f.default is MISSING and f.default_factory is MISSING)
    ]
    return {
        "type": "object",
        "properties": {f.name: _of(hints[f.name], definitions, form) for f in known},
        "required": needed,
        "additionalProperties": False,
    }


def _of(hint: Any, definitions: dict[str, Any], form: Form) -> dict[str, Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if origin in {Union, types.UnionType}:
        return {"anyOf": [_of(part, definitions, form) for part in inner]}
    if hint is type(None):
        return {"type": "null"}
    if origin is tuple:
        return _tuple(inner, definitions, form)
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of(inner[1], definitions, form)}
    if isinstance(hint, type) and is_dataclass(hint):
        name = hint.__name__
        shape = _object(hint, definitions, form)
        if definitions.setdefault(name, shape) != shape:
            raise TypeError(f"two types of one document are called {name}")
        return {"$ref": f"#/$defs/{name}"}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    raise TypeError(f"{hint!r} has no JSON form")


def _tuple(inner: tuple[Any, ...], definitions: dict[str, Any], form: Form) -> dict[str, Any]:
    if inner[1:] == (...,):
        return {"type": "array", "items": _of(inner[0], definitions, form)}
    items = [_of(part, definitions, form) for part in inner]
    return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
