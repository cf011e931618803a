"""The same training on two stacks: batches handed over, and a defect in a library found by it."""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import pytest

from harness.cli import main
from harness.judging.audit.asking import user_training
from harness.judging.compare.sides import HANDED, differing_values
from harness.judging.environments.installed import installed_stack
from harness.judging.workers.resolve import Request, new_context
from harness.measuring.audit.run import audited, close_session, open_session, session_batches
from harness.measuring.snapshots.source import STAND_IN
from harness.records.context import Context, Scale
from harness.records.files import read_json
from suites.audits import TRAININGS
from suites.faults.wheels import QWEN, Planted, edited_wheel
from suites.small_trainings import LOOP, OTHER_ROWS, OWN_LOSS, SMALL

PLAIN = TRAININGS / "plain_trainer.py"


def context(training: Path, out: Path, exchange: str) -> Context:
    """Of a side of a comparison."""
    request = Request("current", "", "", threads=2, training=user_training(training))
    new = new_context(request, out, Path(sys.executable), Scale(), print)
    return replace(new, exchange=exchange)


def opened(side: Context) -> list[dict[str, list[object]]]:
    """The tensors of every batch that a side audits."""
    with mock.patch.dict(os.environ, {"MODEL": str(STAND_IN)}):
        open_session(side)
    tensors = [
        {name: value.tolist() for name, value in batch.inputs.items()}
        for batch in session_batches(side)
    ]
    close_session(side)
    return tensors


def test_new_takes_the_batches_of_old(tmp_path: Path) -> None:
    """Digests tell that they differ; given OLD's, NEW audits OLD's and nothing else."""
    mistaken = tmp_path / "train.py"
    text = PLAIN.read_text("utf-8")
    mistaken.write_text(text.replace("labels[row, : start + length] = -100", "pass"), "utf-8")
    old, new = (
        context(PLAIN, tmp_path / "old", "keep"),
        context(mistaken, tmp_path / "new", "digest"),
    )
    before, after = opened(old), opened(new)
    assert before != after
    assert differing_values(old.out, new.out, HANDED) == ("batches",)
    given = replace(new, out=tmp_path / "trial", given={"batches": str(old.out / "given")})
    assert opened(given) == before
    again = context(PLAIN, tmp_path / "again", "digest")
    assert opened(again) == before
    assert differing_values(old.out, again.out, HANDED) == ()


def step_of(side: Context) -> dict[str, object]:
    """What the rung update records of a side's own optimizer steps."""
    with mock.patch.dict(os.environ, {"MODEL": str(STAND_IN)}):
        open_session(side)
        record = audited(side, "update")
    close_session(side)
    names = ("gradient_norm", "accumulation", "weighting")
    return {m.name: m.value for m in record.metrics if m.name in names}


def test_steps_are_taken_on_the_batches_of_old(tmp_path: Path) -> None:
    """NEW's own loop would train on prompts too: given OLD's batches its gradients are OLD's."""
    mistaken = tmp_path / "train.py"
    text = PLAIN.read_text("utf-8")
    mistaken.write_text(text.replace("labels[row, : start + length] = -100", "pass"), "utf-8")
    old, new = (
        context(PLAIN, tmp_path / "old", "keep"),
        context(mistaken, tmp_path / "new", "digest"),
    )
    before, after = step_of(old), step_of(new)
    assert before != after
    given = replace(new, out=tmp_path / "trial", given={"batches": str(old.out / "given")})
    assert step_of(given) == before


def losses_of(training: Path, out: Path, exchange: str, old: Path | None = None) -> Audited:
    """What the rungs update and trajectory of a side record of the steps that it takes. old: the
    side whose batches it is given."""
    side = context(training, out, exchange)
    if old is not None:
        side = replace(side, given={"batches": str(old / "given")})
    open_session(side)
    records = [audited(side, rung) for rung in ("update", "trajectory")]
    close_session(side)
    metrics = {m.finding_id: m for record in records for m in record.metrics}
    taken = ("update.gradient_norm", "trajectory.losses")
    values = {name: metrics[name].value for name in taken if name in metrics}
    reasons = {name: m.reason for name, m in metrics.items() if m.reason}
    return Audited(values, reasons)


