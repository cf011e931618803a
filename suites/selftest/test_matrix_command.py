"""`harness matrix`: its file and its options, what it says before it measures, and its identity."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.judging.environments import room
from harness.judging.environments.installed import installed_stack
from harness.judging.environments.room import make_room, size_of
from harness.judging.matrix import cells as identities
from harness.judging.matrix.cells import cells_of, model_identity, stack_here
from harness.judging.matrix.driver import probing
from harness.judging.matrix.forecast import Pace, duration
from harness.judging.matrix.kept import Outcome, State
from harness.judging.matrix.spec import Asked, MatrixSpec, read_asked, spec_of, usual_workers
from harness.records.files import write_json
from suites.commands import Command
from suites.selftest.cells import cell

pytestmark = pytest.mark.usefixtures("no_variables")

FILE = """
schema = 1
stacks = ["reference", "latest"]
families = ["qwen2_vl", "idefics3"]
rungs = "2-4"
metrics = ["text.rendered.korean"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "matrix.toml"
    path.write_text(FILE)
    return path


def test_a_file_is_a_matrix_and_options_go_before_it(file: Path) -> None:
    spec = spec_of(read_asked(file))
    assert spec == MatrixSpec(
        ("reference", "latest"),
        ("tiny:qwen2_vl", "tiny:idefics3"),
        rungs=("text", "ids", "images"),
        metrics=("text.rendered.korean",),
    )
    over = spec_of(Asked(stacks=("latest",), rungs="text", limit=9.0).over(read_asked(file)))
    assert over == replace(spec, stacks=("latest",), rungs=("text",), limit_s=9.0)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("schema = 2", "schema 2"),
        ("", "schema None"),
        ("schema = 1\nstack = ['latest']", "stack is no field"),
        ("schema = 1\nstacks = 'latest'", "stacks is 'latest', no list"),
        ("schema = 1\nthreads = 'x'", "threads is 'x', not a whole number"),
        ("schema = ", "is no readable TOML"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(file: Path, line: str, sentence: str) -> None:
    file.write_text(line)
    with pytest.raises(BadInput, match=sentence) as caught:
        read_asked(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (Asked(), "needs stacks"),
        (Asked(("latest",)), "needs models"),
        (Asked(("latest", "latest"), ("qwen2_vl",)), "latest is twice in stacks"),
        (Asked(("latest",), ("qwen9",)), "no family 'qwen9'"),
        (Asked(("latest",), ("qwen2_vl",), recipes=("mine",)), "no recipe 'mine'"),
        (Asked(("latest",), ("qwen2_vl",), devices=("tpu",)), "no device 'tpu'"),
        (Asked(("newest",), ("qwen2_vl",)), "another stack tomorrow"),
        (Asked(("latest",), ("qwen2_vl",), rungs="99"), "no range"),
        (Asked(("nowhere",), ("qwen2_vl",)), "no stack 'nowhere'"),
    ],
)
def test_what_is_no_matrix_is_refused(asked: Asked, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        spec_of(asked)


def test_a_dry_run_says_cells_environments_disk_and_time_and_builds_nothing(
    harness: Command, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    ended = harness("matrix", file, "--dry-run", "--workers", "2")
    assert ended.code == 0
    assert "4 cells, 0 kept, 4 to measure:" in ended.stderr
    assert "  idefics3 on latest\n" in ended.stderr
    assert "2 environments, 2 to build:" in ended.stderr
    assert "14 GB of disk at most" in ended.stderr
    assert "with 2 at once, 4 cells by a guess" in ended.stderr
    assert not (tmp_path / "cache").exists()
    ended = harness("matrix", file, "--dry-run", "--workers", "2", "--json")
    document = json.loads(ended.stdout)
    assert document["schema"] == 1
    assert len(document["forecast"]["todo"]) == 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--stack", "latest"], "needs models"),
        (["nowhere.toml"], "nowhere.toml cannot be read"),
        (["--engine-option", "x"], "is not NAME=VALUE"),
        (["--workers", "0"], "--workers"),
    ],
)
def test_bad_words_are_one_sentence(harness: Command, words: list[str], sentence: str) -> None:
    ended = harness("matrix", *words)
    assert ended.code == 2
    assert sentence in ended.sentence


def spec(**changes: object) -> MatrixSpec:
    whole = MatrixSpec(("reference", "latest"), ("tiny:qwen2_vl", "tiny:idefics3"))
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_a_cell_is_known_by_all_that_decides_what_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cells = cells_of(spec())
    assert len({each.key for each in cells}) == 4
    # Stack by stack, so that an environment is used up before the next one is.
    assert [each.stack.text for each in cells] == ["reference"] * 2 + ["latest"] * 2
    first = cells[0].key
    assert cells_of(spec(metrics=("a.b",), limit_s=5.0))[0].key == first
    others = [spec(rungs=("text",)), spec(recipes=("mask-prompt",)), spec(threads=2)]
    others += [spec(devices=("cuda",)), spec(stacks=("reference,peft==0.14.0",))]
    keys = {cells_of(each)[0].key for each in others}
    monkeypatch.setattr(identities, "harness_digest", lambda: "other")
    keys.add(cells_of(spec())[0].key)
    assert len(keys - {first}) == 6


def test_a_model_in_a_folder_is_known_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    first = model_identity(str(tmp_path))
    model_identity.cache_clear()
    os.utime(tmp_path / "config.json", ns=(1, 1))
    assert model_identity(str(tmp_path)) != first
    assert model_identity("stand-in") == "stand-in"


def test_the_harness_is_known_by_what_measures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "harness"
    for name in ("measuring/probes/text.py", "judging/report.py", "errors.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("1")
    monkeypatch.setattr(identities, "PACKAGE", package)
    monkeypatch.setattr(identities, "ORACLES", tmp_path / "oracles")

    def digest() -> str:
        identities.harness_digest.cache_clear()
        return identities.harness_digest()

    first = digest()
    (package / "judging/report.py").write_text("2")
    assert digest() == first
    (package / "measuring/probes/text.py").write_text("2")
    assert digest() != first
    identities.harness_digest.cache_clear()


def test_a_cell_is_one_command_of_its_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.setenv("A_SECRET", "x")
    for name in ("PYTHONPYCACHEPREFIX", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    built = tmp_path / "environments" / "latest" / "bin" / "python"
    command = probing(cell("latest"), built, tmp_path / "part", 9.0)
    assert command.words == (
        *(str(built), "-m", "harness", "probe", "text", "ids", "--model", "tiny:qwen2_vl"),
        *("--recipe", "reference", "--device", "cpu", "--threads", "1", "--out"),
        str(tmp_path / "part"),
    )
    assert command.variables["OMP_NUM_THREADS"] == "1"
    # No secret of the driver's goes into a file of a scheduler.
    assert set(command.variables) == {
        "PYTHONPATH",
        "PYTHONUNBUFFERED",
        "PYTHONDONTWRITEBYTECODE",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "GOMP_SPINCOUNT",
    }
    # An image of a container that wants no bytecode must not make every cell compile the libraries.
    assert command.variables["PYTHONDONTWRITEBYTECODE"] == ""
    # An environment that is not ours is left as it is, its bytecode too.
    theirs = probing(cell("python:/v"), Path("/v/bin/python"), tmp_path / "part", 9.0)
    assert theirs.variables["PYTHONPYCACHEPREFIX"].startswith(str(tmp_path))
    assert theirs.words[-4:-2] == ("--stack", "python:/v")


def test_a_checkout_and_a_folder_mean_the_same_on_every_node(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    here = stack_here("latest,./")
    assert here.text == here.label
    assert here.text.startswith(f"latest,{checkout}#")
    (checkout / "tiny_thing.py").write_text("SAYS = 'second'\n")
    assert stack_here("latest,./").identity != here.identity
    asked = Asked(("latest",), models=(".", "stand-in"))
    assert spec_of(asked).models == (str(checkout), "stand-in")


def test_an_environment_knows_what_it_was_built_as(tmp_path: Path) -> None:
    write_json(tmp_path / "harness.json", {"stack": "latest,trl==1.0"})
    assert installed_stack(prefix=tmp_path) == "latest,trl==1.0"
    write_json(tmp_path / "harness.json", {"stack": 1})
    with pytest.raises(BadInput, match=str(tmp_path)):
        installed_stack(prefix=tmp_path)


def test_a_forecast_learns_from_what_was_measured() -> None:
    one = cell("a")
    pace = Pace([])
    assert not pace.knows(one)
    guess = pace.of(one)
    other = Outcome(State.MEASURED, seconds=30.0, model=one.model, rungs=("text", "ids", "images"))
    pace.add(other)
    assert pace.of(one) == 20.0 != guess
    pace.add(replace(other, seconds=7.0, rungs=one.rungs))
    assert pace.of(one) == 7.0
    assert pace.left([one] * 4, 2) == 14.0
    # What a killed driver left has no time of its own.
    pace.add(replace(other, seconds=0.0, rungs=one.rungs))
    assert pace.of(one) == 7.0


def test_durations_are_rounded_up() -> None:
    assert [duration(s) for s in (0.2, 89, 91, 60 * 95)] == ["1 s", "89 s", "2 min", "1 h 35 min"]


def test_workers_are_bounded_by_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert usual_workers(1, 100, 10) == 8
    assert usual_workers(4, 100, 10) == 2
    assert usual_workers(1, 35, 10) == 3
    assert usual_workers(1, 5, 10) == 1


def _environment(root: Path, name: str, size: int, age: int) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "harness.json").write_text("{}")
    (folder / "data").write_bytes(b"x" * size)
    mark = folder / room.MARK
    mark.touch()
    os.utime(mark, ns=(age, age))
    return folder


def test_the_longest_unused_environments_are_dropped(tmp_path: Path) -> None:
    large = 1 << 20
    oldest, older, newest = (
        _environment(tmp_path, name, large, age) for name, age in (("x", 1), ("y", 2), ("z", 3))
    )
    foreign = _environment(tmp_path, "foreign", 8 * large, 0)
    (foreign / room.MARK).unlink()
    assert size_of([oldest, older]) >= 2 * large
    assert make_room(10 * large, large, [], tmp_path) == ()
    # One that is used stays, whatever its age; nobody else's is ever touched.
    assert make_room(3 * large + large // 2, large, [oldest], tmp_path) == (older,)
    assert [p.is_dir() for p in (oldest, older, newest, foreign)] == [True, False, True, True]


def test_files_of_several_names_count_once(tmp_path: Path) -> None:
    one = _environment(tmp_path, "one", 1 << 20, 1)
    alone = size_of([one])
    two = tmp_path / "two"
    two.mkdir()
    os.link(one / "data", two / "data")
    assert size_of([one, two]) == alone
