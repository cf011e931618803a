"""Label masks by walking over token ids, one rule at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

IGNORED = -100


def recipe(ids: Sequence[int], control: Mapping[str, int], pad: int) -> list[int]:
    """The recipe's collator: pad, vision_start, vision_end and image_pad become -100."""
    hidden = {
        pad,
        control["<|vision_start|>"],
        control["<|vision_end|>"],
        control["<|image_pad|>"],
    }
    return [IGNORED if token in hidden else token for token in ids]


def completion(
    ids: Sequence[int], control: Mapping[str, int], pad: int, header: Sequence[int]
) -> list[int]:
    """As above, and nothing before the end of the last assistant header is trained.

    header: `<|im_start|>assistant`. One token follows it that holds the header's line break; where
    the answer begins with line breaks the vocabulary may have merged them into that token.
    """
    end = answer_start(ids, header)
    return [IGNORED] * end + recipe(ids, control, pad)[end:]


def answer_start(ids: Sequence[int], header: Sequence[int]) -> int:
    """Where the text of the last turn with that header begins: behind one more token."""
    last = max(
        i
        for i in range(len(ids) - len(header) + 1)
        if list(ids[i : i + len(header)]) == list(header)
    )
    return last + len(header) + 1


def roles(
    ids: Sequence[int], control: Mapping[str, int], words: Mapping[str, Sequence[int]]
) -> list[str]:
    """Role of every token: `control`, or the role of the turn whose content it is.

    words: the ids of each role's name. The role name and the line break after it, and the line
    break after `<|im_end|>`, are control.
    """
    out = ["control"] * len(ids)
    i = 0
    while i < len(ids):
        if ids[i] != control["<|im_start|>"]:
            i += 1
            continue
        role = next(r for r, w in words.items() if list(ids[i + 1 : i + 1 + len(w)]) == list(w))
        j = i + 1 + len(words[role]) + 1
        while j < len(ids) and ids[j] != control["<|im_end|>"]:
            if ids[j] not in control.values():
                out[j] = role
            j += 1
        i = j
    return out
