"""A user's own training is a row of a matrix: measured by its file, judged by its own checks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.judging.audit.asking import user_training
from harness.judging.goldens.bands import Bands
from harness.judging.matrix.cells import Cell, cells_of
from harness.judging.matrix.driver import probing
from harness.judging.matrix.judge import Yardstick, judged_cells
from harness.judging.matrix.kept import Kept, Outcome, State
from harness.judging.matrix.spec import Asked, spec_of
from harness.judging.matrix.table import CellEntry, Moved, Table
from harness.judging.report.matrix.cards import bisect_command
from harness.judging.report.matrix.grid import grid
from harness.judging.report.matrix.names import row_name
from harness.records.audit import Check, RungChecks, audit_folder, rung_path, write_audit
from harness.records.context import TRAINING_FAMILY
from harness.records.failure import Failure
from harness.records.record import Metric, Status, Verdict, write_record
from suites.selftest.cells import cell, record

pytestmark = pytest.mark.usefixtures("no_variables")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "own" / "train.py"
    path.parent.mkdir()
    path.write_text("def make_trainer(): ...\n")
    return path


def asked(*trainings: str, **more: str) -> Asked:
    return Asked(("current",), trainings=trainings, **more)  # type: ignore[arg-type]


def test_a_training_is_a_row_beside_models(script: Path, tmp_path: Path) -> None:
    text = f"{script}:make_trainer"
    spec = spec_of(replace(asked(text), families=("qwen2_vl",), recipes=("reference", "warmup")))
    cells = cells_of(spec)
    assert [(each.model, each.recipe) for each in cells] == [
        ("tiny:qwen2_vl", "reference"),
        ("tiny:qwen2_vl", "warmup"),
        (f"training:{script}:make_trainer", ""),
    ]
    own = cells[-1]
    assert own.title.startswith("train.py:make_trainer on ")
    words = probing(own, Path("/v/bin/python"), tmp_path / "part", 9.0).words
    assert words[3 : 4 + len(own.rungs)] == ("probe", *own.rungs)
    assert words[4 + len(own.rungs) :][:4] == ("--training", text, "--threads", "1")
    assert not {"--model", "--recipe", "--device"} & set(words)


def test_only_rungs_that_are_audited_are_measured_of_it(script: Path) -> None:
    (own,) = cells_of(spec_of(asked(str(script), rungs="interface,text,update,generation")))
    assert own.rungs == ("text", "update")
    with pytest.raises(BadInput, match="A training has none of these rungs; choose from text, "):
        spec_of(asked(str(script), rungs="interface,generation"))


def test_a_cell_is_known_by_what_the_file_says(script: Path) -> None:
    (before,) = cells_of(spec_of(asked(str(script))))
    script.write_text("def make_trainer(): return None\n")
    (after,) = cells_of(spec_of(asked(str(script))))
    assert before.key != after.key
    (other,) = cells_of(spec_of(asked(f"{script}:make_trainer")))
    assert other.key != after.key


def test_what_is_no_training_is_refused(script: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"There is no file .*other\.py"):
        spec_of(asked(str(tmp_path / "other.py")))
    twin = tmp_path / "train.py"
    twin.write_text("")
    with pytest.raises(BadInput, match=r"Two trainings are called train\.py; rename one"):
        spec_of(asked(str(script), str(twin)))
    with pytest.raises(BadInput, match="give --family, --model or --training"):
        spec_of(Asked(("current",)))


CHECKS = (
    Check("forward", "loss", value=2.0, truth=2.0),
    Check("forward", "row_order", value=0.5, truth=0.0, tolerance=1e-6),
    Check("forward", "pictures_ignored", status=Status.BROKEN, failure=Failure("E", "no", "x:1")),
)


def kept_cell(kept: Kept, script: Path, stack: str, loss: float) -> Cell:
    """A finished cell of the training on a stack, its audit among its files."""
    plain = cell(stack)
    own = replace(
        plain,
        model=f"training:{script}",
        recipe="",
        rungs=("forward",),
        training=user_training(script),
    )
    part = kept.part(own)
    whole = record("forward", stack, "training", loss)
    place = replace(whole.provenance, family=TRAINING_FAMILY)
    metrics = (Metric("forward", "loss", None, loss),)
    write_record(replace(whole, provenance=place, metrics=metrics), part)
    checks = (replace(CHECKS[0], value=loss), *CHECKS[1:])
    write_audit(RungChecks("forward", checks), rung_path(part, "forward"))
    (part / "work" / "batch.bin").write_bytes(b"0")
    kept.keep(own, Outcome(State.MEASURED))
    return own


def test_it_is_judged_by_its_own_checks(script: Path, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept")
    cells = [kept_cell(kept, script, stack, loss) for stack, loss in (("a", 2.0), ("b", 2.5))]
    work = audit_folder(kept.folder(cells[0])).parent
    assert [path.name for path in work.iterdir()] == ["audit"]
    outcomes = {each.key: Outcome(State.MEASURED) for each in cells}
    yardstick = Yardstick((), Bands({}, {}), (), frozenset({"forward.row_order"}))
    right, wrong = judged_cells(cells, outcomes, kept, yardstick)
    assert right.right == 1
    assert [(w.finding, w.verdict, w.known) for w in right.wrong] == [
        ("forward.row_order", Verdict.CHANGED, True),
        ("forward.pictures_ignored", Verdict.BROKEN, False),
    ]
    assert right.wrong[1].error == "E: no"
    assert wrong.wrong[0].finding == "forward.loss"
    assert [(m.finding, m.verdict, m.standing) for m in wrong.moved] == [
        ("forward.loss", Verdict.WORSE, "broke")
    ]


def test_a_row_is_called_as_its_file() -> None:
    moved = Moved("forward.loss", "forward", Verdict.WORSE, red=True)
    place = ("training:/a/b/train.py:make", "", "cpu")
    left = CellEntry("latest", *place, "1", State.MEASURED, versions={"trl": "1.0.0"})
    here = replace(left, key="2", moved=(moved,), versions={"trl": "1.1.0"})
    models = ("tiny:qwen2_vl", "training:/a/b/train.py:make")
    table = Table(("latest",), models, ("reference", "warmup"), ("cpu",), ("forward",), (here,))
    assert row_name(here, table) == "train.py:make"
    assert table.size == "1 stack × 1 model and 1 training × 2 recipes"
    assert "Family or training" in str(grid(table))
    assert "--training /a/b/train.py:make --metric forward.loss" in bisect_command(here, left)
