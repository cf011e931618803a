"""A frozen type from JSON: what is wrong is named by its whole place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from harness.records.typed import Json, Rules, build


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Leaf:
    name: str
    size: float = 1.0
    colour: Colour = Colour.RED


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]
    by_name: Mapping[str, Leaf] = field(default_factory=dict)
    value: Json = None
    path: Path | None = None
    child: Tree | None = None


WHOLE: dict[str, Any] = {
    "leaves": [{"name": "a"}, {"name": "b", "size": 2, "colour": "blue"}],
    "by_name": {"c": {"name": "c"}},
    "value": {"x": [1, 2.5, None, True]},
    "path": "/a",
    "child": {"leaves": []},
}


def test_everything_is_built_as_its_annotation_says() -> None:
    leaves = (Leaf("a"), Leaf("b", 2, Colour.BLUE))
    tree = build(Tree, WHOLE)
    assert tree == Tree(leaves, {"c": Leaf("c")}, WHOLE["value"], Path("/a"), Tree(()))
    assert build(Tree, {**WHOLE, "child": tree}).child is tree


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"leaves": 3}, "leaves is 3, no list"),
        ({"leaves": None}, "leaves is null, no list"),
        ({"leaves": [{"name": "a"}, 7]}, "leaves[1] is 7, no object"),
        ({"leaves": [{"name": "a"}, {"name": 7}]}, "leaves[1].name is 7, not a text"),
        ({"leaves": [{"size": 1.0}]}, "leaves[0].name is missing"),
        ({"leaves": [{"name": "a", "hue": 1}]}, "leaves[0].hue is no field of it"),
        ({"leaves": [{"name": "a", "size": True}]}, "leaves[0].size is True, not a number"),
        (
            {"leaves": [{"name": "a", "colour": "green"}]},
            "leaves[0].colour is 'green', not one of red, blue",
        ),
        ({"by_name": {"c": {"name": None}}}, "by_name.c.name is null, not a text"),
        ({"value": {"x": [1, float("nan")]}}, "value is nan; record a status"),
        ({"value": 10**400}, "value is too large for a float; record a status"),
        ({"path": 1}, "path is 1, not a path"),
        ({"child": {"leaves": [1]}}, "child.leaves[0] is 1, no object"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        build(Tree, {**WHOLE, **change})
    with pytest.raises(ValueError, match=f"^{re.escape(f'here.{sentence}')}"):
        build(Tree, {**WHOLE, **change}, where="here")


def test_what_is_no_object_has_no_place() -> None:
    with pytest.raises(ValueError, match=r"^it is 3, no object$"):
        build(Leaf, 3)
    with pytest.raises(ValueError, match=r"^here is 3, no object$"):
        build(Leaf, 3, where="here")


def test_the_rules_say_what_must_be_there_and_what_may() -> None:
    with pytest.raises(ValueError, match=r"^size is missing$"):
        build(Leaf, {"name": "a"}, Rules(needed=frozenset({"size"})))
    with pytest.raises(ValueError, match=r"^size is missing$"):
        build(Leaf, {"name": "a"}, Rules(whole=True))
    assert build(Leaf, {"name": "a", "hue": 1}, Rules(more=True)) == Leaf("a")
