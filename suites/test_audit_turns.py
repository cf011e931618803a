"""Turns are read off whatever chat template there is: headers and ends by hand, six spellings."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from harness.measuring.audit.turns import Turn, pieces, roles_of, spelling, turns_of

LOOP = "{% for m in messages %}"
END = "{% endfor %}"
# Spellings as the field has them, of texts and of parts; what only decorates is left out.
CHATML = (
    LOOP
    + "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    + END
    + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML_SYSTEM = (
    "{% if messages[0].role != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}" + CHATML
)
THINKING = (
    LOOP + "{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}"
    + END
    + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ '<|begin_of_text|>' }}"
    + LOOP
    + "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content + '<|eot_id|>' }}"
    + END
    + "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ '<bos>' }}"
    + LOOP
    + "{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    "{{ m.content + '<end_of_turn>\n' }}"
    + END
    + "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
SMOL = (
    "{{ '<|im_start|>' }}" + LOOP + "{{ m.role | capitalize }}{{ ': ' }}"
    "{% for part in m.content %}{{ part.text }}{% endfor %}{{ '<end_of_utterance>\n' }}"
    + END
    + "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
VICUNA = (
    LOOP + "{% if m.role == 'user' %}{{ 'USER: ' + m.content + ' ' }}"
    "{% else %}{{ 'ASSISTANT: ' + m.content + '</s>' }}{% endif %}"
    + END
    + "{% if add_generation_prompt %}{{ 'ASSISTANT: ' }}{% endif %}"
)


def tokenizer(template: str) -> Any:
    """Bytes for a vocabulary, so that any text is tokens and a character may be several."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, chat_template=template)


@pytest.mark.parametrize(
    ("template", "parts", "headers", "ends"),
    [
        (
            CHATML,
            False,
            {r: f"<|im_start|>{r}\n" for r in ("system", "user", "assistant")},
            dict.fromkeys(("system", "user", "assistant"), "<|im_end|>\n"),
        ),
        (
            CHATML_SYSTEM,
            False,
            {r: f"<|im_start|>{r}\n" for r in ("system", "user", "assistant")},
            dict.fromkeys(("system", "user", "assistant"), "<|im_end|>\n"),
        ),
        (
            LLAMA3,
            False,
            {r: f"<|start_header_id|>{r}<|end_header_id|>\n\n" for r in ("user", "assistant")}
            | {"system": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"},
            dict.fromkeys(("system", "user", "assistant"), "<|eot_id|>"),
        ),
        (
            GEMMA,
            False,
            {"user": "<start_of_turn>user\n", "assistant": "<start_of_turn>model\n"},
            dict.fromkeys(("user", "assistant"), "<end_of_turn>\n"),
        ),
        (
            VICUNA,
            False,
            {"user": "USER: ", "assistant": "ASSISTANT: "},
            {"user": " ", "assistant": "</s>"},
        ),
    ],
    ids=["chatml", "chatml with a system", "llama 3", "gemma", "vicuna"],
)
def test_what_a_template_writes(
    template: str, parts: bool, headers: dict[str, str], ends: dict[str, str]
) -> None:
    spelled = spelling(tokenizer(template), parts=parts)
    assert spelled is not None
    assert {r: spelled.headers[r] for r in headers} == headers
    assert {r: spelled.ends[r] for r in ends} == ends


def marked(template: str, turns: list[dict[str, Any]], parts: bool = False) -> dict[str, str]:
    """The text of each role of a rendered conversation, as the turns that are read off it say."""
    encode = tokenizer(template)
    spelled = spelling(encode, parts=parts)
    assert spelled is not None
    text = encode.apply_chat_template(turns, tokenize=False)
    ids = encode.encode(text, add_special_tokens=False)
    texts = pieces(encode, ids)
    assert "".join(texts) == text
    roles = roles_of(len(ids), turns_of(texts, spelled))
    joined: dict[str, str] = {}
    for role, piece in zip(roles, texts, strict=True):
        joined[role] = joined.get(role, "") + piece
    return joined


@pytest.mark.parametrize("template", [CHATML, CHATML_SYSTEM, LLAMA3, GEMMA, VICUNA, THINKING])
def test_every_token_has_its_role(template: str) -> None:
    """Characters of several bytes, a line break at an end, a role's name inside a text."""
    turns = [
        {"role": "user", "content": "Was ist größer: 猫 or 🐘? user: x"},
        {"role": "assistant", "content": "🐘 is.\n"},
        {"role": "user", "content": "And why?"},
        {"role": "assistant", "content": "Size."},
    ]
    joined = marked(template, turns)
    assert joined["user"] == "Was ist größer: 猫 or 🐘? user: xAnd why?"
    assert joined["assistant"].replace("<think>\n\n</think>\n\n", "") == "🐘 is.\nSize."


def test_parts_and_a_prompt_that_is_shorter_than_a_header() -> None:
    """SmolVLM's spelling: one begin for the whole, `Assistant:` prompted without its blank."""
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "Which?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Red."}]},
    ]
    joined = marked(SMOL, turns, parts=True)
    assert joined["user"] == "Which?"
    assert joined["assistant"].strip() == "Red."


def test_no_template_no_turns() -> None:
    assert spelling(tokenizer("{{ raise_exception('no') }}"), parts=False) is None
    assert spelling(tokenizer("{{ 'nothing of it' }}"), parts=False) is None


def test_a_cut_row_is_not_closed() -> None:
    encode = tokenizer(CHATML)
    spelled = spelling(encode, parts=False)
    assert spelled is not None
    text = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nAn ans"
    texts = pieces(encode, encode.encode(text, add_special_tokens=False))
    user, assistant = turns_of(texts, spelled)
    assert user.closed
    assert "".join(texts[slice(*user.end)]) == "<|im_end|>\n"
    assert not assistant.closed
    assert assistant == Turn("assistant", len(texts) - 6, len(texts), False, (len(texts),) * 2)


@pytest.mark.parametrize(
    ("template", "written"),
    [(THINKING, "<think>\n"), (CHATML, ""), (SMOL, "")],
)
def test_a_generation_begins_behind_what_the_prompt_writes(template: str, written: str) -> None:
    """A prompt that opens the answer itself is masked rightly up to there; without any the answer
    begins where its turn does."""
    tokens = tokenizer(template)
    turns = [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "So."}]
    if template is SMOL:
        turns = [{**t, "content": [{"type": "text", "text": t["content"]}]} for t in turns]
    spelled = spelling(tokens, parts=template is SMOL)
    assert spelled is not None
    text = tokens.apply_chat_template(turns, tokenize=False)
    texts = pieces(tokens, tokens(text)["input_ids"])
    answer = turns_of(texts, spelled)[-1]
    assert "".join(texts[answer.start : answer.begins]) == written
    prompt = tokens.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert "".join(texts[: answer.begins]).startswith(prompt)


def test_an_end_without_its_line_break_closes() -> None:
    encode = tokenizer(CHATML)
    spelled = spelling(encode, parts=False)
    assert spelled is not None
    text = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>"
    texts = pieces(encode, encode.encode(text, add_special_tokens=False))
    assert [turn.closed for turn in turns_of(texts, spelled)] == [True, True]
