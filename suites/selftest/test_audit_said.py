"""What an audit says of several things at once: one that lacks hides no other, names are few."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.errors import Lack, NotRunnable
from harness.measuring.audit.checks import _optimizer, _ways
from harness.measuring.audit.finding import Findings
from harness.recipe.ways import Variant
from harness.records.record import Status


def test_a_way_whose_library_is_not_here_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def applied(_: Any, kind: Variant) -> Iterator[None]:
        if kind.liger:
            raise NotRunnable("liger-kernel cannot be used here", Lack.LIBRARY)
        yield

    monkeypatch.setattr(_ways, "apply", applied)
    monkeypatch.setattr(_ways, "isolated", lambda _: nullcontext())
    monkeypatch.setattr(_ways, "lacking", lambda *_: "")
    training: Any = SimpleNamespace(
        batches=[SimpleNamespace(inputs={})], loss=lambda _: 2.0, model=None, trainer=None
    )
    findings = Findings("cost")
    bands = {"liger_kernels": 1e-3, "selected_logits": 1e-3}
    assert _ways._tried(training, bands, findings) == {"selected_logits": 0.0}
    [lack] = findings.finish(0.0).checks
    assert (lack.status, lack.case, lack.lack) == (
        Status.NOT_RUN,
        "liger_kernels",
        Lack.LIBRARY,
    )


def test_moments_of_many_tensors_are_named_by_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"layers.{i}.lora_A" for i in range(1500)]
    weights = {name: torch.zeros(1, dtype=torch.bfloat16) for name in names}
    monkeypatch.setattr(_optimizer, "_trainables", lambda _: weights)
    taken: Any = SimpleNamespace(
        state={n: {"exp_avg": "torch.bfloat16", "step": "torch.float32"} for n in names}
    )
    findings = Findings("update")
    training: Any = None
    _optimizer._state(training, taken, findings)
    by_name = {check.name: check for check in findings.finish(0.0).checks}
    assert by_name["short_state"].value == 1500
    assert by_name["short_state"].evidence == (
        "exp_avg: torch.bfloat16, of layers.0.lora_A and 1,499 more",
    )
    assert by_name["narrow_state"].value == 0
