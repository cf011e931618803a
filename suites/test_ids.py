"""Rung 3: token ids, masks, padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.samples import id_texts
from harness.judging.goldens.judgement import Judgement
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import family
from harness.measuring.models.qwen2_vl import SAMPLES
from harness.measuring.probes.ids import _marks
from harness.pytest_plugin import assert_no_unexpected
from harness.records.context import Context
from harness.records.record import Record
from suites.oracles.bpe import Encoder

# transformers' integration test for the model, first 17 ids.
INTEGRATION = [
    151644,
    8948,
    198,
    2610,
    525,
    264,
    10950,
    17847,
    13,
    151645,
    198,
    151644,
    872,
    198,
    151652,
    151655,
    151655,
]

words = st.text(st.characters(blacklist_categories=("Cs",)), max_size=60)


@pytest.fixture(scope="module")
def oracle(context: Context) -> Encoder:
    return Encoder.from_folder(context.snapshot)


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("ids"))


@settings(max_examples=200, deadline=None)
@given(words)
def test_any_text_has_the_oracles_ids(processor: Any, oracle: Encoder, text: str) -> None:
    assert processor.tokenizer.encode(text, add_special_tokens=False) == oracle.encode(text)


def test_the_oracle_speaks_for_every_measured_text(
    record_of: Callable[[str], Record], oracle: Encoder
) -> None:
    """Also where no golden is committed: a user's own vocabulary is judged here."""
    record = record_of("ids")
    for name, text in {**id_texts(), **SAMPLES.texts}.items():
        assert record.find("encoded", name).value == oracle.encode(text), name


def test_the_published_ids(context: Context, oracle: Encoder, processor: Any) -> None:
    if context.vocabulary != "real":
        # Another vocabulary has no published ids: its control tokens must be single ids.
        for token, number in oracle.control.items():
            assert processor.tokenizer.encode(token, add_special_tokens=False) == [number]
        return
    assert oracle.encode(SAMPLES.texts["integration"]) == INTEGRATION


def test_a_mark_beside_its_picture_is_counted(processor: Any) -> None:
    """Marks that are padded on the other side than ids, as trl#5785 was: of three tokens two
    are not marked, and two others are."""
    picture = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    ids = torch.tensor([[7, 7, picture, picture, picture, 5]])

    def gap(marks: list[int]) -> Any:
        recorder = Recorder("ids")
        batch = {"input_ids": ids, "mm_token_type_ids": torch.tensor([marks])}
        _marks(recorder, batch, processor.tokenizer, family("qwen2_vl"), "left")
        return next(iter(recorder._metrics.values())).value

    assert gap([0, 0, 1, 1, 1, 0]) == 0
    assert gap([1, 1, 1, 0, 0, 0]) == 4


def test_padding_only_where_the_mask_is_zero(record_of: Callable[[str], Record]) -> None:
    record = record_of("ids")
    for side in ("left", "right"):
        ids: Any = record.find("batch_ids", side).value
        mask: Any = record.find("batch_mask", side).value
        for row, flags in zip(ids, mask, strict=True):
            zeros = len(flags) - sum(flags)
            gap = flags[:zeros] if side == "left" else flags[len(flags) - zeros :]
            assert not any(gap)
            assert len({row[i] for i, f in enumerate(flags) if not f}) <= 1
