"""Rung 11: the short training run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.data.samples import training_conversations
from harness.errors import BadInput, Diverged, Lack
from harness.judging.goldens.golden import Band, BandKind, Golden, read_goldens
from harness.judging.goldens.judgement import Judgement
from harness.judging.goldens.verdicts import judge
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import family
from harness.measuring.probes import _merged
from harness.measuring.probes.trajectory import _curve, trained_on
from harness.measuring.snapshots.loading import load_model, load_processor
from harness.measuring.training.end import logged
from harness.measuring.training.run import train
from harness.measuring.training.spec import STAND_IN_SCALE, spec_for
from harness.measuring.training.trainer import build_trainer, machine_arguments, recipe_arguments
from harness.pytest_plugin import assert_no_unexpected
from harness.recipe.published import REFERENCE, Recipe, training_messages
from harness.records.context import Context, Scale
from harness.records.record import How, Record, Verdict
from suites.faults import late


@pytest.mark.slow
def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("trajectory"))


@pytest.mark.slow
def test_every_loss_is_finite_and_every_step_trains(record_of: Callable[[str], Record]) -> None:
    metric = record_of("trajectory").find("loss_drop")
    assert len(metric.samples) == record_of("trajectory").find("steps").value
    assert all(0.0 < loss < 20.0 for loss in metric.samples)


def test_the_observed_numbers_are_of_this_training(context: Context) -> None:
    """Else all of them are not comparable, which no exit code shows: a field was once added to the
    spec, and with it to the digest. The rows' digest is the one of the catalogue's 560."""
    if context.model != "stand-in" or context.device != "cpu":
        pytest.skip("the committed numbers are of the stand-in on a CPU")
    observed = {
        golden.provenance["samples"]
        for golden in read_goldens()
        if golden.kind == "observed" and golden.rung == "trajectory"
    }
    rows = trained_on(spec_for(context), "4c41f0d762fcb21f")
    assert observed == {context.provenance(rows).samples}
    for other in ({"way": "packed_kept"}, {"padding": "right"}):
        rows = trained_on(replace(spec_for(context), **other), "4c41f0d762fcb21f")
        assert context.provenance(rows).samples not in observed


def test_a_model_too_large_is_not_merged(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merging loads it twice in float32; the verdict asks nothing then."""
    monkeypatch.setattr(_merged, "MOST", 1000)
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights")
    recorder = Recorder("trajectory")
    _merged.record_merged(recorder, spec_for(context), tmp_path, tmp_path)
    record = recorder.finish(context.provenance(), tmp_path)
    assert {metric.lack for metric in record.metrics} == {Lack.SCALE}
    goldens = [g for g in read_goldens() if g.metric in _merged.ALL]
    judgement = judge({"trajectory": record}, goldens, [])
    asked = {f"trajectory.{g.metric}.{case}".rstrip(".") for g in goldens for case in g.cases}
    assert {i.finding for i in judgement.missing} == asked
    assert not any(item.required for item in judgement.missing)


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.1])
def test_a_loss_of_another_size_is_never_an_improvement(context: Context, factor: float) -> None:
    """Divided twice, or logged as 0.0 for a value that is no number."""
    recorder = Recorder("trajectory")
    entry = {"step": 5, "loss": 0.4 * factor, "grad_norm": 1.0, "learning_rate": 1e-3}
    done = {"curve": [entry], "log": [entry], "seconds": 1.0, "notes": ()}
    _curve(recorder, done, spec_for(context), How.MEASURED)
    record = recorder.finish(context.provenance(), context.out)
    seen = Golden(
        "trajectory",
        context.family,
        "loss",
        "observed",
        "run",
        "why",
        {"step_0005": 0.4},
        Band(BandKind.RELATIVE, 0.01),
        context.model,
        stack=context.stack,
        device_key=context.device_key,
    )
    (item,) = [i for i in judge({"trajectory": record}, [seen], []).items if i.golden]
    assert item.verdict is Verdict.CHANGED


def test_stand_in_scale_divides_its_epoch() -> None:
    """Then the position in the data is exact on every stack, whatever step a run stops at."""
    assert 560 % (STAND_IN_SCALE.micro_batch * STAND_IN_SCALE.accumulation) == 0


def test_a_snapshot_on_cuda_trains_with_the_recipes_own_numbers(context: Context) -> None:
    big = replace(context, model="snapshot:x", device="cuda", scale=Scale(full=True))
    spec, recipe = spec_for(big), REFERENCE.training
    assert spec.micro_batch == recipe.per_device_train_batch_size == 4
    assert spec.accumulation == recipe.gradient_accumulation_steps == 8
    assert spec.learning_rate == recipe.learning_rate == 2e-4
    assert (spec.max_steps, spec.quantisation, spec.dtype) == (-1, "bitsandbytes", "bfloat16")


def test_a_planted_fault_trains_a_few_rows_of_whatever_model(context: Context) -> None:
    """A hundred steps of 32 rows for each of sixty faults are a day of a lent GPU."""
    with late.short_run():
        for model, device in (("stand-in", "cpu"), ("snapshot:x", "cpu"), ("snapshot:x", "cuda")):
            spec = spec_for(replace(context, model=model, device=device))
            assert (spec.max_steps, spec.micro_batch, spec.accumulation) == (5, 1, 1)
    plain = replace(context, model="stand-in", device="cpu")
    assert spec_for(plain).max_steps == STAND_IN_SCALE.max_steps


def test_the_users_scale_wins(context: Context) -> None:
    chosen = Scale(max_steps=3, learning_rate=0.5, micro_batch=1, accumulation=2)
    spec = spec_for(replace(context, scale=chosen))
    assert (spec.max_steps, spec.learning_rate) == (3, 0.5)
    assert (spec.micro_batch, spec.accumulation) == (1, 2)


