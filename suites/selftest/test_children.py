"""Children that hang, die or dump: each leaves a BROKEN record that says so, and its log."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import BadInput, HarnessError, Lack, NotRunnable, OutOfSpace
from harness.judging.workers import measure as runner
from harness.judging.workers import process as children
from harness.judging.workers.measure import forget_dead_rungs, measure
from harness.recipe.published import variant
from harness.records.context import Context
from harness.records.handover import leave_error
from harness.records.record import Metric, Record, Status, write_record

MASK_PROMPT = variant("mask-prompt")
DUMP = """Timeout (0:00:01)!
Thread 0x00007f (most recent call first):
  File "probes/forward.py", line 42 in run
"""


def child(folder: Path, body: str) -> Path:
    """A program that takes the interpreter's place; $3 is the job file."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def context(tmp_path: Path) -> Context:
    return Context(
        "reference", "stand-in", "catalogue", tmp_path, True, tmp_path / "run", family="qwen2_vl"
    )


def only(record: Record) -> Metric:
    (metric,) = record.metrics
    assert metric.status is Status.BROKEN
    assert metric.failure is not None
    return metric


def test_a_child_that_its_watchdog_ended_leaves_where_it_stood(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_text(DUMP, encoding="utf-8")
    body = f"cp {dump} ${{3%.json}}.stacks.txt; exit 1"
    records = measure(context(tmp_path), ["text"], child(tmp_path, body), limit_s=60.0)
    failure = only(records["text"]).failure
    assert failure is not None
    assert (failure.type, failure.limit_s) == ("ChildHung", 60.0)
    assert failure.message == "no answer within 60 s; the log holds where it stood"
    assert "forward.py" in Path(failure.where).read_text(encoding="utf-8")


def test_a_child_that_answers_nobody_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "GRACE_S", 0.2)
    work = tmp_path / "run" / "work"
    current = '{"rung": "text", "started": 0}'
    body = f"mkdir -p {work}; echo '{current}' > {work}/current.json; exec sleep 300"
    records = measure(context(tmp_path), ["text"], child(tmp_path, body), limit_s=0.2)
    failure = only(records["text"]).failure
    assert failure is not None
    assert failure.type == "ChildHung"


def test_a_child_that_hangs_before_its_first_rung_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An import that never comes back: nothing says yet which rung it is.
    monkeypatch.setattr(children, "GRACE_S", 0.2)
    monkeypatch.setattr(children, "TICK_S", 0.05)
    body = "exec sleep 300"
    records = measure(context(tmp_path), ["text"], child(tmp_path, body), limit_s=0.2)
    failure = only(records["text"]).failure
    assert failure is not None
    assert failure.type == "ChildHung"


def test_a_later_child_that_ends_before_its_first_rung_loses_only_that(tmp_path: Path) -> None:
    # The first child named its rung and died in it; the second one dies while it imports.
    work, seen = tmp_path / "run" / "work", tmp_path / "seen"
    current = '{"rung": "text", "started": 0}'
    body = (
        f"if [ ! -f {seen} ]; then touch {seen}; echo '{current}' > {work}/current.json; fi; "
        "kill -9 $$"
    )
    records = measure(context(tmp_path), ["text", "ids"], child(tmp_path, body))
    failures = [only(record).failure for record in records.values()]
    assert [f.type for f in failures if f] == ["ChildDied", "ChildDied"]


def test_the_adapters_round_trip_is_limited_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "GRACE_S", 0.2)
    monkeypatch.setattr(children, "TICK_S", 0.05)
    records = runner.cross(context(tmp_path), {}, child(tmp_path, "exec sleep 300"), limit_s=0.2)
    failure = only(records).failure
    assert failure is not None
    assert failure.type == "ChildHung"


