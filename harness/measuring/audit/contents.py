"""What a raw training row consists of, however the user spells rows: pictures and conversations."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def copied(value: Any) -> Any:
    """A row whose containers are copies and whose contents are its own: collators empty them."""
    if isinstance(value, Mapping):
        return {name: copied(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [copied(inner) for inner in value]
    return value


def pictures_of(feature: Any) -> list[Any]:
    """A row's pictures in the order in which they stand: those of its turns where these hold any,
    else those of its columns, where one that stands in two counts once. Decoded ones, bytes, and
    files that are there."""
    inside = list(_pictures(conversation_of(feature)))
    if inside:
        return inside
    seen: set[int] = set()
    pictures = []
    for column in feature.values() if isinstance(feature, Mapping) else [feature]:
        stands = list(_pictures(column))
        pictures += [picture for picture in stands if id(picture) not in seen]
        seen |= {id(picture) for picture in stands}
    return pictures


def digest_of(value: Any) -> str:
    """A row's content: texts, numbers and pictures, whatever holds them."""
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    from PIL.Image import Image

    if isinstance(value, Image):
        yield f"{value.size} {value.mode}".encode() + value.tobytes()
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, Mapping):
        for name in sorted(value, key=str):
            yield str(name).encode()
            yield from _parts(value[name])
    elif hasattr(value, "tolist"):  # a tensor or an array
        yield repr(value.tolist()).encode()
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield f"[{len(value)}".encode()
        for inner in value:
            yield from _parts(inner)
    else:
        yield repr(value).encode("utf-8", "surrogatepass")


def is_ordered(feature: Any) -> bool:
    """Whether a row says the order of its pictures: turns do, and lists; columns do not."""
    if not isinstance(feature, Mapping) or any(True for _ in _pictures(conversation_of(feature))):
        return True
    return sum(any(True for _ in _pictures(column)) for column in feature.values()) < 2


# Names of files that hold one picture.
_FILES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def _pictures(value: Any) -> Iterator[Any]:
    from PIL.Image import Image

    if isinstance(value, Image):
        yield value
    elif isinstance(value, str):
        yield from _of_file(value.removeprefix("file://"))
    elif isinstance(value, Mapping):
        if isinstance(value.get("bytes"), bytes):
            yield from _opened(io.BytesIO(value["bytes"]))
            return
        for inner in value.values():
            yield from _pictures(inner)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for inner in value:
            yield from _pictures(inner)


def _of_file(name: str) -> Iterator[Any]:
    if name.lower().endswith(_FILES) and len(name) < _LONGEST_NAME and Path(name).is_file():
        yield from _opened(name)


# No file system has longer ones.
_LONGEST_NAME = 4096


def _opened(file: Any) -> Iterator[Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(file)
        picture.load()
    except (UnidentifiedImageError, OSError, ValueError):  # no picture: then it is a text
        return
    yield picture


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
    return "".join(text_parts_of(turn))


def text_parts_of(turn: Mapping[str, Any]) -> list[str]:
    """The text parts of a turn, between which its pictures may stand."""
    content = turn["content"]
    if isinstance(content, str):
        return [content]
    return [part.get("text") or "" for part in content or () if isinstance(part, Mapping)]


def texts_of(feature: Any) -> list[str]:
    """The texts that a user put into a row: those of its turns, else its text columns."""
    turns = conversation_of(feature)
    if turns is not None:
        return [text_of(turn) for turn in turns]
    if isinstance(feature, Mapping):
        return [value for value in feature.values() if isinstance(value, str)]
    return [feature] if isinstance(feature, str) else []
