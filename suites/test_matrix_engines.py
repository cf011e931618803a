"""The engines of a matrix, each on a real cluster of this machine, give what `local` gives."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.judging.matrix.cells import Cell
from harness.judging.matrix.driver import log_of
from harness.judging.matrix.kept import Kept, Outcome, State
from harness.judging.workers.engines import engines
from harness.judging.workers.running import Command
from suites.selftest import ray_nodes, slurm
from suites.selftest.cells import MEASURES, cell, measure, measured_by, prepared, scripted

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_variables")]
CLUSTERS = ("slurm", "ray")


def refuse(engine: str, package: str) -> None:
    """Skip where an engine's library is not installed."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"NOT_RUN: the engine {engine} needs {package}; `tox -e engines` has it")


@pytest.fixture(scope="module")
def slurm_variables() -> Iterator[Mapping[str, str]]:
    """Of whoever talks to a cluster of one node, which runs as long as this module's tests."""
    refuse("slurm", "submitit")
    if why := slurm.missing():
        pytest.skip(f"NOT_RUN: a SLURM cluster of one node {why}")
    with (
        tempfile.TemporaryDirectory(prefix="sl", ignore_cleanup_errors=True) as folder,
        slurm.cluster(Path(folder)) as variables,
    ):
        yield variables


@pytest.fixture
def slurm_cluster(slurm_variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """For each test anew: what one sets is gone after it."""
    for name, value in slurm_variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    refuse("ray", "ray")
    with ray_nodes.cluster() as whole:
        yield whole


@pytest.fixture(params=CLUSTERS)
def engine(request: pytest.FixtureRequest) -> str:
    request.getfixturevalue(f"{request.param}_cluster")
    return str(request.param)


def matrix(folder: Path, count: int) -> list[Cell]:
    cells = [cell(f"s{i // 5}", f"tiny:m{i % 5}") for i in range(count)]
    for i, each in enumerate(cells):
        prepared(folder, each, float(i))
    return cells


def answer(folder: Path, outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """What became of every cell, and every file that it left, times and places apart."""
    kept = folder / "kept" / "cells"
    return {
        key: [
            (o.state, o.reason, o.code, o.attempts),
            *(
                (path.name, path.read_bytes())
                for path in sorted((kept / key).glob("*.json"))
                if path.name != "cell.json"
            ),
        ]
        for key, o in sorted(outcomes.items())
    }


ENDS = """('s0-tiny-m1' in part) and (print('error: No such family.'), sys.exit(3))
('s1-tiny-m2' in part) and sys.exit(5)
time.sleep"""


def test_every_engine_is_tested() -> None:
    assert set(engines()) == {"local", *CLUSTERS}


def test_an_engine_gives_what_local_gives(engine: str, tmp_path: Path) -> None:
    code = MEASURES.replace("time.sleep", ENDS)
    answers = {}
    for name in ("local", engine):
        folder = tmp_path / name
        cells = matrix(folder, 20)
        outcomes = measure(folder, cells, scripted(folder, code), engine=name, workers=8)
        answers[name] = answer(folder, outcomes)
        assert sorted(measured_by(folder)) == sorted(each.key for each in cells)
        assert list((folder / "kept" / "parts").iterdir()) == []
    assert answers[engine] == answers["local"]
    states = [entry[0][0] for entry in answers[engine].values()]
    assert {state: states.count(state) for state in set(states)} == {
        State.MEASURED: 18,
        State.NOT_RUN: 1,
        State.DIED: 1,
    }


def test_one_that_hangs_is_ended_at_its_limit(engine: str, tmp_path: Path) -> None:
    cells = matrix(tmp_path, 4)
    slow = MEASURES.replace("time.sleep", "'s0-tiny-m1' in part and time.sleep(99)\ntime.sleep")
    outcomes = measure(tmp_path, cells, scripted(tmp_path, slow), engine=engine, limit_s=2.0)
    bad = outcomes.pop(cells[1].key)
    assert bad.state is State.DIED
    assert "no answer within 2 s" in bad.reason
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}


def once(folder: Path, do: str) -> str:
    """The script, which does something the first time that it measures one cell."""
    mark = str(folder / "mark")
    first = f"'s0-tiny-m1' in part and not os.path.exists({mark!r})"
    return MEASURES.replace("time.sleep", f"{first} and (open({mark!r}, 'w'), {do})\ntime.sleep")


def test_a_worker_that_is_killed_loses_no_cell(engine: str, tmp_path: Path) -> None:
    """The process that runs the command is killed: its cell is given out again, no other is."""
    cells = matrix(tmp_path, 8)
    code = once(tmp_path, "os.kill(os.getppid(), 9), time.sleep(99)")
    outcomes = measure(tmp_path, cells, scripted(tmp_path, code), engine=engine, workers=8)
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    begun = measured_by(tmp_path)
    assert begun.count(cells[1].key) == 2
    assert len(begun) == len(cells) + 1


def test_a_node_makes_its_environment_first(engine: str, tmp_path: Path) -> None:
    cells = matrix(tmp_path, 4)
    marker = tmp_path / "environment" / "harness.json"
    plain = scripted(tmp_path)
    make = (
        "import os, sys; os.makedirs(sys.argv[1], exist_ok=True); "
        "open(sys.argv[1] + '/harness.json', 'a').close()"
    )

    def command(each: Cell, python: Path, part: Path, limit_s: float) -> Command:
        given = plain(each, python, part, limit_s)
        words = (sys.executable, "-c", make, str(marker.parent))
        return Command(given.name, given.words, given.log, limit_s, marker=str(marker), ready=words)

    outcomes = measure(tmp_path, cells, command, engine=engine, workers=2)
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    assert marker.is_file()


def test_an_interrupt_takes_back_what_waits(engine: str, tmp_path: Path) -> None:
    cells = matrix(tmp_path, 12)
    kept = Kept(tmp_path / "kept")

    def tick() -> None:
        if any(kept.outcome(each) for each in cells):
            raise KeyboardInterrupt

    slow = MEASURES.replace("time.sleep", "'m1' in part or time.sleep(99)\ntime.sleep")
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, cells, scripted(tmp_path, slow), engine=engine, workers=8, tick=tick)
    time.sleep(3)  # what is taken back ends
    before = len(measured_by(tmp_path))
    outcomes = measure(tmp_path, cells, scripted(tmp_path), engine=engine, workers=8)
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    done = [key for key in measured_by(tmp_path)[:before] if "m1" in key]
    assert len(measured_by(tmp_path)) - before == len(cells) - len(set(done))


