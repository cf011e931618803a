"""Faults that cosmic-ray has no operator for, by Python's own syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator


def planted(source: str) -> Iterator[tuple[str, int, str]]:
    """(operator, occurrence in the source, the source with that fault)."""
    tree = ast.parse(source)
    for name, changes in OURS.items():
        edits = [edit for node in ast.walk(tree) for edit in changes(node)]
        for occurrence, (node, parts) in enumerate(edits):
            texts = [_text(source, part) if isinstance(part, ast.AST) else part for part in parts]
            yield name, occurrence, _spliced(source, node, "".join(texts))


# What a place in the source is replaced by: texts, and other places as they stand.
_Edit = tuple[ast.AST, list[str | ast.AST]]


def _without_operand(node: ast.AST) -> Iterator[_Edit]:
    """`a and b and c` without one of them."""
    if isinstance(node, ast.BoolOp):
        word = " and " if isinstance(node.op, ast.And) else " or "
        for dropped in node.values:
            parts: list[str | ast.AST] = []
            for kept in node.values:
                if kept is not dropped:
                    parts += [word if parts else "", "(", kept, ")"]
            yield node, ["(", *parts, ")"]


def _never_taken(node: ast.AST) -> Iterator[_Edit]:
    if isinstance(node, ast.If):
        yield node.test, ["False"]


def _other_arm(node: ast.AST) -> Iterator[_Edit]:
    """`a if test else b` with the test turned round."""
    if isinstance(node, ast.IfExp):
        yield node.test, ["(not (", node.test, "))"]


def _membership(node: ast.AST) -> Iterator[_Edit]:
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
        yield node, ["(not (", node, "))"]


def _unfiltered(node: ast.AST) -> Iterator[_Edit]:
    """A comprehension without one of its conditions."""
    if isinstance(node, ast.comprehension):
        yield from ((test, ["True"]) for test in node.ifs)


def _not_called(node: ast.AST) -> Iterator[_Edit]:
    """A statement that is a call, left out."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Yield | ast.YieldFrom):
        yield node, ["pass"]


def _uncaught(node: ast.AST) -> Iterator[_Edit]:
    """A handler that catches nothing (cosmic-ray's own fails on a dotted name)."""
    if isinstance(node, ast.ExceptHandler) and node.type is not None:
        yield node.type, ["()"]


def _any_for_all(node: ast.AST) -> Iterator[_Edit]:
    turned = {"any": "all", "all": "any", "min": "max", "max": "min"}
    if isinstance(node, ast.Name) and node.id in turned:
        yield node, [turned[node.id]]


OURS: dict[str, Callable[[ast.AST], Iterator[_Edit]]] = {
    "WithoutOperand": _without_operand,
    "NeverTaken": _never_taken,
    "OtherArm": _other_arm,
    "Membership": _membership,
    "Unfiltered": _unfiltered,
    "NotCalled": _not_called,
    "Uncaught": _uncaught,
    "AnyForAll": _any_for_all,
}


def _text(source: str, node: ast.AST) -> str:
    text = ast.get_source_segment(source, node)
    assert text is not None
    return text


def _spliced(source: str, node: ast.AST, text: str) -> str:
    """The source with a node's text replaced. ast counts columns in bytes of UTF-8."""
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    first, last = node.lineno - 1, node.end_lineno - 1  # type: ignore[attr-defined]
    head = b"".join(lines[:first]) + lines[first][: node.col_offset]  # type: ignore[attr-defined]
    tail = lines[last][node.end_col_offset :] + b"".join(lines[last + 1 :])  # type: ignore[attr-defined]
    return (head + text.encode() + tail).decode()
