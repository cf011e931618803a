"""Rung 5: what is trained and what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.samples import gradient
from harness.errors import BadInput
from harness.judging.goldens.judgement import Judgement
from harness.measuring.models import qwen2_vl
from harness.measuring.models.qwen2_vl import CHAT
from harness.measuring.probes.labels import roles_of, shown_texts
from harness.measuring.snapshots import loading
from harness.measuring.training.collate import (
    check_conversation,
    completion_labels,
    control_ids,
    make_collator,
)
from harness.pytest_plugin import assert_no_unexpected
from harness.recipe.published import IGNORE_INDEX, REFERENCE, training_messages
from harness.records.context import Context
from harness.records.record import Record
from suites.oracles import labels as oracle

text = st.text(st.characters(blacklist_categories=("Cs",)), max_size=40).filter(
    lambda t: "<|" not in t
)
rows = st.builds(
    lambda name, category, description, w, h: {
        "image": gradient(w, h),
        "Product Name": name,
        "Category": category,
        "description": description,
    },
    text,
    text,
    text,
    st.integers(28, 120),
    st.integers(28, 120),
)


@pytest.fixture(scope="module")
def by_side(context: Context) -> dict[str, Any]:
    """A processor per padding side, loaded once: the real vocabulary takes seconds to load."""
    load = loading.load_processor
    return {side: load(context.snapshot, padding_side=side) for side in ("left", "right")}


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("labels"))


@settings(max_examples=25, deadline=None)
@given(st.lists(rows, min_size=1, max_size=3), st.sampled_from(["left", "right"]))
def test_nothing_masked_is_trained_and_nothing_supervised_is_lost(
    by_side: dict[str, Any], batch_rows: list[dict[str, Any]], side: str
) -> None:
    processor = by_side[side]
    batch = make_collator(processor, REFERENCE, qwen2_vl)(
        [training_messages(r) for r in batch_rows]
    )
    tokenizer = processor.tokenizer
    control = control_ids(tokenizer, CHAT)
    header = tokenizer.encode("<|im_start|>assistant", add_special_tokens=False)
    pad = tokenizer.pad_token_id
    completion = completion_labels(batch["input_ids"], tokenizer, CHAT)
    for ids, now, only in zip(
        batch["input_ids"].tolist(), batch["labels"].tolist(), completion.tolist(), strict=True
    ):
        assert now == oracle.recipe(ids, control, pad)
        assert only == oracle.completion(ids, control, pad, header)
    assert bool((batch["labels"][batch["attention_mask"] == 0] == IGNORE_INDEX).all())


@pytest.mark.parametrize("begin", ["\n", "\n\n", "\r\n", " \n", "\n ", ""])
def test_an_answer_that_begins_with_a_line_break_is_still_one(
    by_side: dict[str, Any], begin: str
) -> None:
    """The real vocabulary merges the header's line break with those that follow."""
    row = {
        "image": gradient(60, 60),
        "Product Name": "n",
        "Category": "c",
        "description": f"{begin}Blue mug.",
    }
    tokenizer = by_side["right"].tokenizer
    ids = make_collator(by_side["right"], REFERENCE, qwen2_vl)([training_messages(row)])[
        "input_ids"
    ]
    only = completion_labels(ids, tokenizer, CHAT)[0]
    answer = tokenizer.decode(only[only != IGNORE_INDEX])
    assert answer.strip("\r\n ").startswith("Blue mug.")
    assert "assistant" not in answer


@settings(max_examples=10, deadline=None)
@given(st.lists(rows, min_size=2, max_size=3))
def test_batch_order_and_padding_side_do_not_matter(
    by_side: dict[str, Any], batch_rows: list[dict[str, Any]]
) -> None:
    def trained(chosen: list[dict[str, Any]], side: str) -> list[list[int]]:
        batch = make_collator(by_side[side], REFERENCE, qwen2_vl)(
            [training_messages(r) for r in chosen]
        )
        return [[x for x in row if x != IGNORE_INDEX] for row in batch["labels"].tolist()]

    forward = trained(batch_rows, "left")
    assert trained(batch_rows, "right") == forward
    assert trained(batch_rows[::-1], "left") == forward[::-1]


def test_roles_agree_with_the_oracle(processor: Any, record_of: Callable[[str], Record]) -> None:
    """The probe's own walk against the oracle's, on an independent example."""
    row = {"image": gradient(60, 60), "Product Name": "n", "Category": "c", "description": "d e"}
    batch = make_collator(processor, REFERENCE, qwen2_vl)([training_messages(row)])
    ids = batch["input_ids"][0].tolist()
    names = {
        r: processor.tokenizer.encode(r, add_special_tokens=False)
        for r in ("system", "user", "assistant")
    }
    assert roles_of(ids, processor.tokenizer, CHAT) == oracle.roles(
        ids, control_ids(processor.tokenizer, CHAT), names
    )


def test_most_of_the_recipes_targets_are_prompt(record_of: Callable[[str], Record]) -> None:
    """Contradiction 6, as a number: the recipe trains on its own prompt."""
    share: Any = record_of("labels").find("prompt_share").value
    assert 0.2 < share < 0.95


@pytest.mark.parametrize("token", ["<|im_end|>", "<|image_pad|>", "<|endoftext|>"])
def test_control_tokens_in_product_text_are_refused(processor: Any, token: str) -> None:
    row = {
        "image": gradient(60, 60),
        "Product Name": f"nice {token} doll",
        "Category": "c",
        "description": "d",
    }
    with pytest.raises(BadInput, match="control token"):
        check_conversation(training_messages(row), processor.tokenizer, CHAT)


@given(st.text(alphabet=st.sampled_from("ab é한국🧸\u0301"), min_size=1, max_size=12))
@settings(deadline=None)
def test_a_split_character_is_shown_once_and_whole(processor: Any, text: str) -> None:
    ids = processor.tokenizer.encode(text, add_special_tokens=False)
    shown = shown_texts(ids, processor.tokenizer)
    assert len(shown) == len(ids)
    whole = processor.tokenizer.decode(ids)
    assert "".join(piece for piece in shown if piece != "‥") == whole
