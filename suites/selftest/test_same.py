"""The committed comparisons of a stack with itself: drawn before, whole, silent, and as the page
says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from harness.records.folders import GOLDEN
from harness.records.record import RUNGS, Record
from suites.same import record
from suites.same.__main__ import _commits
from suites.same.circumstances import KERNELS, LADDER, LOCALES, STACKS, ZONES, drawn
from suites.selftest.verdicts import record as a_record

LEAST = 100


def committed() -> list[record.Same]:
    return [record.read(path) for path in sorted((GOLDEN / "power").glob("*/same.json"))]


@pytest.mark.parametrize("same", committed(), ids=lambda same: same.device_key)
def test_a_hundred_comparisons_of_a_stack_with_itself_raise_no_alarm(same: record.Same) -> None:
    assert len(same.compared) >= LEAST
    assert [one for one in same.compared if one.alarms or one.exit_code] == []
    assert same.alarms == 0
    # A comparison of nothing would be silent too.
    assert min(one.values for one in same.compared) > 0


@pytest.mark.parametrize("same", committed(), ids=lambda same: same.device_key)
def test_what_was_measured_was_drawn_from_the_seed_and_nothing_is_left_out(
    same: record.Same,
) -> None:
    """What was not measured for want of time is named on the page."""
    assert same.circumstances == tuple(one for one in drawn(same.seed) if one in same.circumstances)
    missing = [one.name for one in drawn(same.seed) if one not in same.circumstances]
    assert all(name in record.section(same) for name in missing)
    pairs = [(one.old, one.new) for one in same.compared]
    assert tuple(pairs) == record.sharing(same.circumstances)


@pytest.mark.parametrize("same", committed(), ids=lambda same: same.device_key)
def test_the_page_is_the_one_of_the_record(same: record.Same) -> None:
    assert record.section(same) in record.PAGE.read_text(encoding="utf-8")


def test_every_circumstance_is_tried_on_every_stack() -> None:
    for stack in STACKS:
        of = [one for one in drawn() if one.stack == stack]
        assert {one.zone for one in of} == {*ZONES}
        assert {one.kernels for one in of} == {*KERNELS}
        assert {one.threads for one in of} == {1, 2}
        assert len({one.locale for one in of}) == len(LOCALES)
        assert len({one.hash_seed for one in of}) == len(of)
        # Orders and parts of the ladder, the whole of it among them.
        assert Counter(one.rungs for one in of)[LADDER] >= 1
        assert {rung for one in of for rung in one.rungs} == {*RUNGS[1:11], "cost"}


def test_what_shares_no_rung_or_no_stack_is_not_compared() -> None:
    first, *others = drawn()
    texts = replace(first, number=1, rungs=("text", "ids"))
    model = replace(first, number=2, rungs=("model",))
    ids = replace(first, number=3, rungs=("ids",))
    other = replace(ids, stack="latest", number=4)
    assert record.sharing((texts, model, ids, other)) == ((texts.name, ids.name),)
    assert others


def test_an_alarm_is_counted_named_and_on_the_page() -> None:
    (same, *_) = committed()
    one = same.compared[0]
    loud = replace(one, alarms=("forward.loss",), exit_code=1)
    changed = replace(same, compared=(loud, *same.compared[1:]))
    assert changed.alarms == 1
    assert f"- {one.old} → {one.new}: forward.loss" in record.section(changed)
    missing = replace(same, compared=(replace(one, exit_code=3), *same.compared[1:]))
    assert missing.alarms == 1


def test_the_page_takes_a_machines_section_anew_in_the_place_of_its_old_one() -> None:
    page = "# A page\n\nText.\n"
    first = committed()[0]
    other = replace(first, device_key="cpu-other")
    once = record.on_page(page, first)
    assert once == f"{page}\n{record.section(first)}\n"
    both = record.on_page(once, other)
    assert both == f"{once}\n{record.section(other)}\n"
    anew = replace(first, seed=first.seed + 1)
    assert record.on_page(both, anew) == both.replace(record.section(first), record.section(anew))


@pytest.mark.parametrize(
    ("commits", "sentence"),
    [
        ({"abc": 22}, "All measured at abc."),
        ({"abc": 20, "abc+": 2}, "Measured at abc (reference-00, "),
        ({"abc": 1}, "; of the other 21 no commit was kept, and they are of several: not one"),
    ],
)
def test_the_page_says_which_code_was_measured(commits: dict[str, int], sentence: str) -> None:
    (same, *_) = committed()
    names = [one.name for one in same.circumstances]
    assert len(names) == 22
    of, begin = {}, 0
    for commit, count in commits.items():
        of[commit] = tuple(names[begin : begin + count])
        begin += count
    changed = replace(same, commits=of)
    assert sentence in record.measured_at(changed)
    assert record.measured_at(changed) in record.section(changed)
    assert ("not one code" in record.measured_at(changed)) is (commits != {"abc": 22})


def test_each_record_is_of_its_own_commit() -> None:
    """A measurement that was interrupted by a commit has records of two."""

    def of(*commits: str) -> dict[str, Record]:
        rungs = zip(("text", "ids"), commits, strict=False)
        return {rung: a_record(rung, commit=commit) for rung, commit in rungs}

    records = {"a": of("one", "one"), "b": of("two"), "c": of("one", "two")}
    assert _commits(records) == {"one": ("a", "c"), "two": ("b", "c")}
