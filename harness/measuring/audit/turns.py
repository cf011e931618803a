"""Whose each token of a row is, by the chat template's own spelling of turns.

The template is asked, not known: it renders texts that mark themselves, and what it puts around
them is what begins and ends each role's turns. So any template is read, of any family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ROLES = ("system", "user", "assistant")
CONTROL = "control"
# Letters that no template changes, and no tokenizer has as a token of their own.
_MARKS = ("qzxwvu", "uvwxzq", "zqvxuw", "wuxvqz")


@dataclass(frozen=True)
class Spelling:
    """What the template writes. headers: what begins a role's turn, by role. ends: what ends it.
    begins: what stands before the first turn. A role that the template refuses is left out."""

    headers: Mapping[str, str]
    ends: Mapping[str, str]


@dataclass(frozen=True)
class Turn:
    """A turn inside a row. start, stop: its tokens, header and end left out. closed: whether its
    end is there. end: the tokens of its end, (stop, after the last), empty where not closed."""

    role: str
    start: int
    stop: int
    closed: bool
    end: tuple[int, int]


def spelling(tokenizer: Any, *, parts: bool) -> Spelling | None:
    """How the template spells turns; None where there is no template, or one that drops texts.

    tokenizer: what has `apply_chat_template` (a processor's, or itself). parts: whether contents
    are lists of parts, as the templates of most processors want them.
    """

    def turn(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": [{"type": "text", "text": text}] if parts else text}

    def rendered(roles: Sequence[str], *, prompt: bool = False) -> str:
        turns = [turn(role, mark) for role, mark in zip(roles, _MARKS, strict=False)]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=prompt)
        return text if isinstance(text, str) else text[0]

    try:
        asked, prompted = rendered(["user"]), rendered(["user"], prompt=True)
        whole = rendered(["user", "assistant", "user", "assistant"])
    except Exception as error:  # noqa: BLE001 - templates raise what they like; it is then unread
        _ = error
        return None
    if any(mark not in whole for mark in _MARKS) or not prompted.startswith(asked):
        return None
    after = [whole.split(mark, 1)[1] for mark in _MARKS]
    between = [after[i].split(_MARKS[i + 1], 1)[0] for i in range(3)]
    assistant_header = prompted.removeprefix(asked)
    assistant_end = after[3]
    if not between[0].endswith(assistant_header):
        # Templates that think before they answer prompt for more than they write of old turns.
        assistant_header = _common_end(between[0], between[2])
        assistant_header = assistant_header[_shared(assistant_header, asked.split(_MARKS[0])[1]) :]
    user_end = between[0].removesuffix(assistant_header)
    user_header = between[1].removeprefix(assistant_end)
    headers = {"user": user_header, "assistant": assistant_header}
    ends = {"user": user_end, "assistant": assistant_end}
    _add_system(headers, ends, rendered)
    return Spelling(headers, ends)


def _add_system(headers: dict[str, str], ends: dict[str, str], rendered: Any) -> None:
    try:
        text = rendered(["system", "user"])
    except Exception as error:  # noqa: BLE001 - a template without a system turn says so its own way
        _ = error
        return
    if _MARKS[0] not in text or _MARKS[1] not in text:
        return
    header, rest = text.split(_MARKS[0], 1)
    between = rest.split(_MARKS[1], 1)[0]
    if between.endswith(headers["user"]) and header != headers["user"]:
        headers["system"] = header
        ends["system"] = between.removesuffix(headers["user"])


def _common_end(one: str, other: str) -> str:
    length = 0
    while length < min(len(one), len(other)) and one[-1 - length] == other[-1 - length]:
        length += 1
    return one[len(one) - length :]


def _shared(text: str, start: str) -> int:
    """How many characters both begin with."""
    length = 0
    while length < min(len(text), len(start)) and text[length] == start[length]:
        length += 1
    return length


def pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text of every token: put together they are the row's text.

    A character whose bytes are spread over tokens belongs to the last of them.
    """
    texts = []
    for stop in range(1, len(ids) + 1):
        start = max(0, stop - _WINDOW)
        window = tokenizer.decode(list(ids[start:stop]), **_AS_IT_IS)
        before = (
            tokenizer.decode(list(ids[start : stop - 1]), **_AS_IT_IS) if stop > start + 1 else ""
        )
        cut = window.endswith("\ufffd")
        texts.append("" if cut else window[len(before.rstrip("\ufffd")) :])
    return texts


# Tokens read together: a character of any script has at most four bytes, a token one at least.
_WINDOW = 8
_AS_IT_IS: Mapping[str, Any] = {
    "skip_special_tokens": False,
    "clean_up_tokenization_spaces": False,
}


def turns_of(texts: Sequence[str], spelled: Spelling) -> list[Turn]:
    """The turns of a row. texts: of every token, as `pieces` gives them.

    A token that is partly header is header: a label on it asks for what no prompt ends with.
    """
    text = "".join(texts)
    starts, place = [], 0
    for piece in texts:
        starts.append(place)
        place += len(piece)
    stops = [*starts[1:], place]
    opened: list[tuple[int, int, str]] = []
    for role, header in spelled.headers.items():
        place_in_text = text.find(header) if header else -1
        while place_in_text >= 0:
            opened.append((place_in_text, place_in_text + len(header), role))
            place_in_text = text.find(header, place_in_text + 1)
    opened = _longest(opened)
    turns = []
    for number, (_, inside, role) in enumerate(opened):
        limit = opened[number + 1][0] if number + 1 < len(opened) else len(text)
        end = text.find(spelled.ends[role], inside) if spelled.ends[role] else limit
        if spelled.ends[role].strip() and end < 0:
            # The very end of a row is often written without the line break after it.
            end = text.find(spelled.ends[role].rstrip(), inside)
        closed = 0 <= end <= limit
        last = end if closed else limit
        first_token = next((i for i, s in enumerate(starts) if s >= inside), len(texts))
        stop_token = next((i for i, s in enumerate(stops) if s > last), len(texts))
        after = last + len(spelled.ends[role]) if closed else last
        end_token = next((i for i, s in enumerate(starts) if s >= after), len(texts))
        turns.append(
            Turn(role, first_token, max(first_token, stop_token), closed, (stop_token, end_token))
        )
    return turns


def _longest(opened: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Of headers that begin at one place the longest: a short one may begin a long one."""
    kept: list[tuple[int, int, str]] = []
    for item in sorted(opened, key=lambda x: (x[0], -x[1])):
        if not kept or item[0] >= kept[-1][1]:
            kept.append(item)
    return kept


def roles_of(length: int, turns: Sequence[Turn]) -> list[str]:
    """The role of each token of a row: of the turn that it is inside, else `control`."""
    roles = [CONTROL] * length
    for turn in turns:
        for i in range(turn.start, min(turn.stop, length)):
            roles[i] = turn.role
    return roles
