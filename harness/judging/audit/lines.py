"""The line of a user's file that decides a setting, found in its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """number: from 1. text: as it stands there, without its indentation."""

    number: int
    text: str


def line_of(source: str, setting: str) -> Line | None:
    """Where a setting is given: as a keyword of a call, a name or attribute that is assigned, a key
    of a dict, or the function of that name. The last place wins, as it does when Python runs.
    Where a function or class of the file is given, its own line is meant. None where the file
    does not give it: then its default decides.
    """
    name = setting.rsplit(".", 1)[-1]
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    defined = {
        node.name: node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    numbers = [number for node in ast.walk(tree) for number in _places(node, name, defined)]
    if not numbers:
        return None
    number = max(numbers)
    return Line(number, source.splitlines()[number - 1].strip())


def _places(node: ast.AST, name: str, defined: Mapping[str, int]) -> list[int]:
    if isinstance(node, ast.Call):
        return [_meant(k.value, defined) for k in node.keywords if k.arg == name]
    if isinstance(node, ast.Assign):
        return [node.lineno for target in node.targets if _named(target) == name]
    if isinstance(node, ast.Dict):
        return [k.lineno for k in node.keys if isinstance(k, ast.Constant) and k.value == name]
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
        return [node.lineno]
    return []


def _meant(value: ast.expr, defined: Mapping[str, int]) -> int:
    """The line of a value; of a function or an instance of a class of the file, where that is."""
    inner = value.func if isinstance(value, ast.Call) else value
    if isinstance(inner, ast.Name) and inner.id in defined:
        return defined[inner.id]
    return value.lineno


def _named(target: ast.expr) -> str:
    if isinstance(target, ast.Attribute):
        return target.attr
    return target.id if isinstance(target, ast.Name) else ""
