"""The script that reproduces a bisect's answer."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.commands.bisect import show
from harness.errors import BadInput
from harness.judging.bisect.answers import (
    Bisection,
    read_bisection,
)
from harness.judging.bisect.findings import chosen, same_source
from harness.judging.bisect.spec import probe_options
from harness.judging.compare.document import FactsEntry, read_comparison
from harness.judging.report.bisect.reproduce import script
from harness.judging.workers.resolve import Request
from harness.records.context import Context
from harness.records.files import write_json
from harness.records.seals import read_sealed, write_sealed
from suites.selftest.compared_stacks import finding

QUIET = Console(quiet=True)


def test_the_script_is_valid_shell_and_names_both_stacks(
    bisection: Bisection, tmp_path: Path
) -> None:
    path = tmp_path / "reproduce.sh"
    path.write_text(script(bisection), encoding="utf-8")
    subprocess.run(["bash", "-n", str(path)], check=True)
    text = path.read_text()
    assert "--stack reference,helper==1,x==1.2" in text
    assert "--stack reference,helper==2,x==1.3" in text


def test_the_script_asks_for_the_same_model_data_and_threads(tmp_path: Path) -> None:
    """Else it would show another model's numbers."""
    given = Request("reference", str(tmp_path), "catalogue", device="cpu", threads=1)
    assert probe_options(given) == (
        "--model",
        str(tmp_path),
        "--data",
        "catalogue",
        "--device",
        "cpu",
        "--threads",
        "1",
    )


def test_trainings_of_a_comparison_are_reproduced_with_its_masks(
    bisection: Bisection, tmp_path: Path
) -> None:
    """`harness probe` draws its own; the two sides of a comparison share theirs."""
    of_compare = replace(bisection, from_compare="reports/x")
    assert "harness compare" not in script(of_compare)
    moved = {"trajectory.loss": bisection.findings["forward.loss"]}
    trained = replace(of_compare, findings=moved)
    path = tmp_path / "reproduce.sh"
    path.write_text(script(trained), encoding="utf-8")
    subprocess.run(["bash", "-n", str(path)], check=True)
    text = path.read_text()
    assert (
        "echo 'x 1.2'\n"
        "$HARNESS compare reference,helper==1,x==1.2 reference,helper==2,x==1.3 "
        '--out "$out"/trajectory.loss-0 --rungs trajectory --model stand-in || test $? -ne 2\n'
        'python3 -c "$show" "$out"/trajectory.loss-0/old trajectory trajectory.loss\n'
        "echo 'x 1.3'\n"
        'python3 -c "$show" "$out"/trajectory.loss-0/new trajectory trajectory.loss\n'
    ) in text
    assert "harness probe" not in text


def test_what_came_from_a_folder_is_reproduced_from_it(bisection: Bisection) -> None:
    text = script(replace(bisection, wheels="/my wheels"))
    assert "--no-index --find-links '/my wheels' helper==1 x==1.2" in text
    assert "-layer${PYTHONPATH:+:$PYTHONPATH} $HARNESS probe --stack reference --out" in text


