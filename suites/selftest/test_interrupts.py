"""Ctrl-C that compiled code turns into another error is still Ctrl-C, and no finding."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from harness.measuring.child import job as child
from harness.measuring.instruments.interrupts import listen, raise_if_interrupted
from harness.measuring.instruments.recorder import Recorder
from harness.records.context import Context
from harness.records.jobs import ProbeJob
from harness.records.record import Record


@pytest.fixture(autouse=True)
def listening() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    listen()
    yield
    listen()
    signal.signal(signal.SIGINT, before)


class Interrupting(Sequence[int]):
    """Ctrl-C comes while it is read, as it may while safetensors has a storage read."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: object) -> int:  # type: ignore[override]
        os.kill(os.getpid(), signal.SIGINT)
        return 0


def swallow() -> object:
    return torch.asarray(Interrupting(), dtype=torch.uint8)


def test_torch_turns_an_interrupt_into_another_error() -> None:
    # What the rest of this file is for; without it these tests would test nothing.
    with pytest.raises(ValueError, match="could not determine the shape"):
        swallow()


def test_a_call_in_which_ctrl_c_was_swallowed_is_no_broken_metric() -> None:
    recorder = Recorder("text")
    with pytest.raises(KeyboardInterrupt):
        recorder.attempt("probe", swallow)


def test_a_call_that_fails_by_itself_is_one() -> None:
    _, metric = Recorder("text").attempt("probe", lambda: 1 // 0)
    assert metric is not None
    raise_if_interrupted()


def test_a_rung_in_which_ctrl_c_was_swallowed_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(
        "reference",
        "stand-in",
        "catalogue",
        tmp_path,
        True,
        tmp_path,
        device="cpu",
        family="qwen2_vl",
    )

    def measured(context: Context, rung: str) -> Record:
        with pytest.raises(ValueError, match="shape"):
            swallow()
        return Record(rung, context.provenance(), ())

    monkeypatch.setattr(child, "measure", measured)
    with (tmp_path / "stacks").open("w") as stacks, pytest.raises(KeyboardInterrupt):
        child.run_job(ProbeJob(context, ("text",), 60.0), stacks)
    assert not (tmp_path / "text.json").exists()
