"""Mutation operators on Python's own syntax tree: the standard ones (comparison, constant,
arithmetic, logic, statement), and PIT's argument propagation, which in a network skips a layer.

Strings are left alone (most are names, whose change is an error at once), as are default values,
decorators and annotations: they are not a function's executed lines.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

# What a place in the source is replaced by: texts, and other places as they stand.
Parts = Sequence[str | ast.AST]
Edit = tuple[ast.AST, Parts]
MOST_SHOWN = 120
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Edited:
    """One change of a file's text. function: qualified name, as code objects have it. line, column:
    of what is changed, from 1 and 0. variant: the how-manieth of its operator at that place. start,
    end: bytes of UTF-8 that `text` replaces; no line moves."""

    function: str
    line: int
    column: int
    operator: str
    variant: int
    start: int
    end: int
    text: str

    def applied(self, source: bytes) -> bytes:
        """The file with it."""
        return source[: self.start] + self.text.encode() + source[self.end :]


def edits(source: bytes) -> Iterator[Edited]:
    """Every change of every function's body in a file, none that leaves the same program."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def span(node: ast.AST) -> tuple[int, int]:
        first, last = node.lineno, node.end_lineno  # type: ignore[attr-defined]
        return (
            starts[first - 1] + node.col_offset,  # type: ignore[attr-defined]
            starts[last - 1] + node.end_col_offset,  # type: ignore[attr-defined]
        )

    for function, node, bound in _places(ast.parse(source)):
        for operator, changes in OPERATORS.items():
            seen: set[str] = set()
            for variant, (place, parts) in enumerate(changes(node, bound)):
                start, end = span(place)
                texts = [
                    source[slice(*span(part))].decode() if isinstance(part, ast.AST) else part
                    for part in parts
                ]
                text, old = "".join(texts), source[start:end].decode()
                if text == old or text in seen:
                    continue
                seen.add(text)
                lost = old.count("\n") - text.count("\n")
                if lost and isinstance(place, ast.stmt):
                    text += "\n" * lost
                elif lost:
                    text = f"({text}{chr(10) * lost})"
                line, column = place.lineno, place.col_offset  # type: ignore[attr-defined]
                yield Edited(function, line, column, operator, variant, start, end, text)


def shown(edit: Edited, source: bytes) -> tuple[str, str]:
    """The changed lines before and after, in one line of at most MOST_SHOWN characters each."""
    head = source.rfind(b"\n", 0, edit.start) + 1
    tail = source.find(b"\n", edit.end)
    tail = len(source) if tail < 0 else tail
    before = source[head:tail].decode()
    after = (source[head : edit.start] + edit.text.encode() + source[edit.end : tail]).decode()
    before, after = " ".join(before.split()), " ".join(after.split())
    same = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    begin = max(0, same - MOST_SHOWN // 2) if max(len(before), len(after)) > MOST_SHOWN else 0
    return _cut(before, begin), _cut(after, begin)


def _cut(text: str, begin: int) -> str:
    left = "…" if begin else ""
    cut = left + text[begin:]
    return cut if len(cut) <= MOST_SHOWN else cut[: MOST_SHOWN - 1] + "…"


def _places(tree: ast.Module) -> Iterator[tuple[str, ast.AST, frozenset[str]]]:
    """(function's qualified name, node of its body, names that were bound before the node)."""

    def functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, _FUNCTIONS):
                yield prefix + child.name, child
                yield from functions(child, f"{prefix}{child.name}.<locals>.")
            elif isinstance(child, ast.ClassDef):
                yield from functions(child, f"{prefix}{child.name}.")
            else:
                yield from functions(child, prefix)

    for name, function in functions(tree, ""):
        arguments = function.args  # type: ignore[attr-defined]
        every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        bound = {each.arg for each in every}
        for statement in function.body:  # type: ignore[attr-defined]
            for node in _inside(statement):
                yield name, node, frozenset(bound)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    bound.add(node.id)


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """A statement's nodes, outer first; none of functions and classes in it, of formatted texts
    (whose places Python 3.11 tells wrongly), nor of annotations."""
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.JoinedStr)):
        return
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _inside(child)


_COMPARED: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
_CALCULATED: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "*",
    ast.Pow: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}


def _comparison(node: ast.AST, _: frozenset[str]) -> Iterator[Edit]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for word in _COMPARED[type(node.ops[0])]:
            yield node, ["(", node.left, f" {word} ", node.comparators[0], ")"]


