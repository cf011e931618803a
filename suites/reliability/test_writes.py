"""Every write call of run, compare, bisect, golden and train fails once: one sentence, exit 2, what
was there before is whole, and the same command then goes through."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import HarnessError, OutOfSpace
from harness.judging.goldens.golden import read_goldens
from harness.judging.goldens.observe import observe
from harness.measuring.training.__main__ import main as train_main
from harness.measuring.training.spec import TrainSpec, spec_to_json
from harness.records.disk import of_the_disk
from harness.records.files import write_json
from harness.records.record import Metric, Provenance, Record, read_record, write_record
from suites.commands import Command
from suites.reliability.bisected import bisected
from suites.reliability.counts import LARGE, large
from suites.reliability.failing import ERRORS, failing, in_child
from suites.reliability.test_records import record
from suites.reliability.test_state import finished, spec, weights  # noqa: F401 - fixtures

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_variables")]

ROOT = Path(__file__).resolve().parents[2]


def chosen(calls: int, every: int) -> Sequence[tuple[int, int]]:
    """(number, error) of the calls to fail: all with each error in the large battery of cheap
    commands (every 1), a few in the small one."""
    assert calls > 2
    if LARGE:
        return [(n + 1, error) for n in range(calls) for error in _errors(n, every)]
    numbers = range(1, calls + 1, max(1, calls // 3))
    return [(number, ERRORS[number % len(ERRORS)]) for number in numbers]


def _errors(number: int, every: int) -> Sequence[int]:
    return ERRORS if every == 1 else (ERRORS[number % len(ERRORS)],)


def assert_refused(code: int, stderr: str) -> None:
    """One sentence, the last line, exit 2."""
    assert code == 2, stderr
    assert "Traceback" not in stderr, stderr
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert errors == stderr.splitlines()[-1:], stderr
    assert any(word in errors[0] for word in ("cannot be written", "No room left", "cannot be re"))


def content(folder: Path, *suffixes: str) -> dict[str, bytes]:
    """Files by path, for `what was there before`."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in suffixes
    }


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    """Two folders of records that differ."""
    provenance = Provenance("reference", "stand-in", "catalogue", "cpu-x", "r", "s")
    for side, value in (("old", 1.0), ("new", 2.0)):
        metric = Metric("text", "value", "a", value)
        write_record(Record("text", provenance, (metric,), 1.0), tmp_path / side)
    return tmp_path


def test_every_write_of_a_comparison(
    harness: Command, sides: Path, tried: Callable[[int], None]
) -> None:
    """Of two folders of records."""
    records = content(sides, ".json")
    words = ["compare", f"{sides}/old/", f"{sides}/new/", "--out"]
    with failing(sides / "out", 0) as plan:
        assert harness(*words, sides / "out").code == 1
    whole = content(sides / "out", ".json", ".html")
    for number, error in chosen(plan.seen, 1):
        out = sides / "out"
        shutil.rmtree(out)
        with failing(out, number, error):
            ended = harness(*words, out)
        assert_refused(ended.code, ended.stderr)
        assert {k: v for k, v in content(sides, ".json").items() if "out/" not in k} == records
        kept = (out / "plan.json").is_file()
        again = [*words[:-1], "--resume", out] if kept else [*words, out]
        assert harness(*again).code == 1
        assert content(out, ".json", ".html") == whole
        assert not list(out.rglob("*.part"))
        tried(1)


def test_every_write_of_a_golden(tmp_path: Path, tried: Callable[[int], None]) -> None:
    """Two metrics observed anew: the old set or the new one, whole."""
    root = tmp_path / "golden"
    names = ["text.made_up.case_0", "text.made_up.case_1"]

    def update(value: int) -> None:
        measured = record(value)
        family = replace(measured.provenance, family="qwen2_vl")
        observe(names, [{"text": replace(measured, provenance=family)}], "a test", root)

    def values() -> set[str]:
        return {json.dumps(golden.cases) for golden in read_goldens(root)}

    update(0)
    old = values()
    with failing(tmp_path, 0) as plan:
        update(1)
    new = values()
    for number, error in chosen(plan.seen, 1):
        update(0)
        with failing(tmp_path, number, error), pytest.raises(HarnessError) as caught:
            update(1)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2
        assert values() in (old, new)
        update(1)
        assert values() == new
        assert not [path for path in root.rglob("*") if path.name.startswith(".")]
        tried(1)


