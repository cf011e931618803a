"""The driver of a comparison: rungs, sides, threads, experiments, and refusals in one sentence."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.judging.compare.comparison import is_directory
from harness.judging.compare.preparing import exchanged
from harness.judging.compare.sides import (
    Trial,
    children,
    differing_values,
    drop_values,
    parse_rungs,
    plan,
    together,
)
from harness.records.files import read_json, write_json
from harness.records.record import RUNGS
from suites.selftest.record_folders import compare, records


@pytest.mark.parametrize(
    ("text", "rungs"),
    [
        ("", RUNGS),
        ("2-4", ("text", "ids", "images")),
        ("13,text", ("text", "cost")),
        ("0", ("environment",)),
    ],
)
def test_rungs(text: str, rungs: tuple[str, ...]) -> None:
    assert parse_rungs(text) == rungs


@pytest.mark.parametrize("text", ["14", "4-2", "pixels", "2-x", "-3", "text-ids", "²", "2-³"])
def test_unknown_rungs_are_refused_by_name(text: str) -> None:
    with pytest.raises(BadInput, match=text.split(",")[0].replace("-", "\\-")):
        parse_rungs(text)


@pytest.mark.parametrize(
    ("text", "is_records"),
    [
        ("records/x", True),
        ("./x", True),
        ("/abs", True),
        ("reference", False),
        ("reference,./x.whl", False),
        ("reference,peft==0.14.0", False),
        ("requirements:/abs/requirements.txt", False),
        ("lock:./uv.lock", False),
        ("python:.venv/bin/python", False),
        ("latest,trl @ git+https://a.example/trl@main", False),
        ("latest,./trl", False),
    ],
)
def test_a_directory_is_known_by_its_slash(text: str, is_records: bool) -> None:
    assert is_directory(text) is is_records


def test_a_stack_is_measured_as_the_records_beside_it_were(tmp_path: Path) -> None:
    """A comparison's sides share their dropout masks, a plain run draws its own."""
    assert not exchanged(tmp_path)
    for exchange, shared in (("", False), ("keep", True), ("digest", True)):
        write_json(tmp_path / "work" / "context.json", {"exchange": exchange})
        assert exchanged(tmp_path) is shared


def test_jobs_run_at_once_and_keep_their_order() -> None:
    both = threading.Barrier(2, timeout=20)

    def job(name: str) -> Callable[[Callable[[], None]], str]:
        def run(check: Callable[[], None]) -> str:
            both.wait()
            return name

        return run

    assert together([job("a"), job("b")], 2, lambda: None) == ["a", "b"]


def test_the_first_error_stops_the_others() -> None:
    stopped = threading.Event()

    def fails(check: Callable[[], None]) -> None:
        raise BadInput("no")

    def waits(check: Callable[[], None]) -> None:
        try:
            for _ in range(400):
                check()
                time.sleep(0.05)
        except KeyboardInterrupt:
            stopped.set()
            raise

    with pytest.raises(BadInput, match="no"):
        together([waits, fails], 2, lambda: None)
    assert stopped.is_set()


def test_an_interrupt_reaches_every_job() -> None:
    def waits(check: Callable[[], None]) -> None:
        for _ in range(400):
            check()
            time.sleep(0.05)

    def tick() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together([waits, waits], 2, tick)


def test_two_children_never_share_a_gpu() -> None:
    assert children(cuda=True) == 1
    assert children(cuda=False) in {1, 2}


def test_each_experiment_takes_one_value_more() -> None:
    moved = ("images", "inputs", "forward", "update", "trajectory", "generation", "cost")
    assert plan(("images", "inputs"), moved, adapter=True) == (
        Trial(("images",), ("inputs", "forward", "update")),
        Trial(("images", "inputs"), ("forward", "update", "trajectory")),
        Trial(("trajectory",), ("generation",)),
    )
    # How attention treats rows without keys belongs to what reaches the inside of the model.
    assert plan(("attention",), moved, adapter=False) == (
        Trial(("attention",), ("forward", "update", "trajectory")),
    )
    assert plan((), ("forward",), adapter=False) == ()
    assert plan(("update",), ("update",), adapter=True) == ()


def test_values_differ_only_at_addresses_that_both_have(tmp_path: Path) -> None:
    def side(name: str, values: dict[str, dict[str, str]]) -> Path:
        write_json(tmp_path / name / "given" / "index" / "forward.json", values)
        return tmp_path / name

    old = side("old", {"ids": {"a": "1"}, "images": {"a": "1"}, "inputs": {"x": "1"}})
    new = side("new", {"ids": {"a": "2"}, "images": {"a": "1"}, "inputs": {"y": "2"}})
    assert differing_values(old, new, ("ids", "images", "inputs", "text")) == ("ids",)


def test_only_the_digests_outlive_the_experiments(tmp_path: Path) -> None:
    index = tmp_path / "given" / "index" / "forward.json"
    write_json(index, {"ids": {"a": "1"}})
    for name in ("a.safetensors", "a.json", "positions/b.safetensors"):
        path = tmp_path / "given" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    drop_values(tmp_path)
    assert [p for p in (tmp_path / "given").rglob("*") if p.is_file()] == [index]
    drop_values(tmp_path / "nothing")


def test_two_directories_are_compared_without_any_stack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 6)
    assert compare(tmp_path, str(old), str(new), "--json") == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert [f["id"] for f in document["findings"]] == ["forward.trained_tokens.left"]
    assert document["established"] is False
    assert "forward" in err
    page = (tmp_path / "out0" / "report.html").read_text(encoding="utf-8")
    assert "not established" in page
    assert "<script>" not in page
    assert read_json(tmp_path / "out0" / "comparison.json")["exit_code"] == 1


def test_equal_directories_give_no_finding(tmp_path: Path) -> None:
    assert compare(tmp_path, str(records(tmp_path / "a", 5)), str(records(tmp_path / "b", 5))) == 0


def test_accepted_findings_do_not_raise_the_code(tmp_path: Path) -> None:
    accept = tmp_path / "accept.txt"
    accept.write_text("forward.trained_tokens.left\n", encoding="utf-8")
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 6)
    assert compare(tmp_path, str(old), str(new), "--accept", str(accept)) == 0


def test_mixed_devices_are_not_compared_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 5, device="cuda-h200")
    assert compare(tmp_path, str(old), str(new)) == 3
    page = (tmp_path / "out0" / "report.html").read_text(encoding="utf-8")
    assert "cuda-h200" in page
    assert "on cpu-x / cuda-h200, model stand-in" in capsys.readouterr().err
