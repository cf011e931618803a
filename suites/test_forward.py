"""Rung: forward, judged against its truths and the stack's known findings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.judging.goldens.golden import read_goldens
from harness.judging.goldens.judgement import Judgement
from harness.judging.goldens.verdicts import judge
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes._batches import adapted_model
from harness.measuring.probes.forward import record_tuned
from harness.pytest_plugin import assert_no_unexpected
from harness.records.context import Context
from harness.records.record import Record


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("forward"))


def test_loss_shares_sum_to_one(record_of: Callable[[str], Record]) -> None:
    shares = [m.value for m in record_of("forward").metrics if m.name == "loss_share"]
    assert abs(sum(float(s) for s in shares) - 1) < 1e-5 or not shares  # type: ignore[arg-type]


def tuned(context: Context, folder: Path, model: Any) -> list[str]:
    """What is red of a model's loss with an adapter whose numbers are known."""
    recorder = Recorder("forward")
    record_tuned(recorder, context, model)
    record = recorder.finish(context.provenance("training 4"), folder)
    wanted = [golden for golden in read_goldens() if golden.metric == "tuned_loss"]
    judgement = judge({"forward": record}, wanted, [])
    assert judgement.compared == 1
    return [item.finding for item in judgement.red]


def test_every_lora_module_is_missed_where_it_is_lost(context: Context, tmp_path: Path) -> None:
    """On any stack: the loss is worked out by float64 from the same weights and numbers."""
    if not context.is_stand_in:
        pytest.skip(f"{context.model} is too large to be worked out")
    model = adapted_model(context)
    assert tuned(context, tmp_path, model) == []
    modules = [module for module in model.modules() if hasattr(module, "lora_B")]
    assert len(modules) >= 4
    for module in modules:
        kept = dict(module.scaling)
        # Lost, and a tenth of it.
        for share in (0.0, 0.9):
            module.scaling = {name: scale * share for name, scale in kept.items()}
            assert tuned(context, tmp_path, model) == ["forward.tuned_loss.right_none"]
        module.scaling = kept
    assert tuned(context, tmp_path, model) == []