def test_what_no_node_has_is_refused(engine: str, tmp_path: Path) -> None:
    (each,) = matrix(tmp_path, 1)

    def command(each: Cell, python: Path, part: Path, limit_s: float) -> Command:
        return Command(each.key, (sys.executable, "-c", ""), log_of(part), limit_s, cuda=True)

    with pytest.raises(BadInput, match=r"GPU|SLURM does not take"):
        measure(tmp_path, [each], command, engine=engine)


def test_an_unknown_option_is_refused(engine: str, tmp_path: Path) -> None:
    cells = matrix(tmp_path, 1)
    with pytest.raises(BadInput, match="colour"):
        measure(tmp_path, cells, scripted(tmp_path), engine=engine, options={"colour": "blue"})


@pytest.mark.usefixtures("slurm_cluster")
def test_a_preempted_task_is_put_back(tmp_path: Path) -> None:
    """As SLURM does it: the task is asked to end, and put back into the queue by submitit."""
    cells = matrix(tmp_path, 3)
    code = once(tmp_path, "time.sleep(99)")
    threading.Thread(target=_requeue, args=(tmp_path / "mark",), daemon=True).start()
    options = {"signal_delay_s": "2"}
    outcomes = measure(
        tmp_path, cells, scripted(tmp_path, code), engine="slurm", workers=3, options=options
    )
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    # It was never lost: the same task has measured it in its second life.
    assert {outcome.attempts for outcome in outcomes.values()} == {1}
    assert measured_by(tmp_path).count(cells[1].key) == 2


def _requeue(mark: Path) -> None:
    while not mark.exists():
        time.sleep(0.2)
    listed = subprocess.run(
        ["squeue", "--noheader", "--array", "--format", "%i", "--states", "RUNNING"],
        capture_output=True,
        text=True,
        check=True,
    )
    for job in listed.stdout.split():
        subprocess.run(["scontrol", "requeue", job], check=True)


@pytest.mark.usefixtures("slurm_cluster")
def test_a_chunk_is_one_task(tmp_path: Path) -> None:
    cells = matrix(tmp_path, 10)
    options = {"chunk": "5"}
    outcomes = measure(tmp_path, cells, scripted(tmp_path), engine="slurm", options=options)
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    assert len(measured_by(tmp_path)) == 10
    tasks = list((tmp_path / "engine" / "submitit").glob("*_submitted.pkl"))
    assert len(tasks) == 2


def test_a_lost_node_s_cells_are_given_out_again(ray_cluster: Any, tmp_path: Path) -> None:
    node = ray_cluster.add_node(num_cpus=4)
    cells = matrix(tmp_path, 12)
    removed: list[float] = []

    def tick() -> None:
        if not removed and len(measured_by(tmp_path)) >= 10:
            removed.append(time.monotonic())
            ray_cluster.remove_node(node, allow_graceful=False)

    command = scripted(tmp_path, pause=3.0)
    outcomes = measure(tmp_path, cells, command, engine="ray", workers=12, tick=tick)
    assert removed
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    begun = measured_by(tmp_path)
    twice = [key for key in set(begun) if begun.count(key) > 1]
    assert 1 <= len(twice) <= 4
    assert {outcomes[key].attempts for key in twice} == {2}


def copied(folder: Path) -> Callable[[Cell, Path, Path, float], Command]:
    """A cell's command that takes next to no time itself."""

    def command(each: Cell, python: Path, part: Path, limit_s: float) -> Command:
        source = folder / "sources" / each.key
        words = ("/bin/cp", "-r", str(source), str(part))
        return Command(each.key, words, log_of(part), limit_s)

    return command


@pytest.mark.benchmark(max_time=0.1, min_rounds=1, warmup=False)
@pytest.mark.parametrize("name", ["local", "ray", "slurm"])
def test_a_thousand_cells(
    name: str, request: pytest.FixtureRequest, benchmark: Any, tmp_path: Path
) -> None:
    """What an engine adds to a cell that takes no time: all of it, by the cell."""
    if name != "local":
        request.getfixturevalue(f"{name}_cluster")
    cells = matrix(tmp_path, 1000)
    options = {"chunk": "50"} if name == "slurm" else {}

    def whole() -> dict[str, Outcome]:
        return measure(tmp_path, cells, copied(tmp_path), engine=name, workers=8, options=options)

    begun = time.monotonic()
    outcomes = benchmark.pedantic(whole, rounds=1, iterations=1)
    benchmark.extra_info["ms a cell"] = round(time.monotonic() - begun, 3)
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    assert len(outcomes) == 1000
    records = Kept(tmp_path / "kept").records(cells[777])
    assert records["text"].metrics[0].value == 777.0
    assert os.listdir(tmp_path / "kept" / "parts") == []