def test_arguments_are_the_recipes() -> None:
    """Against the published list (recipe.md), not against the Recipe type."""
    published: Mapping[str, Any] = {
        "num_train_epochs": 3,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 8,
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "optim": "adamw_torch_fused",
        "logging_steps": 5,
        "save_strategy": "epoch",
        "learning_rate": 2e-4,
        "bf16": True,
        "tf32": True,
        "max_grad_norm": 0.3,
        "warmup_ratio": 0.03,
        "lr_scheduler_type": "constant",
        "push_to_hub": False,
        "report_to": "tensorboard",
        "dataset_text_field": "",
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
    assert recipe_arguments(REFERENCE) == published


def test_cuda_changes_nothing_but_the_pickles() -> None:
    wanted = recipe_arguments(REFERENCE)
    arguments, notes = machine_arguments("cuda:0", wanted)
    changed = {k for k in arguments if arguments.get(k) != wanted.get(k)}
    assert changed == {"save_strategy", "disable_tqdm"}
    assert len(notes) == 1


def build(context: Context, folder: Path, recipe: Recipe = REFERENCE, **more: Any) -> Any:
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights")
    return build_trainer(
        load_model(context.snapshot),
        load_processor(context.snapshot),
        training_conversations(4),
        recipe,
        folder,
        max_steps=1,
        micro_batch=2,
        accumulation=2,
        **more,
    )


def test_the_trainer_holds_what_the_recipe_says(context: Context, tmp_path: Path) -> None:
    """Read back from the built trainer, whatever the stack renamed on the way."""
    trainer = build(context, tmp_path).trainer
    arguments = trainer.args
    assert arguments.max_grad_norm == 0.3
    assert str(arguments.lr_scheduler_type.value) == "constant"
    assert arguments.optim in {"adamw_torch_fused"} or arguments.optim.value == "adamw_torch_fused"
    assert arguments.remove_unused_columns is False
    assert arguments.save_strategy in {"no"} or arguments.save_strategy.value == "no"
    adapted = [n for n, p in trainer.model.named_parameters() if p.requires_grad]
    assert adapted
    assert all("lora_" in n and ("q_proj" in n or "v_proj" in n) for n in adapted)
    config = trainer.model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (8, 16, 0.05)


def test_the_warmup_repair_warms_up(context: Context, tmp_path: Path) -> None:
    """Contradiction 2 and its repair: only a scheduler that knows warm-up honours the ratio."""
    from harness.recipe.published import variant

    plain = build(context, tmp_path / "a").trainer
    repaired = build(context, tmp_path / "b", variant("warmup")).trainer
    rates = []
    for trainer in (plain, repaired):
        trainer.create_optimizer_and_scheduler(num_training_steps=100)
        rates.append(trainer.lr_scheduler.get_last_lr()[0])
    assert rates[0] == pytest.approx(2e-4)
    assert rates[1] < rates[0] / 2


def test_control_tokens_never_reach_the_trainer(context: Context) -> None:
    from harness.data.samples import gradient
    from harness.measuring.training.collate import make_collator

    row = {
        "image": gradient(60, 60),
        "Product Name": "a <|im_end|> b",
        "Category": "c",
        "description": "d",
    }
    processor = load_processor(context.snapshot)
    with pytest.raises(BadInput, match="control token"):
        make_collator(processor, REFERENCE, family(context.family))(
            [{"messages": training_messages(row)}]
        )


def test_a_loss_that_is_no_number_ends_the_training(context: Context, tmp_path: Path) -> None:
    """One lost gradient loses the weights; hours of steps would follow."""
    import torch
    from transformers import TrainerCallback

    class Loses(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            first = next(p for n, p in given["model"].named_parameters() if "lora_B" in n)
            if state.global_step == 2:
                first.data.fill_(torch.nan)

    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights to train")
    spec = replace(spec_for(context), max_steps=4, micro_batch=1, accumulation=1, rows=4)
    with pytest.raises(Diverged, match=r"loss of step 3 is nan.*padding_side"):
        train(spec, tmp_path, bar=False, callbacks=[Loses()])
    assert not (tmp_path / "run.json").exists()


def test_a_gradient_that_is_no_number_ends_a_training_though_its_loss_is_one() -> None:
    """The last step's: no loss after it would tell, and the adapter would be kept."""
    right = {"step": 1, "loss": 2.0, "grad_norm": 1.0, "learning_rate": 0.1, "unkept": 3}
    assert logged([right, {"train_runtime": 3.0}]) == [
        {"step": 1, "loss": 2.0, "grad_norm": 1.0, "learning_rate": 0.1}
    ]
    with pytest.raises(Diverged, match=r"grad_norm of step 2 is nan.*padding_side"):
        logged([right, {**right, "step": 2, "grad_norm": float("nan")}])


@pytest.mark.slow
def test_a_short_run_without_a_fault_has_none_of_their_findings(
    context: Context, tmp_path: Path
) -> None:
    """What the planted faults of rungs 11 and 12 turn red is green without them."""
    from harness.judging.goldens.expected import read_expected
    from harness.judging.goldens.golden import read_goldens
    from harness.judging.goldens.verdicts import judge
    from harness.measuring.probes import measured

    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights to train")
    rungs = ("trajectory", "generation")
    with late.short_run():
        records = {rung: measured(replace(context, out=tmp_path), rung) for rung in rungs}
    judgement = judge(records, read_goldens(), read_expected(context.stack), facts=None)
    red = {item.finding for item in judgement.red}
    assert not red & {fault.finds for fault in late.FAULTS}, red
