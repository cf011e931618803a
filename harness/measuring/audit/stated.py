"""Numbers that a user's file states, read off its syntax tree without running it."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def stated(source: str, name: str) -> list[int]:
    """Every whole number that the file gives a setting of that name: as a keyword, an attribute or
    a name that is assigned (in capitals too), or a dict's key. Sums and products of numbers and of
    the file's own constants are worked out; what only running it would tell is left out."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    constants = _constants(tree)
    values = [value for node in ast.walk(tree) for value in _given(node, name)]
    numbers = [_number(value, constants) for value in values]
    return [number for number in numbers if number is not None]


def _constants(tree: ast.Module) -> dict[str, int]:
    constants: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            number = _number(node.value, constants)
            for target in node.targets:
                if isinstance(target, ast.Name) and number is not None:
                    constants[target.id] = number
    return constants


def _given(node: ast.AST, name: str) -> list[ast.expr]:
    if isinstance(node, ast.Call):
        return [k.value for k in node.keywords if k.arg == name]
    if isinstance(node, ast.Assign):
        return [node.value for target in node.targets if _is_named(target, name)]
    if isinstance(node, ast.Dict):
        pairs: list[tuple[Any, ast.expr]] = list(zip(node.keys, node.values, strict=True))
        return [v for k, v in pairs if isinstance(k, ast.Constant) and k.value == name]
    return []


def _is_named(target: ast.expr, name: str) -> bool:
    if isinstance(target, ast.Subscript):
        return isinstance(target.slice, ast.Constant) and target.slice.value == name
    if isinstance(target, ast.Attribute):
        return target.attr == name
    return isinstance(target, ast.Name) and target.id in {name, name.upper()}


def _number(node: ast.expr, constants: Mapping[str, int]) -> int | None:
    if isinstance(node, ast.Constant):
        return node.value if type(node.value) is int else None
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _number(node.left, constants), _number(node.right, constants)
        if left is None or right is None or (isinstance(node.op, ast.FloorDiv) and right == 0):
            return None
        return _OPERATORS[type(node.op)](left, right)
    return None