def test_every_write_of_a_training(
    spec: TrainSpec,  # noqa: F811
    finished: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tried: Callable[[int], None],
) -> None:
    """States, adapter, log, what the Trainer writes itself; then the same weights."""
    write_json(tmp_path / "spec.json", spec_to_json(spec))
    out = tmp_path / "run"

    def train() -> int:
        return train_main([str(tmp_path / "spec.json"), str(out)])

    with failing(out, 0) as plan:
        assert train() == 0
    for number, error in chosen(plan.seen, 2):
        shutil.rmtree(out, ignore_errors=True)
        capsys.readouterr()
        with failing(out, number, error):
            code = train()
        assert_refused(code, capsys.readouterr().err)
        assert train() == 0
        assert weights(out) == weights(finished)
        tried(1)


@dataclass
class Measured:
    """A command with a measuring child. folder: that it writes into. words: of it, first and again.
    fresh: makes the folder as it was."""

    folder: Path
    words: Callable[[], list[str]]
    code: int
    fresh: Callable[[], None]


def every_write(
    measured: Measured,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    part: str = "",
) -> int:
    """Fail every write call of a command, or of its child whose command line holds `part`."""

    def run(number: int, error: int) -> int:
        capsys.readouterr()
        words = measured.words()
        if not part:
            with failing(measured.folder, number, error) as plan:
                code = main(words)
            count[0] = plan.seen
            return code
        with monkeypatch.context() as patch:
            for name, value in in_child(
                tmp_path / "hook", measured.folder, number, error, part
            ).items():
                patch.setenv(name, value)
            return main(words)

    count = [0]
    measured.fresh()
    assert run(0, 0) == measured.code
    calls = int((tmp_path / "hook" / "seen").read_text()) if part else count[0]
    numbers = chosen(calls, 2)
    for number, error in numbers:
        measured.fresh()
        code = run(number, error)
        assert_refused(code, capsys.readouterr().err)
        kept = {path: path.stat().st_mtime_ns for path in measured.folder.rglob("text.json")}
        for path in kept:
            read_record(path)
        assert main(measured.words()) == measured.code
        assert {path: path.stat().st_mtime_ns for path in kept} == kept, "measured twice"
        assert not list(measured.folder.rglob("*.part"))
    return len(numbers)


@pytest.fixture
def one_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real run with a single rung: all fourteen take minutes, and write by the same calls."""
    monkeypatch.setattr("harness.commands.run.rungs_named", lambda names: ["text"])


PARTS = ["probe.job.json", "resolve.job.json", ""] if LARGE else ["probe.job.json"]


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_every_write_of_a_run(
    one_rung: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    tried: Callable[[int], None],
) -> None:
    """The command itself, the child that looks the model up, the child that measures."""
    out = tmp_path / "out"

    def words() -> list[str]:
        begun = (out / "work" / "context.json").is_file()
        return ["run", "--threads", "1", "--resume" if begun else "--out", str(out)]

    run = Measured(out, words, 0, lambda: shutil.rmtree(out, ignore_errors=True))
    tried(every_write(run, capsys, monkeypatch, tmp_path, part))


@large
def test_every_write_of_a_bisect(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tried: Callable[[int], None],
) -> None:
    """From its records, which a first one measured: its plans, layers' folders, answer, page."""
    words, _ = bisected(tmp_path)
    there, out = tmp_path / "there", tmp_path / "there" / "out"
    cache = there / "cache"
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    assert main([*words, "--out", str(out)]) == 0

    def fresh() -> None:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(cache / "bisect" / "plans")

    bisect = Measured(there, lambda: [*words, "--out", str(out)], 0, fresh)
    tried(every_write(bisect, capsys, monkeypatch, tmp_path))
    answer = json.loads((out / "bisect.json").read_text())
    (edge,) = answer["findings"]["text.rendered.korean"]["boundaries"]
    assert (edge["before"], edge["after"]) == ("9.0", "9.1")


WORDED = [
    RuntimeError("x (os error 28)"),
    OSError(28, "No space left on device"),
    ValueError("[Errno 5] Input/output error"),
]


@pytest.mark.parametrize("error", WORDED, ids=range(len(WORDED)))
def test_a_librarys_own_words_for_the_disk_are_known(error: Exception) -> None:
    wrapped = KeyError("x")
    wrapped.__cause__ = error
    for met in (error, wrapped):
        assert of_the_disk(met) is not None
    assert of_the_disk(ValueError("a value")) is None
    assert of_the_disk(OSError(2, os.strerror(2))) is None


def test_a_really_full_disk_is_known_from_safetensors(tmp_path: Path) -> None:
    """/dev/full takes nothing: what the library throws is what it says of a full disk."""
    import numpy as np
    from safetensors.numpy import save_file

    with pytest.raises(Exception, match="code: 28") as caught:
        save_file({"a": np.zeros(4_000_000, dtype=np.float32)}, "/dev/full")
    assert isinstance(of_the_disk(caught.value), OutOfSpace)
