"""A raw row as what is trained on: a product of the recipe, or a conversation of its own.

Conversations are those of TRL: `messages`, or `prompt` and `completion`, with `images` (or one
`image`) that stand where the messages have `{"type": "image"}`; where no message has one they
stand before the first user's text, as TRL puts them.
https://huggingface.co/docs/trl/dataset_formats, "Vision datasets".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.data.pictures import is_address
from harness.data.sources import DataFile
from harness.data.tables import Line
from harness.errors import BadInput

TEXT_COLUMNS = ("Product Name", "Category", "description")
COLUMNS = ("image", *TEXT_COLUMNS)
# Whatever a row may be made of; `file_name` is what image folders call a picture's path.
KNOWN = (*COLUMNS, "images", "messages", "prompt", "completion", "file_name")
ROLES = ("system", "user", "assistant")
Message = dict[str, Any]


@dataclass(frozen=True)
class Shaped:
    """A row, checked but for what is inside its pictures. where: `Row 3 of …`, for sentences.

    pictures: encoded, or the paths of files that may be read. messages: of a conversation of its
    own, its pictures left out of their places; None for a product. texts: a product's columns;
    of a conversation the last user's text as its name, and the last answer as its description.
    """

    where: str
    texts: Mapping[str, str]
    pictures: tuple[Any, ...]
    column: str
    messages: tuple[Message, ...] | None = None

    def picture(self, index: int) -> str:
        """What a sentence calls a picture."""
        number = f" (picture {index + 1})" if len(self.pictures) > 1 else ""
        return f"{self.where}, column {self.column!r}{number},"


def canonical(name: str) -> str:
    """The column of the recipe that `--columns` names. Raises BadInput listing all."""
    plain = {each.lower().replace("_", " "): each for each in KNOWN}
    known = plain.get(name.strip().lower().replace("_", " "))
    if known is None:
        raise BadInput(f"There is no column {name!r} to be named; choose from {', '.join(KNOWN)}.")
    return known


def wanted(columns: Mapping[str, str]) -> tuple[str, ...]:
    """The columns that have to be read of a file. columns: theirs by the recipe's name."""
    theirs = [columns.get(name, name) for name in KNOWN]
    return tuple(dict.fromkeys(name for name in theirs if name))


class Shaper:
    """Makes rows of a source. columns: the source's names by the recipe's; '' is an empty text."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self._columns = columns

    def shaped(self, line: Line, file: DataFile, where: str) -> Shaped:
        """One row. Raises BadInput naming row and column."""
        has = {name: self._columns.get(name, name) in line.columns for name in KNOWN}
        if has["messages"] or (has["prompt"] and has["completion"]):
            return self._conversation(line, file, where)
        texts = {name: self._text(line, name, where) for name in TEXT_COLUMNS}
        column, pictures = self._pictures(line, where)
        if len(pictures) != 1:
            raise BadInput(
                f"{where} holds {len(pictures)} pictures in {column!r}, and a product has one; "
                "give the conversation itself as `messages`."
            )
        shaped = Shaped(where, texts, tuple(pictures), column)
        return self._with_paths(shaped, file)

    def _text(self, line: Line, name: str, where: str) -> Any:
        theirs = self._columns.get(name, name)
        if not theirs:
            return ""
        if theirs not in line.columns:
            raise self._lacking(line, name, where)
        return line.columns[theirs]

    def _lacking(self, line: Line, name: str, where: str) -> BadInput:
        theirs = self._columns.get(name, name)
        there = ", ".join(line.names[:12]) or "none"
        return BadInput(
            f"{where} lacks the column {theirs!r}; it has {there}: say which one it is with "
            f"--columns '{name}=…'."
        )

    def _pictures(self, line: Line, where: str) -> tuple[str, list[Any]]:
        """(the column's name, its pictures); a conversation may bring them in its messages."""
        for name in ("images", "image", "file_name"):
            theirs = self._columns.get(name, name)
            if theirs in line.columns:
                value = line.columns[theirs]
                return theirs, list(value) if isinstance(value, list | tuple) else [value]
        raise self._lacking(line, "image", where)

    def _conversation(self, line: Line, file: DataFile, where: str) -> Shaped:
        messages, column = self._messages(line, where)
        inside = [_own_picture(part) for turn in messages for part in turn["content"]]
        own = [picture for picture in inside if picture is not None]
        if own:
            shown = own
        else:
            column, shown = self._pictures(line, where)
            _place(messages, len(shown), where)
        places = sum(part["type"] == "image" for turn in messages for part in turn["content"])
        if places != len(shown):
            raise BadInput(
                f"{where} holds {len(shown)} pictures in {column!r} and its messages have places "
                f'for {places}; give one {{"type": "image"}} for each.'
            )
        for turn in messages:
            turn["content"] = [
                {"type": "image"} if part["type"] == "image" else part for part in turn["content"]
            ]
        texts = {
            "Product Name": _last_text(messages, "user"),
            "Category": "",
            "description": _last_text(messages[-1:], "assistant"),
        }
        return self._with_paths(Shaped(where, texts, tuple(shown), column, tuple(messages)), file)

    def _messages(self, line: Line, where: str) -> tuple[list[Message], str]:
        """(messages whose contents are lists of parts, the column that they come from)."""
        theirs = self._columns.get("messages", "messages")
        if theirs in line.columns:
            raw = line.columns[theirs]
        else:
            turns: list[Any] = []
            for name, role in (("prompt", "user"), ("completion", "assistant")):
                theirs = self._columns.get(name, name)
                part = line.columns[theirs]
                turns += part if isinstance(part, list) else [{"role": role, "content": part}]
            raw = turns
        if not isinstance(raw, list) or not raw:
            raise BadInput(f"{where} holds no list of messages in {theirs!r}; give a conversation.")
        messages = [
            _turn(turn, f"{where}, column {theirs!r}, message {i},")
            for i, turn in enumerate(raw, 1)
        ]
        if messages[-1]["role"] != "assistant":
            raise BadInput(
                f"{where} ends with a turn of the {messages[-1]['role']}, and nothing would be "
                "learnt from it; end it with the assistant's answer."
            )
        return messages, theirs

    def _with_paths(self, shaped: Shaped, file: DataFile) -> Shaped:
        """The row whose pictures are bytes, or paths of files within the data's folder."""
        pictures = tuple(
            _safe(picture, file, shaped.picture(index))
            for index, picture in enumerate(shaped.pictures)
        )
        if not pictures:
            raise BadInput(f"{shaped.where} holds no picture; every sample needs one.")
        return Shaped(shaped.where, shaped.texts, pictures, shaped.column, shaped.messages)


def _turn(turn: Any, where: str) -> Message:
    if not isinstance(turn, Mapping) or not {"role", "content"} <= set(turn):
        raise BadInput(f"{where} is no object with `role` and `content`; mend it.")
    role, content = turn["role"], turn["content"]
    if role not in ROLES:
        raise BadInput(f"{where} has the role {role!r}; the roles are {', '.join(ROLES)}.")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list):
        raise BadInput(f"{where} holds neither a text nor a list of parts; mend its `content`.")
    return {"role": role, "content": [_part(part, where) for part in parts]}


