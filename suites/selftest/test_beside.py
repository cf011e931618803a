"""What probes leave beside their records: written as typed, read back checked, old files too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.records.beside import (
    Generations,
    Point,
    ProductTexts,
    Supervision,
    Token,
    course_path,
    generations_path,
    read_course,
    read_generations,
    read_supervision,
    supervision_path,
    write_generations,
    write_supervision,
)
from harness.records.files import write_json
from harness.records.seals import seal, sealed

MAP = Supervision(
    "the first sample", (Token("<|image|>", "image", "control"), Token("‥", "masked"))
)
TEXTS = ProductTexts(
    "p0", "Mug", "Home", "A mug.", {"greedy": "a"}, {"greedy": "b"}, {"kind": "mug"}
)


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_supervision(MAP, tmp_path)
    assert read_supervision(tmp_path) == MAP
    texts = Generations((TEXTS,))
    assert write_generations(texts, tmp_path) == generations_path(tmp_path)
    assert read_generations(tmp_path) == texts


def test_the_first_token_maps_have_no_number(tmp_path: Path) -> None:
    """They lie beside the records of users."""
    old = {"sample": "x", "tokens": [{"text": "a", "role": "user", "kind": "masked"}]}
    write_json(supervision_path(tmp_path), old)
    assert read_supervision(tmp_path) == Supervision("x", (Token("a", "masked", "user"),))


def test_of_a_training_people_are_told_its_course(tmp_path: Path) -> None:
    """The probes read more of the same file."""
    entry = {"step": 1, "loss": 2.5, "targets": 40}
    write_json(course_path(tmp_path), {"schema": 1, "curve": [entry], "spec": {"a": 1}, "rows": 3})
    seal(course_path(tmp_path).parent, ["run.json"])
    course = read_course(tmp_path)
    assert (course.curve, course.spec, course.notes) == ((Point(1, 2.5),), {"a": 1}, ())


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ([], "holds no JSON object"),
        ({"sample": "x"}, "tokens is missing"),
        ({"sample": "x", "tokens": [{"text": "a"}]}, r"tokens\[0\].kind is missing"),
        ({"sample": 3, "tokens": []}, "sample is 3, not a text"),
        ({"sample": "x", "tokens": [], "schema": 2}, "carries no seal"),
        (sealed({"sample": "x", "tokens": [], "schema": 9}), "has schema 9"),
    ],
)
def test_a_damaged_one_says_where(tmp_path: Path, raw: Any, why: str) -> None:
    supervision_path(tmp_path).parent.mkdir(parents=True)
    supervision_path(tmp_path).write_text(json.dumps(raw))
    with pytest.raises(BadInput, match=f"labels/supervision.json .*{why}"):
        read_supervision(tmp_path)
