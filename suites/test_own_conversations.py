"""Rows that are conversations: their turns, their pictures, and what is refused."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from harness.data.dataset import load_rows
from harness.errors import BadInput
from harness.recipe.published import generation_messages, training_messages
from suites.own_rows import (
    colour,
    jsonl,
    parquet,
    png,
)


def conversation(number: int) -> dict[str, Any]:
    return {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image", "text": None},
                    {"type": "text", "text": f"What is {number}?"},
                    {"type": "image", "text": None},
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": f"It is {number}."}]},
        ],
        "images": [{"bytes": png(number)}, {"bytes": png(100 + number)}],
    }


def test_conversations_with_their_pictures_in_their_places(tmp_path: Path) -> None:
    parquet(tmp_path / "rows.parquet", [conversation(number) for number in range(3)])
    row = load_rows(str(tmp_path), "train")[1]
    user, answer = training_messages(row)
    assert [part["type"] for part in user["content"]] == ["image", "text", "image"]
    shown = [part["image"] for part in user["content"] if part["type"] == "image"]
    assert [colour(picture) for picture in shown] == [1, 101]
    assert answer["content"] == [{"type": "text", "text": "It is 1."}]
    assert generation_messages(row) == training_messages(row)[:-1]
    assert row["description"] == "It is 1."


def test_plain_conversations_take_their_pictures_before_the_first_question(tmp_path: Path) -> None:
    rows = [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"What is {number}?"},
                {"role": "assistant", "content": f"It is {number}."},
            ],
            "images": [{"bytes": base64.b64encode(png(number)).decode()}],
        }
        for number in range(2)
    ]
    jsonl(tmp_path / "rows.jsonl", rows)
    messages = training_messages(load_rows(str(tmp_path), "train")[0])
    assert [turn["role"] for turn in messages] == ["system", "user", "assistant"]
    assert [part["type"] for part in messages[1]["content"]] == ["image", "text"]


@pytest.mark.parametrize("conversational", [False, True])
def test_prompt_and_completion(tmp_path: Path, conversational: bool) -> None:
    def turn(role: str, text: str) -> Any:
        return [{"role": role, "content": text}] if conversational else text

    rows = [
        {
            "prompt": turn("user", "What?"),
            "completion": turn("assistant", f"It is {number}."),
            "image": f"{number}.png",
        }
        for number in range(2)
    ]
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    jsonl(tmp_path / "rows.jsonl", rows)
    user, answer = training_messages(load_rows(str(tmp_path), "train")[0])
    assert [part["type"] for part in user["content"]] == ["image", "text"]
    assert answer == {"role": "assistant", "content": [{"type": "text", "text": "It is 0."}]}


def changed(**changes: Any) -> dict[str, Any]:
    row = conversation(1)
    row["images"] = [{"bytes": base64.b64encode(each["bytes"]).decode()} for each in row["images"]]
    return {**row, **changes}


def turns(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in pairs]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (changed(images=changed()["images"][:1]), "holds 1 pictures in 'images' .* places for 2"),
        (changed(messages=[]), "holds no list of messages in 'messages'"),
        (changed(messages=turns(("user", "x"))), "ends with a turn of the user"),
        (changed(messages=turns(("tool", "x"))), "has the role 'tool'"),
        (changed(messages=["hello"]), "is no object with `role` and `content`"),
        (changed(messages=turns(("user", 3))), "holds neither a text nor a list of parts"),
        (changed(messages=turns(("user", [{"type": "video"}]))), "neither a text nor an image"),
        (changed(messages=turns(("assistant", "x"))), "has no turn of the user for its pictures"),
        (changed(messages=turns(("user", "x"), ("assistant", " "))), "ends with an empty answer"),
        (
            changed(messages=turns(("user", "<|image_pad|>"), ("assistant", "x"))),
            "message 1, contains the control token <|image_pad|>",
        ),
        (changed(messages=turns(("user", "x"), ("assistant", "y")), images=[]), "no picture"),
    ],
)
def test_a_conversation_that_cannot_be_used_is_refused_in_one_sentence(
    tmp_path: Path, row: dict[str, Any], sentence: str
) -> None:
    jsonl(tmp_path / "rows.jsonl", [row, changed()])
    with pytest.raises(BadInput, match=sentence.replace("|", r"\|")) as caught:
        load_rows(str(tmp_path), "train", tokens=("<|image_pad|>",))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("Row 1 of ")
