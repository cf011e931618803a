"""Rung 13: FLOPs and bytes gate exactly; times are recorded, benchmarked and never asserted.

`pytest suites/test_cost.py --benchmark-only` runs the benchmark cases alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.data.samples import pictures_in, training_conversations
from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.golden import read_goldens
from harness.judging.goldens.judgement import Judgement
from harness.measuring import _compat
from harness.measuring.child.own_truths import oracle as family_oracle
from harness.measuring.instruments import meters as measure
from harness.measuring.instruments.work import lengths_of, useful_flops
from harness.measuring.models import qwen2_vl
from harness.measuring.probes import cost as probe
from harness.measuring.snapshots.loading import load_processor
from harness.measuring.snapshots.source import STAND_IN
from harness.measuring.training.adapter import add_lora
from harness.measuring.training.collate import make_collator
from harness.pytest_plugin import assert_no_unexpected
from harness.recipe.published import REFERENCE, variant
from harness.records.context import Context
from harness.records.record import Direction, Record, Status
from suites.oracles import costs
from suites.oracles import flops as oracle
from suites.oracles import footprint as shapes
from suites.truths_footprint import stand_in_config


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("cost"))


def test_times_are_volatile_raw_and_directed(record_of: Callable[[str], Record]) -> None:
    record = record_of("cost")
    timed = [m for m in record.metrics if m.name == "seconds" and m.status is Status.OK]
    assert {"processor", "collator"} <= {m.case for m in timed}
    for metric in timed:
        assert metric.volatile
        assert len(metric.samples) == probe.REPEATS
        assert metric.direction is Direction.LOWER
    rates = [m for m in record.metrics if m.unit.endswith("/s") and m.status is Status.OK]
    assert rates
    assert all(m.volatile and m.direction is Direction.HIGHER for m in rates)


def test_counts_are_not_volatile(record_of: Callable[[str], Record]) -> None:
    for metric in record_of("cost").metrics:
        if metric.name in {"flops", "useful_flops", "predicted_bytes", "held_bytes"}:
            assert not metric.volatile


def test_the_7b_adapters_training_state(record_of: Callable[[str], Record]) -> None:
    record = record_of("cost")
    parts = ("adapter", "gradients", "optimizer")
    parts_bytes = [record.find("predicted_bytes", f"7b.{part}").value for part in parts]
    assert sum(int(str(n)) for n in parts_bytes) == 40_370_176


def test_published_vision_figures() -> None:
    # 629.1 M weights a patch in the blocks, 44.56 M per merged token, 1.5 M in the patch embedding.
    one = oracle.vision_forward(shapes.SEVEN_B, [4])
    attended = 4 * 16 * 1280 * 32
    assert one - attended == pytest.approx(
        4 * (2 * 629.1e6 + 2 * 44.56e6 / 4 + 2 * 1.5e6), rel=1e-3
    )
    assert oracle.decoder(shapes.SEVEN_B) == 6_525_288_448
    assert oracle.head(shapes.SEVEN_B) == 544_997_376


def test_checkpointing_costs_what_the_limits_say() -> None:
    # Per token 4P without checkpointing, 4P + 2(P - P_down) = 5.42P with it; a text
    # of one token leaves the Linears alone.
    config = shapes.SEVEN_B
    weights = oracle.decoder(config)
    again = oracle.recomputed(config, 1, 1) / weights
    assert 4 + again == pytest.approx(5.42, abs=0.01)


def test_the_counter_counts_products_and_nothing_else() -> None:
    left, right = torch.ones(3, 5), torch.ones(5, 7)
    counted = measure.count_flops(lambda: torch.relu(left @ right) + 1)
    assert counted.total == 2 * 3 * 5 * 7
    assert dict(counted.by_operator) == {"mm": 210}


def test_tensor_bytes_count_elements() -> None:
    assert measure.tensor_bytes([torch.zeros(3, dtype=torch.bfloat16), torch.zeros(2, 2)]) == 22


def test_timer_returns_every_sample_but_the_warm_up() -> None:
    calls: list[int] = []
    seconds = measure.time_calls(lambda: calls.append(1), device="cpu", repeats=4, warm_up=2)
    assert len(calls) == 6
    assert len(seconds) == 4
    assert all(s >= 0 for s in seconds)


def test_cuda_memory_is_refused_on_a_cpu() -> None:
    with pytest.raises(ValueError, match="no CUDA memory"):
        measure.cuda_memory("cpu")


@pytest.fixture(scope="module")
def conversations() -> list[Any]:
    return training_conversations(4)


@pytest.fixture(scope="module")
def processor(context: Context) -> Any:
    return load_processor(context.snapshot)


@pytest.fixture(scope="module")
def model(context: Context) -> Any:
    """The stand-in's architecture with LoRA; a cost does not depend on the weights' values."""
    from transformers import Qwen2VLConfig

    config = Qwen2VLConfig.from_dict(stand_in_config())
    torch.manual_seed(0)
    built = _compat.vision_to_text_class().from_config(config, attn_implementation="eager")
    return add_lora(built.float(), context.recipe, dropout=False)


def stand_in_batch(rows: list[Any]) -> dict[str, Any]:
    return make_collator(load_processor(STAND_IN), REFERENCE, qwen2_vl)(rows)


def test_one_conversation_costs_what_the_formula_says(model: Any, conversations: list[Any]) -> None:
    batch = stand_in_batch(conversations[:1])
    lengths = lengths_of(batch, qwen2_vl)
    config = stand_in_config()
    forward = oracle.forward(config, lengths.batch, lengths.length, lengths.patches)
    model.train()
    counted = measure.count_flops(lambda: probe.step(model, batch, backward=False)).total
    # The rotary angles are a product on some stacks and elementwise on others.
    assert counted == pytest.approx(forward, rel=4e-5)
    back = oracle.backward(config, lengths.batch, lengths.length, inputs_have_gradients=False)
    counted = measure.count_flops(lambda: probe.step(model, batch)).total
    assert counted == pytest.approx(forward + back, rel=4e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_a_users_model_is_told_what_the_stand_in_is(masked: bool, conversations: list[Any]) -> None:
    """By the family's own oracle, which is asked of any snapshot, as by the truths that are
    committed; and each known fault's size is what the stack's list says of it."""
    recipe = variant("mask-prompt") if masked else REFERENCE
    judge = family_oracle("qwen2_vl")
    config, asked = stand_in_config(), judge.oracle(STAND_IN)
    stated = {
        truth.metric: truth
        for truth in costs.truths(
            judge, asked, config, conversations, mask_prompt=masked, widened=True
        )
    }
    committed = {
        golden.metric: golden
        for golden in read_goldens()
        if golden.rung == "cost" and golden.model == "stand-in"
        if not golden.recipes or recipe.name in golden.recipes
    }
    assert {name: truth.cases for name, truth in stated.items()} == {
        name: golden.cases for name, golden in committed.items()
    }
    for stack in ("reference", "latest"):
        for wish in read_expected(stack, recipe=recipe.name):
            if wish.finding.startswith("cost.flops.") and wish.when == "stand-in+catalogue":
                case = wish.finding.removeprefix("cost.flops.")
                fault = next(
                    other.otherwise
                    for other in read_expected(stack, recipe=recipe.name)
                    if other.finding == wish.finding and other.when == "own-data"
                )
                work = stated["flops"].otherwise[fault][case]
                assert work == pytest.approx(wish.value, rel=4e-5)


def test_a_7bs_step_is_what_an_h200_counted(conversations: list[Any]) -> None:
    """FLOPs that torch's counter saw of random-7b on an H200 (2026-12-01, transformers 5.17.0,
    whose checkpointed step runs the tower again), before there was a formula for them here."""
    judge = family_oracle("qwen2_vl")
    asked, config = judge.oracle(STAND_IN), judge.SIZES["7b"]  # random-7b has its processor
    stated = {
        truth.metric: truth
        for truth in costs.truths(
            judge, asked, config, conversations, mask_prompt=False, widened=False
        )
    }
    counted = {
        "forward.one": 2_356_395_438_080,
        "forward.four": 9_981_407_950_336,
        "step.one": 4_635_567_124_480,
        "step.four": 19_615_749_047_808,
        "step_checkpointed.one": 6_269_544_755_200,
        "step_checkpointed.four": 26_560_904_295_936,
    }
    assert stated["flops"].otherwise["the tower runs backward"] == counted
    assert stated["held_bytes"].cases == {
        "adapter": 10_092_544,
        "gradients": 10_092_544,
        "optimizer": 20_185_088,
    }


def test_a_needless_gradient_shows_in_the_count(model: Any, conversations: list[Any]) -> None:
    batch = stand_in_batch(conversations[:1])
    model.train()
    before = measure.count_flops(lambda: probe.step(model, batch)).total
    frozen = next(p for n, p in model.named_parameters() if "mlp.up_proj" in n)
    frozen.requires_grad_(True)
    after = measure.count_flops(lambda: probe.step(model, batch)).total
    frozen.requires_grad_(False)
    tokens = int(batch["input_ids"].numel())
    assert after - before == 2 * tokens * frozen.numel()


def test_useful_work_leaves_padding_out(model: Any, conversations: list[Any]) -> None:
    counted = lengths_of(stand_in_batch(conversations), qwen2_vl)
    config = stand_in_config()
    assert counted.tokens < counted.batch * counted.length
    assert useful_flops(model, counted) == oracle.useful(
        config, counted.tokens, counted.trained, counted.patches
    )


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_is_the_recipes(use_reentrant: bool) -> None:
    """Not the published value whatever the recipe says."""
    asked: list[Any] = []
    model = SimpleNamespace(
        gradient_checkpointing_enable=lambda **given: asked.append(given),
        enable_input_require_grads=lambda: asked.append("inputs"),
    )
    probe.checkpointing(model, replace(REFERENCE.training, use_reentrant=use_reentrant))
    wanted = {"gradient_checkpointing_kwargs": {"use_reentrant": use_reentrant}}
    assert asked == [wanted, "inputs"]


@pytest.mark.benchmark(group="processor")
def test_benchmark_processor(benchmark: Any, processor: Any, conversations: list[Any]) -> None:
    pictures = [p.convert("RGB") for messages in conversations for p in pictures_in(messages)]
    benchmark.pedantic(
        lambda: processor.image_processor(images=pictures, return_tensors="pt"),
        rounds=3,
        warmup_rounds=1,
    )


@pytest.mark.benchmark(group="collator")
def test_benchmark_collator(
    benchmark: Any, context: Context, processor: Any, conversations: list[Any]
) -> None:
    collate = make_collator(processor, context.recipe, qwen2_vl)
    benchmark.pedantic(lambda: collate(conversations), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="training step")
def test_benchmark_training_step(benchmark: Any, model: Any, conversations: list[Any]) -> None:
    batch = stand_in_batch(conversations)
    model.train()
    output = benchmark.pedantic(lambda: probe.step(model, batch), rounds=3, warmup_rounds=1)
    assert torch.isfinite(output.loss)
