"""A cell is wrong against the truth, or moved from its left neighbour, at the first such rung."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BadInput, Damaged
from harness.judging.compare.comparison import Comparison
from harness.judging.compare.predicates import Predicate
from harness.judging.compare.register import Change
from harness.judging.goldens.bands import Bands
from harness.judging.goldens.expected import Expected
from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.judging.matrix import judge as judging
from harness.judging.matrix.cells import Cell
from harness.judging.matrix.judge import Yardstick, judged_cells
from harness.judging.matrix.kept import Kept, Outcome, State
from harness.judging.matrix.table import CellEntry, Table, read_table, write_table
from harness.records.record import Verdict
from suites.selftest.cells import cell, measure, prepared, scripted

# Worked out by nobody: one value that is right where it is 1.
TRUTH = Golden("ids", "qwen2_vl", "value", "truth", "this test", "it is one", {"a": 1.0})
NONE = Bands({}, {})


def judged(
    folder: Path,
    values: dict[str, float],
    *,
    truths: tuple[Golden, ...] = (TRUTH,),
    register: tuple[Change, ...] = (),
    accepted: frozenset[str] = frozenset(),
    lost: dict[str, State] | None = None,
) -> tuple[CellEntry, ...]:
    """The entries of one row: the value of every stack, from left to right."""
    cells = [cell(stack) for stack in (lost or {}) | values]
    for each in (c for c in cells if c.stack.text in values):
        prepared(folder, each, values[each.stack.text])
    kept = Kept(folder / "kept")
    outcomes = measure(folder, [c for c in cells if c.stack.text in values], scripted(folder))
    by_key = {
        c.key: Outcome(lost[c.stack.text], "why") for c in cells if c.stack.text in (lost or {})
    }
    yardstick = Yardstick(truths, NONE, register, accepted)
    order = {stack: i for i, stack in enumerate(sorted((lost or {}) | values))}
    cells.sort(key=lambda each: order[each.stack.text])
    return judged_cells(cells, outcomes | by_key, kept, yardstick)


def table(*entries: CellEntry) -> Table:
    stacks = tuple(dict.fromkeys(entry.stack for entry in entries))
    models = tuple(dict.fromkeys(entry.model for entry in entries))
    return Table(stacks, models, ("reference",), ("cpu",), ("text", "ids"), entries)


def test_right_and_the_same(tmp_path: Path) -> None:
    one, two = judged(tmp_path, {"a": 1.0, "b": 1.0})
    assert (one.right, one.wrong, one.left, one.moved) == (1, (), "", ())
    assert (two.right, two.wrong, two.left, two.moved, two.same) == (1, (), "a", (), 2)
    assert [entry.trains for entry in (one, two)] == ["rightly", "rightly"]
    assert one.measured == "2026-11-29"
    whole = table(one, two)
    assert whole.exit_code == 0
    assert whole.headline == "2 stacks × 1 model: 2 of 2 cells right."


def test_wrong_at_the_rung_of_its_truth_and_moved_at_the_first_rung(tmp_path: Path) -> None:
    right, wrong, still = judged(tmp_path, {"a": 1.0, "b": 2.0, "c": 2.0})
    assert right.trains == "rightly"
    # The value moved on both rungs; only the second has a truth.
    assert (wrong.first_wrong, wrong.first_moved) == ("ids", "text")
    assert wrong.wrong[0].truth == 1.0
    assert wrong.wrong[0].value == 2.0
    assert {m.finding: m.standing for m in wrong.moved} == {
        "text.value.a": "",
        "ids.value.a": "broke",
    }
    # Wrong as before is no move.
    assert (still.first_wrong, still.first_moved) == ("ids", "")
    assert [table(e).exit_code for e in (right, wrong, still)] == [0, 1, 1]


def test_a_fix_is_no_alarm(tmp_path: Path) -> None:
    truths = tuple(
        Golden(r, "qwen2_vl", "value", "truth", "t", "r", {"a": 1.0}) for r in ("text", "ids")
    )
    wrong, mended = judged(tmp_path, {"a": 2.0, "b": 1.0}, truths=truths)
    assert [(m.verdict, m.red) for m in mended.moved] == [(Verdict.IMPROVED, False)] * 2
    assert table(mended).exit_code == 0
    assert table(wrong, mended).exit_code == 1


def test_a_move_is_explained_by_the_register_only(tmp_path: Path) -> None:
    words = ("known", "A title", "transformers", "1.0", "2.0", "", "cosmetic", "", "", "")
    change = Change(*words, (Predicate("text.value", most=2.0),))
    _, moved = judged(tmp_path, {"a": 1.0, "b": 2.0}, truths=(), register=(change,))
    assert [m.changes for m in moved.moved] == [("known",), ()]
    assert [m.severity for m in moved.moved] == ["cosmetic", "unknown"]


def test_what_is_accepted_raises_no_code_and_stays(tmp_path: Path) -> None:
    accepted = frozenset({"text.value.a", "ids.value.a"})
    right, wrong = judged(tmp_path, {"a": 1.0, "b": 2.0}, accepted=accepted)
    assert [m.finding for m in wrong.moved] == ["text.value.a", "ids.value.a"]
    assert table(right, wrong).exit_code == 0


def test_the_neighbour_is_the_nearest_that_was_measured(tmp_path: Path) -> None:
    lost = {"b": State.NOT_RUN, "c": State.UNBUILT}
    entries = judged(tmp_path, {"a": 1.0, "d": 1.0}, lost=lost)
    assert [(e.state, e.left) for e in entries] == [
        (State.MEASURED, ""),
        (State.NOT_RUN, ""),
        (State.UNBUILT, ""),
        (State.MEASURED, "a"),
    ]
    assert [e.trains for e in entries] == ["rightly", "does not run", "", "rightly"]


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.NOT_RUN, 0),
        (State.DIED, 3),
        (State.UNBUILT, 3),
        (State.PENDING, 3),
        (State.REFUSED, 3),
    ],
)
def test_a_cell_that_is_missing_is_never_green(tmp_path: Path, state: State, code: int) -> None:
    """That a stack cannot train a family is an answer; that nobody knows is none."""
    entries = judged(tmp_path, {"a": 1.0}, lost={"b": state})
    assert table(*entries).exit_code == code


def test_a_row_that_runs_nowhere_and_a_matrix_without_a_truth_are_never_green(
    tmp_path: Path,
) -> None:
    (alone,) = judged(tmp_path / "x", {"a": 1.0}, truths=())
    assert alone.trains == ""
    assert table(alone).exit_code == 3
    entries = judged(tmp_path / "y", {}, lost={"a": State.NOT_RUN})
    assert table(*entries).exit_code == 3


def test_a_comparison_is_drawn_where_something_moved(tmp_path: Path) -> None:
    drawn: list[str] = []

    def draw(comparison: Comparison) -> bytes:
        drawn.append(comparison.new)
        return b"<html>"

    cells: list[Cell] = [cell(stack) for stack in "abc"]
    for each, value in zip(cells, (1.0, 1.0, 2.0), strict=True):
        prepared(tmp_path, each, value)
    outcomes = measure(tmp_path, cells, scripted(tmp_path))
    kept = Kept(tmp_path / "kept")
    yardstick = Yardstick((TRUTH,), NONE, (), digest="this")
    name = f"pages/{cells[2].key}.html"
    first = judged_cells(cells, outcomes, kept, yardstick, draw, tmp_path / "one")
    assert drawn == ["c"]
    assert [entry.page for entry in first] == ["", "", name]
    assert (tmp_path / "one" / name).read_bytes() == b"<html>"
    # What was judged is taken as it is, and nothing is read for it, unless something else decides.
    for each in cells:
        (kept.folder(each) / "text.json").write_text("broken")
    again = judged_cells(cells, outcomes, kept, yardstick, draw, tmp_path / "two")
    assert again == first
    assert drawn == ["c"]
    assert (tmp_path / "two" / name).read_bytes() == b"<html>"
    with pytest.raises(BadInput, match=r"text\.json"):
        judged_cells(cells, outcomes, kept, Yardstick((TRUTH,), NONE, (), digest="other"))


def test_a_document_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    whole = table(*judged(tmp_path, {"a": 1.0, "b": 2.0}))
    write_table(whole, tmp_path)
    assert read_table(tmp_path) == whole
    path = tmp_path / "matrix.json"
    path.write_text(path.read_text().replace('"b"', '"c"'))
    with pytest.raises(Damaged, match=str(path)):
        read_table(tmp_path)


def test_what_a_committed_stack_is_listed_with_is_known_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of that size: another value of the same metric is not the one that is listed."""

    def listed(stack: str, **which: str) -> tuple[Expected, ...]:
        wish = Expected(
            "ids.value.a",
            "CHANGED",
            "it doubles",
            value=2.0,
            band=Band(BandKind.ABSOLUTE, 0.1, "r"),
        )
        return (wish,) if stack == "latest" else ()

    monkeypatch.setattr(judging, "read_expected", listed)
    right, known, wrong = judged(tmp_path, {"a": 1.0, "b": 2.0, "c": 3.0})
    assert [entry.trains for entry in (right, known, wrong)] == ["rightly", "as listed", "wrongly"]
    assert known.wrong[0].reason == "it doubles"
    assert wrong.wrong[0].reason == TRUTH.reason
    assert right.wrong == ()