@pytest.mark.parametrize(
    "other",
    [
        {"stack": "latest"},
        {"model": "a snapshot"},
        {"model_digest": "another"},
        {"data": "mine"},
        {"recipe": MASK_PROMPT},
        {"seed": 7},
        {"faults": ("labels",)},
    ],
)
def test_a_record_of_another_run_is_never_taken_for_this_ones(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    mine = context(tmp_path)
    theirs = replace(mine, **other)
    write_record(Record("text", theirs.provenance(), ()), mine.out)
    with pytest.raises(BadInput, match=f"text.json was measured with {next(iter(other))}"):
        measure(mine, ["text"], Path("/bin/false"))
    assert list(measure(theirs, ["text"], Path("/bin/false"))) == ["text"]


@pytest.mark.parametrize("command", [["probe", "text"], ["run"], ["golden", "check"]])
def test_a_folder_with_measurements_is_refused_not_shown_as_new(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_record(Record("text", context(tmp_path).provenance(), ()), tmp_path)
    before = path.read_bytes()
    assert main([*command, "--out", str(tmp_path)]) == 2
    assert f"{tmp_path} holds measurements already (text)" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["text.json"]


def test_a_killed_child_takes_down_only_its_rung(tmp_path: Path) -> None:
    records = measure(context(tmp_path), ["text", "ids"], child(tmp_path, "kill -9 $$"))
    assert set(records) == {"text", "ids"}
    for record in records.values():
        failure = only(record).failure
        assert failure is not None
        assert (failure.type, failure.signal) == ("ChildDied", 9)
        assert "signal 9" in failure.message


@pytest.mark.parametrize(("device", "seen"), [("cpu", ""), ("cuda", "0")])
def test_what_measures_on_a_cpu_sees_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, seen: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    asked = tmp_path / "seen"
    tells = child(tmp_path, f'echo "$CUDA_VISIBLE_DEVICES" > {asked}; kill -9 $$')
    measure(replace(context(tmp_path), device=device), ["text"], tells)
    assert asked.read_text().strip() == seen


def test_idle_threads_of_a_child_leave_the_core_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    assert children.child_environment(2)["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert children.child_environment(2)["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert "GOMP_SPINCOUNT" not in children.child_environment(2)


def test_what_a_childs_log_says_decides_nothing(tmp_path: Path) -> None:
    """Its words may be a library's, or a product's."""
    log = "Timeout (0:00:01)!\nerror: No room left on the disk."
    records = measure(context(tmp_path), ["text"], child(tmp_path, f"echo '{log}' >&2; exit 3"))
    failure = only(records["text"]).failure
    assert failure is not None
    assert (failure.type, failure.signal, failure.limit_s) == ("ChildDied", None, None)


@pytest.mark.parametrize(
    "error",
    [
        NotRunnable("It takes 80 GB.", Lack.MEMORY),
        NotRunnable("It needs x.", Lack.FINDING, "interface.call.x"),
        OutOfSpace("The disk is full."),
        BadInput("There is no picture."),
    ],
)
def test_the_error_of_a_child_is_raised_here_as_it_was_there(
    tmp_path: Path, error: HarnessError
) -> None:
    left = tmp_path / "work" / "probe.job.error.json"
    leave_error(tmp_path / "work" / "probe.job.json", error)
    body = f"cp {left} ${{3%.json}}.error.json; exit {error.exit_code}"
    with pytest.raises(type(error), match=str(error)) as raised:
        measure(context(tmp_path), ["text"], child(tmp_path, body))
    if isinstance(error, NotRunnable):
        assert isinstance(raised.value, NotRunnable)
        assert (raised.value.lack, raised.value.blocked_by) == (error.lack, error.blocked_by)


@pytest.mark.parametrize("left", ["", "{", "[]", '{"type": "BadInput"}', '{"schema": 99}'])
def test_an_error_that_was_cut_short_is_a_process_that_died(tmp_path: Path, left: str) -> None:
    body = f"printf '{left}' > ${{3%.json}}.error.json; exit 2"
    records = measure(context(tmp_path), ["text"], child(tmp_path, body))
    failure = only(records["text"]).failure
    assert failure is not None
    assert failure.type == "ChildDied"


def test_resuming_measures_dead_and_hung_rungs_again(tmp_path: Path) -> None:
    def broken(rung: str, kind: str) -> Path:
        failure = runner.Failure(kind, "m", "log")
        metric = Metric(rung, "probe", status=Status.BROKEN, failure=failure)
        place = context(tmp_path).provenance()
        return write_record(Record(rung, place, (metric,)), tmp_path)

    died, hung, failed = (
        broken("text", "ChildDied"),
        broken("ids", "ChildHung"),
        broken("images", "ValueError"),
    )
    forget_dead_rungs(tmp_path)
    assert [p.is_file() for p in (died, hung, failed)] == [False, False, True]
