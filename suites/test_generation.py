"""Rung 12: descriptions by base and tuned model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.data.dataset import load_rows
from harness.errors import Lack
from harness.judging.goldens.judgement import Judgement
from harness.measuring.models import family
from harness.measuring.probes import generation as probe
from harness.measuring.probes._generate import (
    Decoding,
    Generated,
    blank,
    effective_sampling,
    encode,
    generate,
    generate_batch,
    is_a_tie,
    leaves_at_a_tie,
    shuffled,
    template_texts,
    trim,
)
from harness.measuring.snapshots.loading import load_model, load_processor
from harness.pytest_plugin import assert_no_unexpected
from harness.recipe.published import REFERENCE
from harness.records.context import Context
from harness.records.files import read_json
from harness.records.record import Status


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return load_rows("catalogue", "heldout", limit=4)


@pytest.fixture(scope="module")
def model(context: Context) -> Any:
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights to generate with")
    return load_model(context.snapshot)


def test_texts_of_random_weights_are_not_run(context: Context, tmp_path: Path) -> None:
    record = probe.run(replace(context, model="random-7b", has_weights=True, out=tmp_path))
    gap = record.find("batch_gap")
    assert gap.status is Status.NOT_RUN
    assert "mean nothing" in str(gap.reason)
    assert not (tmp_path / "training").exists()


@pytest.mark.slow
def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("generation"))


@pytest.mark.slow
def test_generations_are_saved_with_their_pictures(
    judgement_of: Callable[[str], Judgement], context: Context
) -> None:
    judgement_of("generation")
    folder = context.out / "work" / "generation"
    saved = read_json(folder / "generations.json")["products"]
    assert len(saved) >= 100
    for item in saved:
        assert (folder / item["image"]).is_file()
        assert item["base"]["greedy"] is not None
        assert item["tuned"]["sampled42"] is not None


def test_decoding_is_the_recipes() -> None:
    """Against the published arguments (recipe.md)."""
    assert Decoding(True, 256).arguments(REFERENCE) == {
        "max_new_tokens": 256,
        "do_sample": True,
        "temperature": 0.8,
        "top_p": 1.0,
    }


def test_prompts_are_padded_on_the_left_behind_a_mask(
    context: Context, processor: Any, rows: list[dict[str, Any]]
) -> None:
    before = processor.tokenizer.padding_side
    batch = encode(processor, rows, REFERENCE, family(context.family))
    assert processor.tokenizer.padding_side == before
    pad = processor.tokenizer.pad_token_id
    both = zip(batch["input_ids"].tolist(), batch["attention_mask"].tolist(), strict=True)
    for ids, mask in both:
        assert mask == sorted(mask)  # zeros first
        assert [i for i, m in zip(ids, mask, strict=True) if not m] == [pad] * mask.count(0)
    tail = processor.tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)
    assert all(ids[-len(tail) :] == tail for ids in batch["input_ids"].tolist())


def test_a_batch_gives_what_one_alone_gives(
    model: Any, processor: Any, rows: list[dict[str, Any]]
) -> None:
    greedy = Decoding(False, 24)
    together = generate_batch(model, processor, rows, REFERENCE, greedy)
    alone = [generate_batch(model, processor, [row], REFERENCE, greedy)[0] for row in rows]
    assert [g.ids for g in together] == [g.ids for g in alone]
    assert all("##PRODUCT NAME##" not in g.text for g in together)


def test_sampling_follows_its_seed(model: Any, processor: Any, rows: list[dict[str, Any]]) -> None:
    first = generate_batch(model, processor, rows, REFERENCE, Decoding(True, 16, 1))
    again = generate_batch(model, processor, rows, REFERENCE, Decoding(True, 16, 1))
    other = generate_batch(model, processor, rows, REFERENCE, Decoding(True, 16, 2))
    assert first == again
    assert first != other


def test_the_published_generation_config_makes_the_recipes_sampling_greedy(
    model: Any, processor: Any, rows: list[dict[str, Any]]
) -> None:
    """Executed on this stack: top_k=1 survives the recipe's arguments, so seeds don't matter."""
    from copy import deepcopy

    kept = model.generation_config
    model.generation_config = deepcopy(kept)
    model.generation_config.update(do_sample=True, temperature=0.01, top_p=0.001, top_k=1)
    try:
        greedy = generate_batch(model, processor, rows[:2], REFERENCE, Decoding(False, 16))
        for seed in (1, 2):
            decoding = Decoding(True, 16, seed)
            sampled = generate_batch(model, processor, rows[:2], REFERENCE, decoding)
            assert [g.ids for g in sampled] == [g.ids for g in greedy]
        assert effective_sampling(model, REFERENCE)["top_k"] == 1
    finally:
        model.generation_config = kept


def test_effective_sampling_prefers_the_recipes_arguments() -> None:
    config = SimpleNamespace(do_sample=False, temperature=0.01, top_p=0.001, top_k=1)
    sampling = effective_sampling(SimpleNamespace(generation_config=config), REFERENCE)
    assert sampling == {
        "do_sample": True,
        "temperature": 0.8,
        "top_p": 1.0,
        "top_k": 1,
        "repetition_penalty": None,
    }


def test_finished_batches_are_not_generated_again(
    model: Any, processor: Any, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    greedy = Decoding(False, 8)
    arguments = (rows, REFERENCE, greedy, tmp_path, "base.greedy")
    first = generate(model, processor, *arguments, "key", batch=2)
    assert len(list(tmp_path.glob("*.json"))) == 2
    # Without a model: every batch must come from its file.
    assert generate(None, processor, *arguments, "key", batch=2) == first
    with pytest.raises(AttributeError):
        generate(None, processor, *arguments, "another key", batch=2)


def test_controls_change_every_picture_and_nothing_else(rows: list[dict[str, Any]]) -> None:
    for control in (shuffled(rows), blank(rows)):
        for old, new in zip(rows, control, strict=True):
            assert {k: v for k, v in old.items() if k != "image"} == {
                k: v for k, v in new.items() if k != "image"
            }
            assert old["image"].tobytes() != new["image"].tobytes()


def test_the_template_never_looks_at_the_picture(rows: list[dict[str, Any]]) -> None:
    training = load_rows("catalogue", "train", limit=20)
    without = [{**row, "image": None} for row in rows]
    texts = template_texts(without, training)
    assert texts == template_texts(rows, training)
    assert all(row["Product Name"] in text for row, text in zip(rows, texts, strict=True))


def test_trim_keeps_what_precedes_the_padding() -> None:
    tokenizer = SimpleNamespace(pad_token_id=0)
    assert trim([5, 0, 6, 0, 0], tokenizer) == (5, 0, 6)
    assert trim([0, 0], tokenizer) == ()


def test_a_text_leaks_its_prompt_by_ids_not_by_words(processor: Any) -> None:
    """A model that was taught on prompts may write their words; what begins a turn it may not."""
    tokenizer, chat = processor.tokenizer, family("qwen2_vl").CHAT

    def leaked(text: str, skip: bool = True) -> bool:
        ids = tokenizer.encode(text, add_special_tokens=False)
        shown = tokenizer.decode(ids, skip_special_tokens=skip)
        return probe.leaks(Generated(shown, tuple(ids)), tokenizer, chat)

    words = REFERENCE.system_message + " ##PRODUCT NAME##: a lamp"
    assert not leaked(words)
    assert not leaked(words + "<|im_end|>")
    assert leaked(words + "<|im_end|>", skip=False)
    assert leaked("<|im_start|>assistant\nA lamp<|im_end|>")
    assert leaked("name?<|im_end|>\n<|im_start|>assistant\nA lamp")
    # Where no token begins a turn: the role is a word like any other.
    chat = replace(chat, turn_start="")
    assert not leaked("assistant\nA lamp")
    assert leaked("<|vision_start|><|image_pad|><|image_pad|><|vision_end|>A lamp<|im_end|>")


def test_generation_order_is_the_recipes_and_the_repair_turns_it(
    context: Context, processor: Any, rows: list[dict[str, Any]]
) -> None:
    """Contradiction 1."""
    repaired = replace(REFERENCE, repairs=replace(REFERENCE.repairs, same_order=True))
    start = processor.tokenizer.convert_tokens_to_ids("<|vision_start|>")
    prompts = [
        encode(processor, rows[:1], recipe, family(context.family))["input_ids"][0].tolist()
        for recipe in (REFERENCE, repaired)
    ]
    places = [prompt.index(start) for prompt in prompts]
    assert places[0] < places[1]


def test_a_tie_is_what_rounding_can_decide() -> None:
    scores = torch.tensor([-math.inf, 20.0, 20.0 - 0.01, 19.0, -8.0])
    assert is_a_tie(scores, 1, 2, torch.float16)  # one unit in the last place of 20 is 2 ** -6
    assert not is_a_tie(scores, 1, 2, torch.float32)
    assert is_a_tie(scores, 1, 3, torch.bfloat16)  # and 2 ** -3
    assert not is_a_tie(scores, 1, 3, torch.float16)


def test_another_text_is_no_tie(model: Any, rows: list[dict[str, Any]], context: Context) -> None:
    processor = load_processor(context.snapshot)
    greedy = Decoding(False, 6)
    one = generate_batch(model, processor, rows[:1], REFERENCE, greedy)[0]
    assert not leaves_at_a_tie(model, processor, rows[0], REFERENCE, greedy, one)
    worst = Generated("", (*one.ids[:3], 0, *one.ids[4:]))
    assert not leaves_at_a_tie(model, processor, rows[0], REFERENCE, greedy, worst)


def test_one_held_out_row_has_scores_and_no_interval(context: Context, tmp_path: Path) -> None:
    """A small dataset of a user's own holds out one row; an interval needs two."""
    from harness.measuring.instruments.recorder import Recorder
    from harness.measuring.probes._scored import Texts, add_order, add_scores

    row = {"description": "A red mug. #Mug"}
    jobs = [f"{name}.{job}" for name in ("base", "tuned") for job in JOBS]
    written = {job: [Generated("A blue mug. #Mug", (1,))] for job in jobs}
    recorder = Recorder("generation")
    texts = Texts([row], None, written, ["A mug."])
    add_scores(recorder, texts, replace(context, out=tmp_path))
    add_order(recorder, texts)
    record = recorder.finish(context.provenance(), tmp_path)
    assert record.find("rouge_l", "tuned.greedy").status is Status.OK
    for name, case in (("gain", "chrf.greedy"), ("gain_low", "format.sampled42")):
        metric = record.find(name, case)
        assert metric.status is Status.NOT_RUN
        assert metric.lack is Lack.SCALE
        assert metric.reason == "one held-out row has no interval; hold out at least two"
    assert record.find("order_effect", "base.rouge_l").lack is Lack.SCALE


JOBS = ("greedy", "sampled42", "sampled43", "shuffled", "blank", "same_order")
