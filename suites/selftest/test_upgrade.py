"""The driver of a comparison: rungs, sides, threads, experiments, and refusals in one sentence."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main
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
from harness.records.failure import Failure
from harness.records.files import read_json, write_json
from harness.records.record import RUNGS, Metric, Provenance, Record, Status, write_record
from harness.records.seals import sealed


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


def records(folder: Path, value: float, *, device: str = "cpu-x", schema: int = 1) -> Path:
    place = Provenance(
        "reference",
        "stand-in",
        "catalogue",
        device,
        "r",
        "s",
        {"torch": "2"},
        vocabulary="stand-in",
        family="qwen2_vl",
    )
    metrics = (
        Metric("forward", "trained_tokens", "left", value),
        Metric("forward", "odd", status=Status.BROKEN, failure=Failure("E", "<b>&", "x:1"))
        if value < 0
        else Metric("forward", "odd", value="<script>"),
    )
    path = write_record(Record("forward", place, metrics, 1.0), folder)
    if schema != 1:
        raw = read_json(path)
        write_json(path, {**raw, "schema": schema})
    return folder


def compare(tmp_path: Path, *words: str) -> int:
    out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
    return main(["compare", *words, "--out", str(out)])


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


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere/", "reference"), "holds no records"),
        (("refference", "latest"), "There is no stack 'refference'"),
        (("reference,transformers=4", "latest"), "is no requirement"),
        (("reference,./gone.whl", "latest"), "There is no wheel ./gone.whl"),
        (("reference", "latest", "--rungs", "20"), "--rungs '20'"),
        (("reference", "latest", "--accept", "gone.txt"), "There is no file gone.txt"),
        (("reference", "latest", "--resume", "gone"), "There is no run gone"),
    ],
)
def test_bad_input_is_one_sentence(
    words: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert compare(tmp_path, *words) == 2
    err = capsys.readouterr().err.strip()
    assert err.startswith("error: ")
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--limit", "0"), "--limit: '0' is no number of seconds above 0"),
        (("--limit=-5",), "--limit: '-5' is no number of seconds above 0"),
        (("--limit", "nan"), "--limit: 'nan' is no number of seconds above 0"),
        (("--limit", "soon"), "--limit: 'soon' is no number of seconds above 0"),
        (("--threads", "0"), "--threads: '0' is no whole number above 0"),
        (("--threads", "1.5"), "--threads: '1.5' is no whole number above 0"),
    ],
)
def test_numbers_that_nothing_can_be_measured_with(
    words: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        compare(tmp_path, "reference", "latest", *words)
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out0").exists()


def test_a_wheel_for_another_python_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "peft-0.13.0-cp27-cp27m-linux_x86_64.whl"
    wheel.write_bytes(b"")
    assert compare(tmp_path, f"reference,{wheel}", "latest") == 2
    assert "is for cp27, this Python is cp3" in capsys.readouterr().err


def test_a_record_of_another_schema_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 5, schema=9)
    assert compare(tmp_path, str(old), str(new)) == 2
    err = capsys.readouterr().err
    assert "record schema 9" in err
    assert "measure again" in err


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b'"text"'])
def test_a_record_that_is_no_object_is_refused_by_name(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 5)
    (new / "forward.json").write_bytes(content)
    assert compare(tmp_path, str(old), str(new)) == 2
    assert "forward.json is not a complete record" in capsys.readouterr().err


def test_a_side_whose_records_come_from_two_runs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 5)
    other = read_json(new / "forward.json")
    other["rung"], other["provenance"]["versions"] = "text", {"transformers": "5.0.0"}
    for metric in other["metrics"]:
        metric["rung"] = "text"
    del other["seal"]
    write_json(new / "text.json", sealed(other))
    write_json(old / "text.json", sealed(other))
    assert compare(tmp_path, str(old), str(new)) == 2
    assert "The records come from different runs: versions is" in capsys.readouterr().err


def test_directories_without_the_rungs_asked_for_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 5)
    assert compare(tmp_path, str(old), str(new), "--rungs", "text,9") == 2
    sentence = f"{old} holds no record of text, backward; it has forward."
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out0").exists()


def test_an_accept_file_that_is_no_text_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accept = tmp_path / "accept.txt"
    accept.write_bytes(b"\xff\xfe")
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 6)
    assert compare(tmp_path, str(old), str(new), "--accept", str(accept)) == 2
    assert f"{accept} is no UTF-8 text" in capsys.readouterr().err


@pytest.mark.parametrize("plan", [None, b"{", b"[]"])
def test_a_folder_that_holds_no_comparison_is_not_resumed(
    plan: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 6)
    folder = tmp_path / "run"
    folder.mkdir()
    if plan is not None:
        (folder / "plan.json").write_bytes(plan)
    assert main(["compare", str(old), str(new), "--resume", str(folder)]) == 2
    err = capsys.readouterr().err
    assert f"{folder}" in err
    assert "holds no comparison to go on with" in err
    assert len(err.strip().splitlines()) == 1


def test_a_comparison_is_resumed_only_as_it_was_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 6)
    assert compare(tmp_path, str(old), str(new)) == 1
    out = tmp_path / "out0"
    assert main(["compare", str(old), str(new), "--resume", str(out)]) == 1
    assert main(["compare", str(old), str(old), "--resume", str(out)]) == 2
    assert "was started with new" in capsys.readouterr().err
    # A second comparison never overwrites the first.
    assert main(["compare", str(old), str(new), "--out", str(out)]) == 2
    assert "holds a comparison already" in capsys.readouterr().err


def test_an_unwritable_place_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "shut"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.access(folder, os.W_OK):
        # root writes everywhere; a file in the way refuses root too.
        folder.chmod(stat.S_IRWXU)
        folder.rmdir()
        folder.write_text("a file", encoding="utf-8")
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 6)
    assert main(["compare", str(old), str(new), "--out", str(folder / "x")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_too_little_disk_is_said_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.judging.environments.build.NEEDED_BYTES", 10**18)
    assert compare(tmp_path, "reference", "latest") == 2
    err = capsys.readouterr().err
    assert "error: An environment needs" in err
    assert "set HARNESS_CACHE to a larger disk" in err
    assert "Traceback" not in err


def test_a_stack_that_does_not_resolve_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.judging.environments.build.NEEDED_BYTES", 0)
    # The command sets it for its own process, which here is every later test's.
    monkeypatch.setenv("UV_OFFLINE", "")
    words = ("reference,peft==0.13.0,peft==0.14.0", "reference,peft==0.13.0,peft==0.14.0")
    assert compare(tmp_path, *words, "--offline") == 2
    err = capsys.readouterr().err
    assert "error: The stack reference,peft==0.13.0,peft==0.14.0 cannot be installed" in err
    assert "Nothing was downloaded (--offline)" in err
    assert "Traceback" not in err
