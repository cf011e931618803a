"""The lane's command: what it measures, keeps, and says of what it cannot."""

from __future__ import annotations

import configparser
import importlib.util
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.cli import main
from harness.commands import lane as verb
from harness.measuring.lane import __main__ as command
from harness.measuring.lane.bench import Lane
from harness.measuring.lane.shelf import Shelf
from harness.measuring.snapshots.loading import (
    quantisation_mode,
)
from harness.measuring.snapshots.source import STAND_IN
from harness.records.files import read_json
from suites.commands import process
from suites.lane import TOKENS, run_command


@pytest.fixture(scope="module")
def lane() -> Lane:
    """The stand-in, held as this stack holds 4-bit weights on a CPU."""
    return Lane(Shelf(STAND_IN, "cpu", quantisation_mode("cpu")), pairs=2, micro=1, size=2)


@pytest.fixture
def becoming(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a verb would become runs in this process; the signals that it takes are given back."""

    def become(module: str, *words: str) -> None:
        name = f"harness.measuring.{module}"
        package = importlib.util.find_spec(name)
        assert package is not None
        inside = ".__main__" if package.submodule_search_locations else ""
        monkeypatch.setattr(sys, "argv", [name, *words])
        importlib.import_module(name + inside).main()

    monkeypatch.setattr(verb, "become", become)
    ended = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, ended)


@pytest.mark.usefixtures("becoming")
@pytest.mark.parametrize("name", ["measure", "contest", "whole", "several", "killed"])
@pytest.mark.parametrize("asked", ["--help", "-h"])
def test_a_measuring_verb_lists_its_own_options(
    name: str, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["lane", name, asked])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: harness lane {name} ")
    assert "--out" in printed


@pytest.mark.usefixtures("becoming")
def test_an_option_that_stands_first_reaches_what_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["lane", "measure", "--pairs", "many", "--out", str(tmp_path)])
    assert ended.value.code == 2
    assert "--pairs" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="NOT_RUN: this machine has a CUDA device")
def test_without_cuda_every_case_is_not_run_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(tmp_path, "footprint", "fastest@1300") == 3
    printed = capsys.readouterr().err
    assert "footprint@800: NOT_RUN: There is no CUDA device here" in printed
    assert "fastest@1300: NOT_RUN" in printed
    document = read_json(tmp_path / "fastest-1300.not_run.json")
    assert (document["status"], document["case"], document["tokens"]) == (
        "NOT_RUN",
        "fastest",
        1300,
    )
    assert "CUDA" in document["reason"]


@pytest.mark.slow
def test_the_command_measures_once_and_keeps_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        f"recipe_again@{TOKENS}",
        "--model",
        "stand-in",
        "--device",
        "cpu",
        "--pairs",
        "1",
        "--micro",
        "1",
        "--size",
        "1",
    )
    assert run_command(tmp_path, *words) == 0
    file = tmp_path / f"recipe_again-{TOKENS}.json"
    document = read_json(file)
    assert document["how"] == "measured"
    assert document["model"] == "stand-in"
    assert document["device_key"].startswith("cpu-")
    assert document["safe"] is True
    written = file.stat().st_mtime_ns
    assert run_command(tmp_path, *words) == 0
    assert file.stat().st_mtime_ns == written


def test_a_broken_case_leaves_its_error_and_the_next_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(lane: Lane, tokens: int) -> dict[str, Any]:
        raise RuntimeError("a kernel died")

    def fine(lane: Lane, tokens: int) -> dict[str, Any]:
        return {"seconds": 1.0}

    def infinite(lane: Lane, tokens: int) -> dict[str, Any]:
        return {"seconds": float("nan")}

    monkeypatch.setattr(
        command, "CASES", {"trainer": broken, "throughput": infinite, "footprint": fine}
    )
    words = ("trainer", "throughput", "footprint", "--model", "stand-in", "--device", "cpu")
    assert run_command(tmp_path, *words) == 3
    assert read_json(tmp_path / "trainer-800.broken.json")["message"] == "a kernel died"
    assert "not JSON compliant" in read_json(tmp_path / "throughput-800.broken.json")["message"]
    assert read_json(tmp_path / "footprint-800.json")["seconds"] == 1.0
    assert "RuntimeError: a kernel died" in capsys.readouterr().out


def test_the_gpu_environment_asks_for_cuda_before_it_tests(repository: Path) -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(repository / "tox.ini")
    lines = tox["testenv:gpu"]["commands"].splitlines()
    first, *others = [x for x in lines if x and not x.startswith("#")]
    assert shlex.split(first)[:4] == ["python", "-m", "harness", "doctor"]
    assert any("harness lane measure" in line for line in others)
    if torch.cuda.is_available():
        return
    done = process(*shlex.split(first)[3:], HARNESS_LANE="gpu", HARNESS_MODEL="random-7b")
    assert done.code == 3, done.stderr
    assert "cuda" in done.stderr
