"""Faults in a module's source: cosmic-ray's operators, and what they leave out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import accumulate

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.plugins import get_operator

from harness.records.files import read_json, text_digest, write_json
from harness.records.typed import build
from suites.mutation.ours import planted
from suites.mutation.targets import KEPT

_BINARY = "ReplaceBinaryOperator_{}_{}"
_COMPARED = "ReplaceComparisonOperator_{}_{}"
# Of each operator its opposite, and where there is an edge, the edge: cosmic-ray's other ten a
# piece (a shift for a sum, `is` for `==`) are errors at once, or the same by interning.
CHOSEN = (
    *(_BINARY.format(*pair) for pair in (("Add", "Sub"), ("Sub", "Add"))),
    *(_BINARY.format(*pair) for pair in (("Mul", "Div"), ("Div", "Mul"), ("Pow", "Mul"))),
    *(_BINARY.format(*pair) for pair in (("FloorDiv", "Mul"), ("Mod", "Mul"))),
    *(_BINARY.format(*pair) for pair in (("BitOr", "BitAnd"), ("BitAnd", "BitOr"))),
    *(_COMPARED.format(*pair) for pair in (("Eq", "NotEq"), ("NotEq", "Eq"))),
    *(_COMPARED.format(*pair) for pair in (("Lt", "LtE"), ("Lt", "GtE"))),
    *(_COMPARED.format(*pair) for pair in (("LtE", "Lt"), ("LtE", "Gt"))),
    *(_COMPARED.format(*pair) for pair in (("Gt", "GtE"), ("Gt", "LtE"))),
    *(_COMPARED.format(*pair) for pair in (("GtE", "Gt"), ("GtE", "Lt"))),
    *(_COMPARED.format(*pair) for pair in (("Is", "IsNot"), ("IsNot", "Is"))),
    "ReplaceUnaryOperator_USub_UAdd",
    "ReplaceUnaryOperator_Delete_Not",
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "NumberReplacer",
    "ZeroIterationForLoop",
)


@dataclass(frozen=True)
class Mutant:
    """A module with one fault. occurrence: the how-manieth of its operator in the module. line: the
    first that differs, from 1. before, after: the lines that differ."""

    operator: str
    occurrence: int
    line: int
    before: str
    after: str
    source: str

    @property
    def name(self) -> str:
        """Unique in its module."""
        return f"{self.operator}:{self.occurrence}"


def mutants_of(source: str) -> tuple[Mutant, ...]:
    """Every fault in a module's source that changes what it does: none in an annotation, which
    nothing reads and mypy judges, and none twice. Kept, for making them takes seconds."""
    path = KEPT / f"faults-{text_digest(source)}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, [asdict(mutant) for mutant in _mutants(source)])
    return tuple(build(Mutant, raw) for raw in read_json(path))


def _mutants(source: str) -> Iterator[Mutant]:
    seen = {_meaning(source)}
    for operator, occurrence, changed in (*_cosmic(source), *planted(source)):
        meaning = _meaning(changed)
        if meaning and meaning not in seen:
            seen.add(meaning)
            yield Mutant(operator, occurrence, *_lines(source, changed), changed)


def _cosmic(source: str) -> Iterator[tuple[str, int, str]]:
    """By cosmic-ray's own operators, but on one tree: it parses and walks a module for every fault
    in it."""
    nodes = list(ast_nodes(get_ast(source)))
    starts = [0, *accumulate(len(line) for line in source.splitlines(keepends=True))]
    for name in CHOSEN:
        operator = get_operator(f"core/{name}")()
        places = (
            (node, i) for node in nodes for i, _ in enumerate(operator.mutation_positions(node))
        )
        for occurrence, (node, index) in enumerate(places):
            # The part below the node alone: a copy of its parent would be one of the whole module.
            alone = deepcopy(node, {id(node.parent): node.parent})
            changed = operator.mutate(alone, index).get_code(include_prefix=False)
            (row, column), (last_row, last_column) = node.start_pos, node.end_pos
            head, tail = starts[row - 1] + column, starts[last_row - 1] + last_column
            yield name, occurrence, source[:head] + changed + source[tail:]


def _meaning(source: str) -> str:
    """What a source does, whatever its layout; empty where it is no Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(...)
    return ast.dump(tree)


def _lines(source: str, changed: str) -> tuple[int, str, str]:
    """(first line that differs, those lines before, after)."""
    old, new = source.splitlines(), changed.splitlines()
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    tail = 0
    while tail < min(len(old), len(new)) - same and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    before, after = old[same : len(old) - tail], new[same : len(new) - tail]
    return same + 1, " ".join(map(str.strip, before)), " ".join(map(str.strip, after))
