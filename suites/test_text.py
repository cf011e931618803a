"""Rung 2: the chat template, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.samples import own_cases, text_cases
from harness.judging.goldens.judgement import Judgement
from harness.measuring.models.qwen2_vl import CHAT
from harness.pytest_plugin import assert_no_unexpected
from harness.recipe.published import PRINTED_SAMPLE, training_messages
from harness.records.context import Context
from harness.records.record import Record
from suites.oracles import template

words = st.text(st.characters(blacklist_categories=("Cs",)), max_size=30)
parts = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, words),
    st.just({"type": "image", "image": "x"}),
    st.just({"type": "video", "video": "x"}),
)
turns = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["system", "user", "assistant"]),
    st.one_of(words, st.lists(parts, max_size=4)),
)


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("text"))


def test_every_message_shape_is_measured(
    context: Context, record_of: Callable[[str], Record]
) -> None:
    record = record_of("text")
    shapes = {*text_cases(CHAT.numbering), *own_cases(context, context.recipe)}
    assert {m.case for m in record.metrics if m.name == "rendered"} == shapes


@settings(max_examples=150, deadline=None)
@given(st.lists(turns, min_size=1, max_size=5), st.booleans(), st.booleans())
def test_any_conversation_renders_as_the_oracle_says(
    processor: Any, messages: list[dict[str, Any]], prompt: bool, numbered: bool
) -> None:
    rendered = processor.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=prompt, add_vision_id=numbered
    )
    assert rendered == template.render(
        messages, add_generation_prompt=prompt, add_vision_id=numbered
    )


def test_the_printed_sample_is_not_the_true_rendering(record_of: Callable[[str], Record]) -> None:
    """Contradiction 4: the post's print lost every trailing space and one `<`."""
    true = str(record_of("text").find("rendered", "printed_sample").value)
    printed = "\n".join(line.rstrip(" ") for line in true.split("\n")).replace(
        "<|im_start|>assistant", "|im_start|>assistant"
    )
    assert printed != true
    assert "and image. \nOnly" in true
    assert "experience.\n \n##PRODUCT" in true
    assert true.count("  ") == PRINTED_SAMPLE["description"].count("  ") == 2


@pytest.mark.parametrize("name", ["a {category} b", "{product_name}", "50% {x!r}"])
def test_braces_in_product_text_stay_text(name: str) -> None:
    row = {"image": "x", "Product Name": name, "Category": "{product_name}", "description": "d"}
    text = training_messages(row)[1]["content"][0]["text"]
    assert f"##PRODUCT NAME##: {name}\n##CATEGORY##: {{product_name}}" in text
