"""What a raw training row consists of, however the user spells rows: pictures and conversations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def pictures_of(feature: Any) -> list[Any]:
    """The PIL pictures anywhere inside a row, in the order in which they stand; one that stands
    twice (in a column and in the messages) counts once."""
    seen: set[int] = set()
    pictures = []
    for picture in _pictures(feature):
        if id(picture) not in seen:
            seen.add(id(picture))
            pictures.append(picture)
    return pictures


def _pictures(value: Any) -> Iterator[Any]:
    from PIL.Image import Image

    if isinstance(value, Image):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _pictures(inner)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for inner in value:
            yield from _pictures(inner)


def conversation_of(feature: Any) -> list[Mapping[str, Any]] | None:
    """The turns of a row: `messages`, `conversations`, prompt and completion, or the row itself
    where it is a list of turns. None where it has none (tokens already, plain text)."""
    if _is_turns(feature):
        return list(feature)
    if not isinstance(feature, Mapping):
        return None
    for name in ("messages", "conversations", "conversation"):
        if _is_turns(feature.get(name)):
            return list(feature[name])
    prompt, completion = feature.get("prompt"), feature.get("completion")
    if _is_turns(prompt) and _is_turns(completion):
        return [*(prompt or ()), *(completion or ())]
    return None


def _is_turns(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str | bytes)
        and bool(value)
        and all(
            isinstance(turn, Mapping) and "role" in turn and "content" in turn for turn in value
        )
    )


def text_of(turn: Mapping[str, Any]) -> str:
    """The text parts of a turn, put together."""
    content = turn["content"]
    if isinstance(content, str):
        return content
    parts = [part.get("text") or "" for part in content or () if isinstance(part, Mapping)]
    return "".join(parts)


def texts_of(feature: Any) -> list[str]:
    """The texts that a user put into a row: those of its turns, else its text columns."""
    turns = conversation_of(feature)
    if turns is not None:
        return [text_of(turn) for turn in turns]
    if isinstance(feature, Mapping):
        return [value for value in feature.values() if isinstance(value, str)]
    return [feature] if isinstance(feature, str) else []