def _number(node: ast.AST, _: frozenset[str]) -> Iterator[Edit]:
    """One more, one less, twice, nothing at all."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value = node.value
        for other in (value + 1, value - 1, value * 2, None):  # type: ignore[operator]
            yield node, [f"({other!r})"]


def _truth(node: ast.AST, _: frozenset[str]) -> Iterator[Edit]:
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool)):
        others = {True: (False, None), False: (True, None), None: (True, False)}
        yield from ((node, [repr(other)]) for other in others[node.value])


def _arithmetic(node: ast.AST, _: frozenset[str]) -> Iterator[Edit]:
    if isinstance(node, ast.BinOp) and type(node.op) in _CALCULATED:
        word = _CALCULATED[type(node.op)]
        yield node, ["((", node.left, f") {word} (", node.right, "))"]
    if isinstance(node, ast.AugAssign) and type(node.op) in _CALCULATED:
        yield node, [node.target, f" {_CALCULATED[type(node.op)]}= (", node.value, ")"]


def _sign(node: ast.AST, _: frozenset[str]) -> Iterator[Edit]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield node, ["(", node.operand, ")"]


def _logic(node: ast.AST, _: frozenset[str]) -> Iterator[Edit]:
    """`and` for `or`; each operand left out."""
    if not isinstance(node, ast.BoolOp):
        return
    words = (" or ", " and ") if isinstance(node.op, ast.And) else (" and ", " or ")
    for word, values in [(words[0], node.values)] + [
        (words[1], [kept for kept in node.values if kept is not dropped]) for dropped in node.values
    ]:
        parts: list[str | ast.AST] = []
        for value in values:
            parts += [word if parts else "", "(", value, ")"]
        yield node, ["(", *parts, ")"]


def _negated(node: ast.AST, _: frozenset[str]) -> Iterator[Edit]:
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield node.test, ["(not (", node.test, "))"]
    if isinstance(node, ast.comprehension):
        yield from ((test, ["(not (", test, "))"]) for test in node.ifs)


def _keyword(node: ast.AST, _: frozenset[str]) -> Iterator[Edit]:
    """A call without one of its keyword arguments."""
    if isinstance(node, ast.Call):
        for dropped in (k for k in node.keywords if k.arg is not None):
            parts: list[str | ast.AST] = [node.func, "("]
            for argument in node.args:
                parts += [argument, ", "]
            for kept in node.keywords:
                if kept is not dropped:
                    parts += [f"{kept.arg}=" if kept.arg else "**", kept.value, ", "]
            yield node, [*parts, ")"]


def _propagated(node: ast.AST, _: frozenset[str]) -> Iterator[Edit]:
    """A call's first argument for the call, or what a method without arguments belongs to."""
    if not isinstance(node, ast.Call):
        return
    if node.args and not isinstance(node.args[0], ast.Starred | ast.GeneratorExp):
        yield node, ["(", node.args[0], ")"]
    elif isinstance(node.func, ast.Attribute) and not node.args:
        yield node, ["(", node.func.value, ")"]


def _dropped(node: ast.AST, bound: frozenset[str]) -> Iterator[Edit]:
    """A statement left out: a call, a change of what is bound already."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield node, ["pass"]
    if isinstance(node, ast.AugAssign | ast.Continue | ast.Break):
        yield node, ["pass"]
    if isinstance(node, ast.Assign) and all(_is_bound(each, bound) for each in node.targets):
        yield node, ["pass"]


def _is_bound(target: ast.AST, bound: frozenset[str]) -> bool:
    if isinstance(target, ast.Tuple):
        return all(_is_bound(each, bound) for each in target.elts)
    return isinstance(target, ast.Attribute | ast.Subscript) or (
        isinstance(target, ast.Name) and target.id in bound
    )


def _bounds(node: ast.AST, _: frozenset[str]) -> Iterator[Edit]:
    """A slice's first or last moved by one; of numbers, `_number` does it."""
    if not isinstance(node, ast.Slice):
        return
    lower, upper, step = (node.lower or "", node.upper or "", node.step)
    rest: Parts = [":", step] if step is not None else []
    if not isinstance(node.lower, ast.Constant):
        moved: Parts = ["(", lower, ") + 1"] if lower else ["1"]
        yield node, [*moved, ":", upper, *rest]
    if not isinstance(node.upper, ast.Constant):
        moved = ["(", upper, ") - 1"] if upper else ["-1"]
        yield node, [lower, ":", *moved, *rest]


def _no_iteration(node: ast.AST, _: frozenset[str]) -> Iterator[Edit]:
    if isinstance(node, ast.For):
        yield node.iter, ["()"]


def _exchanged(node: ast.AST, _: frozenset[str]) -> Iterator[Edit]:
    """A built-in for its opposite, the arms of a conditional expression."""
    turned = {"any": "all", "all": "any", "min": "max", "max": "min"}
    if isinstance(node, ast.Name) and node.id in turned:
        yield node, [turned[node.id]]


OPERATORS: dict[str, Callable[[ast.AST, frozenset[str]], Iterator[Edit]]] = {
    "comparison": _comparison,
    "number": _number,
    "truth": _truth,
    "arithmetic": _arithmetic,
    "sign": _sign,
    "logic": _logic,
    "negated": _negated,
    "keyword dropped": _keyword,
    "argument for call": _propagated,
    "statement dropped": _dropped,
    "slice bound": _bounds,
    "no iteration": _no_iteration,
    "built-in exchanged": _exchanged,
}