@dataclass(frozen=True)
class Audited:
    """values: by metric, of those that tell which batches were trained on. reasons: of what was
    not measured."""

    values: dict[str, object]
    reasons: dict[str, str]


# What one stack's rows ask for first, and the other's.
NEWER = ('"labels": [i // 4, ', '"labels": [9, ')
TRAINER = "\ndef make_trainer():\n    return build(per_device_train_batch_size=2)\n"


@pytest.mark.parametrize("way", [TRAINER, LOOP])
def test_trajectory_is_taken_on_the_batches_of_old(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a Trainer, and of a loop without one: given OLD's batches NEW's losses and gradients are
    OLD's."""
    monkeypatch.chdir(tmp_path)
    old, new = tmp_path / "old.py", tmp_path / "new.py"
    text = f"{SMALL}{OTHER_ROWS}{way}"
    old.write_text(text, "utf-8")
    new.write_text(text.replace(*NEWER), "utf-8")
    before = losses_of(old, tmp_path / "a", "keep")
    after = losses_of(new, tmp_path / "b", "digest")
    assert set(before.values) == {"update.gradient_norm", "trajectory.losses"}
    assert all(before.values[name] != after.values[name] for name in before.values)
    given = losses_of(new, tmp_path / "c", "", tmp_path / "a")
    assert given.values == before.values


def test_a_loop_that_keeps_its_labels_says_what_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its steps cannot be those of OLD's batches: that is one sentence, and no number."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "train.py"
    path.write_text(SMALL + OTHER_ROWS + LOOP.replace(*OWN_LOSS), "utf-8")
    losses_of(path, tmp_path / "a", "keep")
    given = losses_of(path, tmp_path / "b", "", tmp_path / "a")
    assert "update.gradient_norm" not in given.values
    sentence = "The loop computes its loss itself, from labels that its model is not given"
    assert given.reasons["update.steps"].startswith(sentence)
    assert given.reasons["trajectory.unmoved"].startswith(sentence)


PLANTED = (
    Planted(
        "peft: adapters are scaled by a hundredth too much",
        "peft",
        "peft/tuners/lora/layer.py",
        "self.scaling[adapter_name] = lora_alpha / r",
        "self.scaling[adapter_name] = 1.01 * lora_alpha / r",
        "model",
        "",
        "",
    ),
    Planted(
        "image processing: the mean is a hundredth too large",
        "transformers",
        QWEN + "image_processing_qwen2_vl.py",
        "image=image, mean=image_mean, std=image_std",
        "image=image, mean=[m + 0.01 for m in image_mean], std=image_std",
        "images",
        "",
        "",
    ),
)


@pytest.mark.slow
@pytest.mark.skipif(installed_stack() != "reference", reason="NOT_RUN: reference files are edited")
@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: p.name.split(":")[0])
def test_a_defect_in_a_library_is_found_by_ones_own_training(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its rung or the next that can see it, and nothing before it moves."""
    monkeypatch.setenv("MODEL", str(STAND_IN))
    wheel = edited_wheel(Path(sysconfig.get_path("purelib")), planted, tmp_path / "wheels")
    words = ["compare", "reference", f"reference,{wheel}", "--training", str(PLAIN)]
    assert main([*words, "--out", str(tmp_path / "out")]) == 1
    findings = read_json(tmp_path / "out" / "comparison.json")["findings"]
    assert findings[0]["rung"] == planted.rung
    # What follows from the data vanishes with OLD's batches, and says so.
    follows = [item["id"] for item in findings if item["cause"] == findings[0]["id"]]
    assert ("forward.loss" in follows) == (planted.rung == "images")
    assert not [item for item in findings if item["rung"] == "cost"]
