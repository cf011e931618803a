"""Cells are measured once, each in a process of its own, whatever becomes of that process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from harness.errors import BadInput, Damaged, StackBroken
from harness.judging.matrix.cells import Cell
from harness.judging.matrix.driver import ATTEMPTS, log_of, measure_cells
from harness.judging.matrix.kept import NAME, Kept, Outcome, State
from harness.judging.workers.engines import Settings, engines, local, open_engine
from harness.judging.workers.running import Command
from suites.selftest.cells import MEASURES, cell, measure, measured_by, prepared, scripted


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    models = ("tiny:qwen2_vl", "tiny:idefics3")
    cells = [cell(stack, model) for stack in ("one", "two") for model in models]
    for each in cells:
        prepared(tmp_path, each)
    return cells


def test_every_cell_is_measured_once_and_kept(tmp_path: Path, cells: list[Cell]) -> None:
    outcomes = measure(tmp_path, cells, scripted(tmp_path))
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    assert sorted(measured_by(tmp_path)) == sorted(each.key for each in cells)
    kept = Kept(tmp_path / "kept")
    for each in cells:
        records = kept.records(each)
        assert list(records) == ["text", "ids"]
        assert records["ids"].provenance.stack == each.stack.label
    assert list((tmp_path / "kept" / "parts").iterdir()) == []
    again = measure(tmp_path, cells, scripted(tmp_path))
    assert again == outcomes
    assert len(measured_by(tmp_path)) == len(cells)


def test_two_cells_of_one_content_are_measured_once(tmp_path: Path, cells: list[Cell]) -> None:
    outcomes = measure(tmp_path, [cells[0], cells[0]], scripted(tmp_path))
    assert list(outcomes) == measured_by(tmp_path) == [cells[0].key]


def dying(how: str) -> str:
    """The script, but for one cell, which ends otherwise."""
    return MEASURES.replace("time.sleep", f"('one-tiny-qwen2_vl' in part) and ({how})\ntime.sleep")


@pytest.mark.parametrize(
    ("how", "state", "reason"),
    [
        ("print('error: No such family.'), sys.exit(3)", State.NOT_RUN, "No such family."),
        ("print('error: Bad words.'), sys.exit(2)", State.REFUSED, "Bad words."),
        ("print('oh'), sys.exit(5)", State.DIED, "exit code 5; last line: oh"),
        ("sys.exit(70)", State.REFUSED, ""),
    ],
)
def test_a_cell_that_ends_otherwise_says_so_and_holds_up_no_other(
    tmp_path: Path, cells: list[Cell], how: str, state: State, reason: str
) -> None:
    outcomes = measure(tmp_path, cells, scripted(tmp_path, dying(how)))
    bad = outcomes.pop(cells[0].key)
    assert (bad.state, bad.reason) == (state, reason)
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    # What the user can mend is tried again, what the stack is like is known.
    kept = Kept(tmp_path / "kept").outcome(cells[0])
    assert (kept == bad) if state in {State.NOT_RUN, State.DIED} else (kept is None)


def test_a_process_that_is_killed_is_given_out_again_and_then_is_a_record(
    tmp_path: Path, cells: list[Cell]
) -> None:
    outcomes = measure(tmp_path, cells, scripted(tmp_path, dying("os.kill(os.getpid(), 9)")))
    bad = outcomes[cells[0].key]
    assert (bad.state, bad.attempts) == (State.DIED, ATTEMPTS)
    assert f"signal 9, {ATTEMPTS} times" in bad.reason
    assert measured_by(tmp_path).count(cells[0].key) == ATTEMPTS
    assert len(measured_by(tmp_path)) == ATTEMPTS + 3
    # The record is kept: a second run measures nothing.
    measure(tmp_path, cells, scripted(tmp_path))
    assert len(measured_by(tmp_path)) == ATTEMPTS + 3


def test_one_that_is_killed_once_is_measured(tmp_path: Path, cells: list[Cell]) -> None:
    mark = str(tmp_path / "mark")
    once = f"os.path.exists({mark!r}) or (open({mark!r}, 'w'), os.kill(os.getpid(), 9))"
    outcomes = measure(tmp_path, cells, scripted(tmp_path, dying(once)))
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    assert outcomes[cells[0].key].attempts == 2


def test_one_that_hangs_is_ended_at_its_limit(tmp_path: Path, cells: list[Cell]) -> None:
    begun = time.monotonic()
    outcomes = measure(
        tmp_path, cells, scripted(tmp_path, dying("time.sleep(60)")), workers=1, limit_s=1.0
    )
    assert time.monotonic() - begun < 30
    bad = outcomes.pop(cells[0].key)
    assert bad.state is State.DIED
    assert "no answer within 1 s" in bad.reason
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}


def test_what_a_killed_driver_left_whole_is_not_measured_again(
    tmp_path: Path, cells: list[Cell]
) -> None:
    kept = Kept(tmp_path / "kept")
    prepared(tmp_path, cells[0]).rename(_parents(kept.part(cells[0])))
    half = prepared(tmp_path, cells[1])
    (half / "ids.json").unlink()
    half.rename(kept.part(cells[1]))
    prepared(tmp_path, cells[1])
    outcomes = measure(tmp_path, cells, scripted(tmp_path))
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    assert cells[0].key not in measured_by(tmp_path)
    assert measured_by(tmp_path).count(cells[1].key) == 1


def test_a_lock_that_another_lets_go_while_it_is_opened_is_asked_for_again(
    tmp_path: Path, cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """filelock opens a file that it saw a moment ago; whoever had it has removed it meanwhile."""
    acquire, vanished = FileLock._acquire, list[str]()

    def vanishing(lock: FileLock) -> None:
        if not vanished:
            vanished.append(lock.lock_file)
            raise FileNotFoundError(2, "No such file or directory", lock.lock_file)
        acquire(lock)

    monkeypatch.setattr(FileLock, "_acquire", vanishing)
    outcomes = measure(tmp_path, cells, scripted(tmp_path))
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    assert vanished
    assert sorted(measured_by(tmp_path)) == sorted(each.key for each in cells)


def _parents(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    return path


def test_a_cell_that_another_is_measuring_waits_and_is_not_measured_twice(
    tmp_path: Path, cells: list[Cell]
) -> None:
    errors: list[BaseException] = []

    def other() -> None:
        try:
            measure(tmp_path, cells, scripted(tmp_path, pause=0.3))
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=other) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(measured_by(tmp_path)) == sorted(each.key for each in cells)


def test_a_broken_cell_is_refused_by_name(tmp_path: Path, cells: list[Cell]) -> None:
    measure(tmp_path, cells, scripted(tmp_path))
    kept = Kept(tmp_path / "kept")
    path = kept.folder(cells[0]) / NAME
    path.write_text(path.read_text().replace('"measured"', '"died"'))
    with pytest.raises(Damaged, match=str(path)):
        kept.outcome(cells[0])
    kept.forget(cells[0])
    assert kept.outcome(cells[0]) is None


def test_a_stack_that_cannot_be_built_holds_up_no_other(tmp_path: Path, cells: list[Cell]) -> None:
    outcomes: dict[str, Outcome] = {}

    def build(text: str) -> Path:
        if text == "one":
            raise StackBroken("The stack one cannot be installed: no.")
        return Path(sys.executable)

    with open_engine("local", Settings(2, tmp_path)) as engine:
        measure_cells(
            cells,
            Kept(tmp_path / "kept"),
            engine,
            lambda each, outcome: outcomes.update({each.key: outcome}),
            60.0,
            build,
            scripted(tmp_path),
        )
    states = {key: outcome.state for key, outcome in outcomes.items()}
    assert {states[c.key] for c in cells if c.stack.text == "one"} == {State.UNBUILT}
    assert {states[c.key] for c in cells if c.stack.text == "two"} == {State.MEASURED}
    assert "no." in outcomes[cells[0].key].reason


def test_an_error_of_the_builder_is_raised(tmp_path: Path, cells: list[Cell]) -> None:
    def build(text: str) -> Path:
        raise ZeroDivisionError("no such luck")

    kept = Kept(tmp_path / "kept")
    with (
        open_engine("local", Settings(2, tmp_path)) as engine,
        pytest.raises(ZeroDivisionError),
    ):
        measure_cells(cells, kept, engine, lambda *w: None, 60.0, build, scripted(tmp_path))


def test_an_interrupt_ends_what_runs_and_keeps_what_was_measured(
    tmp_path: Path, cells: list[Cell]
) -> None:
    kept = Kept(tmp_path / "kept")

    def tick() -> None:
        if kept.outcome(cells[0]):
            raise KeyboardInterrupt

    slow = MEASURES.replace(
        "time.sleep", "'one-tiny-qwen2_vl' in part or time.sleep(60)\ntime.sleep"
    )
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, cells, scripted(tmp_path, slow), tick=tick)
    assert time.monotonic() - begun < 30
    assert [each.key for each in cells if kept.outcome(each)] == [cells[0].key]
    outcomes = measure(tmp_path, cells, scripted(tmp_path))
    assert {outcome.state for outcome in outcomes.values()} == {State.MEASURED}
    assert measured_by(tmp_path).count(cells[0].key) == 1


def test_an_unknown_engine_is_refused(tmp_path: Path) -> None:
    assert {"local"} <= set(engines())
    with pytest.raises(BadInput, match=r"no engine 'cloud'.*local"):
        open_engine("cloud", Settings(1, tmp_path))


def test_cores_are_dealt_out(tmp_path: Path) -> None:
    shared = local.slots(2, [0, 1, 2, 3], ())
    assert [sorted(slot.cores) for slot in shared] == [[0, 2], [1, 3]]
    crowded = local.slots(3, [4, 5], ())
    assert [sorted(slot.cores) for slot in crowded] == [[4], [5], [4]]
    cards = local.slots(3, [0, 1, 2], ("0", "2"))
    assert [slot.gpu for slot in cards] == ["0", "2", ""]


@pytest.mark.skipif(sys.platform != "linux", reason="cores are a process's own on Linux only")
def test_a_command_has_its_own_cores_and_sees_no_card_that_is_not_its(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "visible_gpus", lambda: ("7",))
    shows = "import os; print(sorted(os.sched_getaffinity(0)), os.environ['CUDA_VISIBLE_DEVICES'])"

    def command(each: Cell, python: Path, part: Path, limit_s: float) -> Command:
        words = (sys.executable, "-c", shows)
        return Command(each.key, words, tmp_path / each.key, limit_s, cuda=each.model == "m7")

    cells = [cell("one", name) for name in ("m1", "m2", "m7", "m8")]
    workers = min(2, len(local.cores()))
    measure(tmp_path, cells, command, workers=workers)
    shown = {each.model: (tmp_path / each.key).read_text().strip() for each in cells}
    given = {str(sorted(slot.cores)) for slot in local.slots(workers, local.cores(), ("7",))}
    assert {text.partition("]")[0] + "]" for text in shown.values()} <= given
    assert {name: text.partition("]")[2] for name, text in shown.items()} == {
        "m1": "",
        "m2": "",
        "m7": " 7",
        "m8": "",
    }


def test_what_needs_a_card_is_refused_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "visible_gpus", lambda: ())
    each = cell("one")

    def command(each: Cell, python: Path, part: Path, limit_s: float) -> Command:
        return Command(each.key, (sys.executable, "-c", ""), log_of(part), limit_s, cuda=True)

    with pytest.raises(BadInput, match="no CUDA device"):
        measure(tmp_path, [each], command)


@pytest.mark.skipif(sys.platform != "linux", reason="a child dies with its parent on Linux only")
def test_a_cell_ends_with_its_driver(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path[:0] = [sys.argv[2]]; "
        "from suites.selftest.cells import *; folder = Path(sys.argv[1]); each = cell('one'); "
        "measure(folder, [each], scripted(folder, pause=60))"
    )
    prepared(tmp_path, cell("one"))
    root = Path(__file__).parents[2]
    driver = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(root)])
    _wait_until(lambda: bool(measured_by(tmp_path)))
    driver.kill()
    driver.wait()
    _wait_until(lambda: not _running(str(tmp_path)))


def _wait_until(holds: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def _running(words: str) -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if words in line and path.parent.name != str(os.getpid()):
            lines.append(line)
    return lines
