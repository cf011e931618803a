"""Whose each token of a row is, by the chat template's own spelling of turns.

The template is asked, not known: it renders texts that mark themselves, and what it puts around
them is what begins and ends each role's turns. So any template is read, of any family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

ROLES = ("system", "user", "assistant")
CONTROL = "control"
# Letters that no template changes, and no tokenizer has as a token of their own.
_MARKS = ("qzxwvu", "uvwxzq", "zqvxuw", "wuxvqz")


@dataclass(frozen=True)
class Spelling:
    """What the template writes. headers: what begins a role's turn, by role. ends: what ends it.
    prompted: what a generation prompt writes behind the answer's header, such as a thought that is
    not to be had. A role that the template refuses is left out."""

    headers: Mapping[str, str]
    ends: Mapping[str, str]
    prompted: str = ""


@dataclass(frozen=True)
class Turn:
    """A turn inside a row. start, stop: its tokens, header and end left out. closed: whether its
    end is there. end: the tokens of its end, (stop, after the last), empty where not closed.
    written: tokens of its beginning that a generation prompt writes."""

    role: str
    start: int
    stop: int
    closed: bool
    end: tuple[int, int]
    written: int = 0

    @property
    def begins(self) -> int:
        """The first token that a generation writes itself."""
        return self.start + self.written


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
    except template_errors():  # one that refuses such turns, or wants them spelled otherwise
        return None
    if any(mark not in whole for mark in _MARKS) or not prompted.startswith(asked):
        return None
    after = [whole.split(mark, 1)[1] for mark in _MARKS]
    between = [after[i].split(_MARKS[i + 1], 1)[0] for i in range(3)]
    # Templates that think before they answer write more into the last turn, or the prompt, than
    # into the others: what all of them begin with is the header.
    user_end, assistant_end = asked.split(_MARKS[0], 1)[1], after[3]
    answers = [text.removeprefix(user_end) for text in (between[0], between[2])]
    assistant_header = _shared_start([prompted.removeprefix(asked), *answers])
    headers = {"user": between[1].removeprefix(assistant_end), "assistant": assistant_header}
    ends = {"user": user_end, "assistant": assistant_end}
    if not all(header.strip() for header in headers.values()):
        return None
    _add_system(headers, ends, rendered)
    return Spelling(headers, ends, prompted.removeprefix(asked).removeprefix(assistant_header))


def _add_system(headers: dict[str, str], ends: dict[str, str], rendered: Any) -> None:
    try:
        text = rendered(["system", "user"])
    except template_errors():  # there is no system turn in it
        return
    if _MARKS[0] not in text or _MARKS[1] not in text:
        return
    header, rest = text.split(_MARKS[0], 1)
    between = rest.split(_MARKS[1], 1)[0]
    if between.endswith(headers["user"]) and header != headers["user"]:
        headers["system"] = header
        ends["system"] = between.removesuffix(headers["user"])


def template_errors() -> tuple[type[Exception], ...]:
    """What a template raises over turns that it does not know: jinja's own errors, whose
    `raise_exception` is one of them, and what its expressions meet."""
    from jinja2 import TemplateError

    return TemplateError, TypeError, ValueError, LookupError


def _shared_start(texts: Sequence[str]) -> str:
    """What all texts begin with, letter by letter."""
    length = 0
    while all(len(t) > length for t in texts) and len({t[length] for t in texts}) == 1:
        length += 1
    return texts[0][:length]


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
        end = _end_of(text, spelled.ends[role], inside, limit)
        closed = 0 <= end <= limit
        last = end if closed else limit
        first_token = next((i for i, s in enumerate(starts) if s >= inside), len(texts))
        stop_token = next((i for i, s in enumerate(stops) if s > last), len(texts))
        after = last + len(spelled.ends[role]) if closed else last
        end_token = next((i for i, s in enumerate(starts) if s >= after), len(texts))
        turn = Turn(
            role, first_token, max(first_token, stop_token), closed, (stop_token, end_token)
        )
        if role == "assistant" and text.startswith(spelled.prompted, inside):
            own = inside + len(spelled.prompted)
            begins = next((i for i, s in enumerate(starts) if s >= own), len(texts))
            turn = replace(turn, written=max(0, begins - first_token))
        turns.append(turn)
    return turns


def _end_of(text: str, end: str, inside: int, limit: int) -> int:
    """Where a turn's end begins; -1 without one. An end of blanks is the one before the limit."""
    if not end.strip():
        return text.rfind(end, inside, limit) if end else limit
    place = text.find(end, inside)
    # The very end of a row is often written without the line break after it.
    return text.find(end.rstrip(), inside) if place < 0 else place


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
