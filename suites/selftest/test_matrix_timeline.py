"""A metric over the stacks steps where its values do, and each step is explained or a question."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.judging.compare.predicates import Predicate
from harness.judging.compare.register import Change
from harness.judging.goldens.bands import Allowed, Bands
from harness.judging.goldens.golden import Band, BandKind
from harness.judging.matrix.cells import Cell
from harness.judging.matrix.divisive import changes, scaled
from harness.judging.matrix.judge import Yardstick
from harness.judging.matrix.kept import Kept, Outcome, State
from harness.judging.matrix.table import Timeline
from harness.judging.matrix.timeline import rung_of, timelines
from harness.records.record import Metric, Record, write_record
from suites.selftest.cells import RUNGS, cell, measure, record, scripted

DAYS = {"transformers": {"2.0": "2026-01-02", "3.0": "2026-02-03"}}


def days(package: str) -> Mapping[str, str]:
    return DAYS.get(package, {})


def lines(
    folder: Path, metrics: dict[str, Metric], yardstick: Yardstick, lost: str = ""
) -> Timeline:
    """The timeline of `text.value.a` over stacks of a release each."""
    cells: list[Cell] = [cell(stack) for stack in metrics]
    for each in cells:
        for rung in RUNGS:
            whole = record(rung, each.stack.label, each.model, 1.0)
            own = metrics[each.stack.text] if rung == "text" else whole.metrics[0]
            write_record(Record(rung, whole.provenance, (own,)), folder / "sources" / each.key)
    kept = Kept(folder / "kept")
    outcomes = measure(folder, [c for c in cells if c.stack.text != lost], scripted(folder))
    if lost:
        outcomes[cell(lost).key] = Outcome(State.NOT_RUN, "needs another")
    (line,) = timelines(["text.value.a"], cells, outcomes, kept, yardstick, days)
    return line


def exact(*values: float) -> dict[str, Metric]:
    return {"abcdefgh"[i]: Metric("text", "value", "a", value) for i, value in enumerate(values)}


PLAIN = Yardstick((), Bands({}, {}), ())


def test_exact_values_step_where_they_differ(tmp_path: Path) -> None:
    line = lines(tmp_path, exact(1.0, 2.0, 2.0, 1.0), PLAIN)
    assert [point.value for point in line.points] == [1.0, 2.0, 2.0, 1.0]
    assert [(s.before, s.after, s.old, s.new) for s in line.steps] == [
        ("a", "b", 1.0, 2.0),
        ("c", "d", 2.0, 1.0),
    ]
    # One library differs: it is its release, of that day; of another the registry said nothing.
    assert [(s.library, s.release, s.released) for s in line.steps] == [
        ("transformers", "2.0", "2026-01-02"),
        ("transformers", "4.0", ""),
    ]
    assert {s.changes for s in line.steps} == {()}


def test_within_the_band_there_is_no_step(tmp_path: Path) -> None:
    allowed = Allowed(Band(BandKind.ABSOLUTE, 0.1, "rounding"), "rounding")
    yardstick = Yardstick((), Bands({"text.value": allowed}, {}), ())
    line = lines(tmp_path, exact(1.0, 1.05, 1.3), yardstick)
    assert [(s.before, s.after) for s in line.steps] == [("b", "c")]


def test_a_step_is_explained_by_the_register(tmp_path: Path) -> None:
    words = ("known", "A title", "transformers", "1.0", "2.0", "", "cosmetic", "", "", "")
    change = Change(*words, (Predicate("text.value", most=1.5),))
    line = lines(tmp_path, exact(1.0, 2.0, 5.0), Yardstick((), Bands({}, {}), (change,)))
    assert [(s.changes, s.library, s.release) for s in line.steps] == [
        (("known",), "transformers", "2.0"),
        ((), "transformers", "3.0"),
    ]


def test_a_stack_without_a_value_says_why_and_is_stepped_over(tmp_path: Path) -> None:
    line = lines(tmp_path, exact(1.0, 9.0, 2.0), PLAIN, lost="b")
    assert [(p.value, p.why) for p in line.points] == [
        (1.0, ""),
        (None, "needs another"),
        (2.0, ""),
    ]
    assert [(s.before, s.after) for s in line.steps] == [("a", "c")]


def test_noisy_values_step_where_their_distribution_does(tmp_path: Path) -> None:
    dice = np.random.default_rng(7)
    centres = (1.0, 1.0, 1.0, 1.4, 1.4, 1.4)
    noisy = {
        "abcdef"[i]: Metric(
            "text", "value", "a", c, "s", samples=tuple(dice.normal(c, 0.02, 6)), volatile=True
        )
        for i, c in enumerate(centres)
    }
    line = lines(tmp_path, noisy, PLAIN)
    assert line.noisy
    assert [(s.before, s.after, s.how) for s in line.steps] == [("c", "d", "E-divisive")]
    assert line.steps[0].old == pytest.approx(1.0, abs=0.05)
    assert line.steps[0].new == pytest.approx(1.4, abs=0.05)


def test_a_metric_that_no_cell_has_is_refused(tmp_path: Path) -> None:
    cells = [cell("a")]
    with pytest.raises(BadInput, match=r"No cell has a value of text\.nothing"):
        timelines(["text.nothing"], cells, {}, Kept(tmp_path), PLAIN, days)
    for bad in ("text", "nowhere.value", ""):
        with pytest.raises(BadInput, match="is not RUNG"):
            rung_of(bad)


# E-divisive, by its definition.
def energy(x: list[float], y: list[float]) -> float:
    """mn/(m+n) of 2 E|X-Y| - E|X-X'| - E|Y-Y'|, each mean over all pairs, one by one."""
    m, n = len(x), len(y)
    across = sum(abs(a - b) for a in x for b in y) / (m * n)
    within = [
        sum(abs(a - b) for i, a in enumerate(z) for b in z[:i]) * 2 / (len(z) * (len(z) - 1))
        for z in (x, y)
    ]
    return m * n / (m + n) * (2 * across - sum(within))


@given(
    st.lists(st.floats(-100, 100), min_size=2, max_size=6),
    st.lists(st.floats(-100, 100), min_size=2, max_size=6),
)
def test_the_distance_is_as_defined(x: list[float], y: list[float]) -> None:
    values = np.asarray([*x, *y])
    distances = np.abs(values[:, None] - values[None, :])
    sums = np.zeros((len(values) + 1, len(values) + 1))
    sums[1:, 1:] = distances.cumsum(axis=0).cumsum(axis=1)
    assert scaled(sums, 0, len(x), len(values)) == pytest.approx(energy(x, y), abs=1e-9)


def test_changes_are_where_they_were_planted() -> None:
    dice = np.random.default_rng(3)
    values = [*dice.normal(0, 1, 12), *dice.normal(8, 1, 12), *dice.normal(0, 1, 12)]
    assert changes([[float(v)] for v in values]) == (12, 24)


def test_noise_alone_is_rarely_a_change() -> None:
    """At 95 % one series in twenty shows one; of forty more than six would in 0.3 % of all
    cases."""
    dice = np.random.default_rng(5)
    alarms = sum(bool(changes([[float(v)] for v in dice.normal(0, 1, 12)])) for _ in range(40))
    assert alarms <= 6


def test_nothing_changes_within_a_release() -> None:
    """Two samples of each differ as much as they like: a release is one thing."""
    assert changes([[0.0, 9.0], [0.0, 9.0], [0.0, 9.0], [0.0, 9.0]]) == ()
    with pytest.raises(ValueError, match="no value"):
        changes([[1.0], []])
    assert changes([]) == ()
    assert changes([[1.0]]) == ()
    assert changes([[1.0]] * 8) == ()