def _part(part: Any, where: str) -> dict[str, Any]:
    """A text, or a picture with or without what it shows. Columns that a table adds are dropped."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "image":
        shown = part.get("image") or part.get("path") or part.get("url")
        return {"type": "image", "image": shown} if shown is not None else {"type": "image"}
    raise BadInput(
        f"{where} has a part that is neither a text nor an image ({str(kind)[:40]!r}); remove it."
    )


def _own_picture(part: Mapping[str, Any]) -> Any:
    return part.get("image") if part["type"] == "image" else None


def _place(messages: Sequence[Message], count: int, where: str) -> None:
    """Pictures that no message has a place for stand before the first user's text."""
    if any(part["type"] == "image" for turn in messages for part in turn["content"]):
        return
    first = next((turn for turn in messages if turn["role"] == "user"), None)
    if first is None:
        raise BadInput(f"{where} has no turn of the user for its pictures; add one.")
    first["content"] = [*({"type": "image"} for _ in range(count)), *first["content"]]


def _last_text(messages: Iterable[Message], role: str) -> str:
    """The text of the last turn of a role."""
    turns = [turn for turn in messages if turn["role"] == role]
    parts = turns[-1]["content"] if turns else []
    return "".join(part["text"] for part in parts if part["type"] == "text")


def _safe(picture: Any, file: DataFile, where: str) -> Any:
    """A picture's bytes as they are; a path as that of a file within the data's folder.

    Raises BadInput for a URL and for a path that leads, links resolved, outside of it.
    """
    if isinstance(picture, Mapping):
        picture = picture.get("bytes") or picture.get("path")
    if not isinstance(picture, str):
        return picture
    shown = repr(picture[:60])
    if is_address(picture):
        raise BadInput(f"{where} is a URL ({shown}); put the picture's file beside the data.")
    root = file.root.resolve()
    try:
        for folder in (file.path.parent, root):
            target = (folder / picture).resolve()
            if not target.is_relative_to(root):
                raise BadInput(
                    f"{where} is a path that leads outside the data's folder ({shown}); put the "
                    "picture's file there."
                )
            if target.exists():
                return target
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"{where} is a path that cannot be read ({shown}); mend it.") from error
    raise BadInput(
        f"{where} is a path, and the data's folder has no such file ({shown}); put it there."
    )