# Stands for the harness: writes a record whose value says how it was called.
STUB = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True)
value = [{name!r}, sys.argv[sys.argv.index("--stack") + 1]]
metric = {{"rung": "forward", "name": "loss", "status": "OK", "value": value}}
(out / "forward.json").write_text(json.dumps({{"metrics": [metric]}}))
"""


def reproduced(
    bisection: Bisection, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The script as a process in a folder, with this Python as python3 and no `harness`."""
    tools = folder.parent / "bin"
    tools.mkdir(exist_ok=True)
    if not (tools / "python3").exists():
        (tools / "python3").symlink_to(sys.executable)
    path = folder.parent / "reproduce.sh"
    path.write_text(script(bisection), encoding="utf-8")
    plain = {k: v for k, v in os.environ.items() if k not in {"HARNESS", "PYTHONPATH"}}
    return subprocess.run(
        ["bash", str(path)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**plain, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", **variables},
    )


def test_the_script_runs_in_a_clone_without_anything_installed(
    bisection: Bisection, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    (clone / "harness").mkdir(parents=True)
    (clone / "harness" / "__init__.py").write_text("")
    (clone / "harness" / "commands.py").write_text("")
    (clone / "harness" / "__main__.py").write_text(STUB.format(name="clone"))
    done = reproduced(bisection, clone)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "x 1.2",
        "[['clone', 'reference,helper==1,x==1.2']]",
        "x 1.3",
        "[['clone', 'reference,helper==2,x==1.3']]",
    ]


def test_the_script_runs_the_command_that_it_is_given(bisection: Bisection, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(STUB.format(name="mine"))
    (tmp_path / "elsewhere").mkdir()
    command = f"{sys.executable} {tmp_path / 'mine.py'}"
    done = reproduced(bisection, tmp_path / "elsewhere", HARNESS=command)
    assert done.returncode == 0, done.stderr
    assert "['mine', 'reference,helper==2,x==1.3']" in done.stdout


def test_the_script_says_where_it_must_be_run(bisection: Bisection, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    done = reproduced(bisection, tmp_path / "elsewhere")
    assert done.returncode == 2
    assert done.stderr.startswith("error: Run this in a clone of the harness")


def test_a_comparison_of_another_model_is_refused() -> None:
    facts = FactsEntry("snapshot:mine", "catalogue", "a", "cpu-x")
    here = Context(
        "reference",
        "stand-in",
        "catalogue",
        Path(),
        True,
        Path(),
        model_digest="b",
        family="qwen2_vl",
    )
    with pytest.raises(BadInput, match="with model snapshot:mine and data catalogue; give the"):
        same_source(facts, here, Path("c"))
    same_source(replace(facts, model_digest="b"), here, Path("c"))


def test_what_is_written(bisection: Bisection, tmp_path: Path) -> None:
    """And read back as it was, unless it is damaged or of another schema."""
    assert bisection.exit_code == 0
    show(bisection, tmp_path / "o", QUIET)
    assert read_bisection(tmp_path / "o") == bisection
    raw = read_sealed(tmp_path / "o" / "bisect.json", "mend")
    for damage, sentence in (({"schema": 1}, "has schema 1"), ({"base": 3}, "base is 3, not a")):
        write_sealed(tmp_path / "bisect.json", {**raw, **damage})
        with pytest.raises(BadInput, match=sentence):
            read_bisection(tmp_path)
    assert (tmp_path / "o" / "report.html").is_file()
    assert (tmp_path / "o" / "reproduce.sh").is_file()


def test_a_comparison_gives_its_findings_that_stand_for_themselves(tmp_path: Path) -> None:
    raw = {
        "schema": 1,
        "old": "reference",
        "new": "latest",
        "packages": {},
        "facts": {
            "model": "stand-in",
            "data": "catalogue",
            "model_digest": "m",
            "device_key": "cpu-x",
        },
        "findings": [
            finding("environment.version"),
            finding("images.levels.photo"),
            finding("forward.loss", cause="images.levels.photo"),
            finding("update.loss", accepted=True),
        ],
    }
    write_json(tmp_path / "comparison.json", raw)
    read = read_comparison(tmp_path)
    assert [q.finding for q in chosen(read, [])[0]] == ["images.levels.photo"]
    assert [q.finding for q in chosen(read, ["forward.loss"])[0]] == ["forward.loss"]
    with pytest.raises(BadInput, match="holds no finding 'x'"):
        chosen(read, ["x"])
    with pytest.raises(BadInput, match="holds no comparison"):
        read_comparison(tmp_path / "none")
    assert not read.between_directories
    write_json(tmp_path / "comparison.json", {**raw, "old": "records/old"})
    assert read_comparison(tmp_path).between_directories
