"""The plugin's records: one measurement per rung, however many workers ask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.measuring import probes
from harness.measuring.instruments.recorder import Recorder
from harness.pytest_plugin import measured_once
from harness.records.context import Context
from harness.records.record import Record


@pytest.fixture
def here(tmp_path: Path) -> Context:
    return Context(
        stack="reference",
        model="stand-in",
        data="catalogue",
        snapshot=tmp_path,
        has_weights=True,
        out=tmp_path / "records",
        device="cpu",
        device_key="cpu-x",
        family="qwen2_vl",
    )


def counting(measured: list[str], pause: threading.Event) -> Callable[[str], Callable[..., Record]]:
    def probe(rung: str) -> Callable[[Context], Record]:
        def run(context: Context) -> Record:
            measured.append(rung)
            pause.wait(0.2)
            recorder = Recorder(rung)
            recorder.add("rendered", "text", unit="text")
            return recorder.finish(context.provenance(), context.out)

        return run

    return probe


def test_two_that_ask_at_once_get_one_measurement(
    here: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    monkeypatch.setattr(probes, "probe", counting(measured, threading.Event()))
    with ThreadPoolExecutor(4) as askers:
        records = list(askers.map(lambda rung: measured_once(here, rung), ["text", "ids"] * 2))
    assert sorted(measured) == ["ids", "text"]
    assert records[0] == records[2]
    assert records[0].find("rendered").value == "text"


def test_rungs_of_one_training_are_not_measured_at_once(
    here: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both would train into the same folder."""
    inside, most = [0], list[int]()

    def probe(rung: str) -> Callable[[Context], Record]:
        def run(context: Context) -> Record:
            inside[0] += 1
            most.append(inside[0])
            threading.Event().wait(0.1)
            inside[0] -= 1
            return Recorder(rung).finish(context.provenance(), context.out)

        return run

    monkeypatch.setattr(probes, "probe", probe)
    with ThreadPoolExecutor(2) as askers:
        list(askers.map(lambda rung: measured_once(here, rung), ["trajectory", "generation"]))
    assert max(most) == 1
