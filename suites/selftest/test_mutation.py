"""The faults that are planted in the judge's own code, and what the last run of them left."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from harness.records.files import write_json
from suites.mutation import covering, page, results, sample
from suites.mutation.covering import Covering
from suites.mutation.ours import planted
from suites.mutation.results import Fault, Outcome, Summary
from suites.mutation.sample import Part, Sample
from suites.mutation.swapped import alive, swap, swapped
from suites.mutation.targets import ROOT, TARGETS, TESTS

LEAST = 0.9


def faults(source: str, operator: str) -> list[str]:
    return [changed for name, _, changed in planted(source) if name == operator]


@pytest.mark.parametrize(
    ("operator", "source", "wanted"),
    [
        (
            "WithoutOperand",
            "a and b and c",
            ["((b) and (c))", "((a) and (c))", "((a) and (b))"],
        ),
        ("WithoutOperand", "x = é or\\\n b", ["x = ((b))", "x = ((é))"]),
        ("NeverTaken", "if a:\n    b()", ["if False:\n    b()"]),
        ("OtherArm", "a if b else c", ["a if (not (b)) else c"]),
        ("Membership", "a not in b", ["(not (a not in b))"]),
        (
            "Unfiltered",
            "[x for x in y if x if z]",
            ["[x for x in y if True if z]", "[x for x in y if x if True]"],
        ),
        ("NotCalled", "a()\nb = c()", ["pass\nb = c()"]),
        ("Uncaught", "try:\n    a\nexcept x.Y:\n    b", ["try:\n    a\nexcept ():\n    b"]),
        ("AnyForAll", "any(max(a))", ["all(max(a))", "any(min(a))"]),
    ],
)
def test_a_fault_is_one_change(operator: str, source: str, wanted: list[str]) -> None:
    assert faults(source, operator) == wanted


SOURCE = """
LIMIT = 3
class Some:
    @property
    def less(self):
        return self.value < LIMIT
def more(value=2):
    return value > LIMIT
"""


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("self.value <", "self.value <=", {"Some.less"}),
        ("return value >", "return value >=", {"more"}),
        ("= 3", "= 4", None),
        ("value=2", "value=3", None),
    ],
)
def test_a_fault_in_a_function_replaces_its_code_alone(
    old: str, new: str, names: set[str] | None
) -> None:
    """A constant and a default are of their module's own lines, which run when it is imported."""
    codes = swapped("some.py", SOURCE, SOURCE.replace(old, new))
    assert (codes and {name for name, _ in codes}) == names


def test_a_property_is_replaced_where_it_is() -> None:
    room: dict[str, Any] = {}
    exec(compile(SOURCE, "some.py", "exec"), room)
    some = room["Some"]()
    some.value = 3
    assert not some.less
    codes = swapped("some.py", SOURCE, SOURCE.replace("self.value <", "self.value <="))
    assert codes
    assert swap(alive()["some.py"], codes) == 1
    assert some.less


def test_every_module_and_test_file_that_is_named_is_there() -> None:
    assert [path for path in (*TARGETS, *TESTS) if not (ROOT / path).is_file()] == []


def test_the_committed_sample_is_the_one_that_its_seed_draws() -> None:
    """Nobody chose its faults; of a module that has changed since nothing can be said."""
    drawn = sample.read()
    again = {name: sample.half_of(drawn.seed, drawn.one_in, *name) for name in names(drawn)}
    for name, part in drawn.modules.items():
        for half in sample.HALVES:
            assert {again[name, fault] for fault in getattr(part, half)} <= {half}
    assert {*drawn.modules} == {*TARGETS}
    # One in so many, within four standard deviations.
    planted = sum(part.planted for part in drawn.modules.values())
    expected = planted / drawn.one_in
    assert abs(len(again) - expected) < 4 * expected**0.5


def names(drawn: Sample) -> list[tuple[str, str]]:
    return [
        (name, fault) for name, part in drawn.modules.items() for fault in part.first + part.second
    ]


def test_a_sample_has_every_fault_in_one_half_or_in_none() -> None:
    halves = [sample.half_of(7, 3, "module.py", f"AddNot:{n}") for n in range(3000)]
    counts = Counter(halves)
    assert set(counts) == {"first", "second", None}
    for half, share in {"first": 500, "second": 500, None: 2000}.items():
        assert abs(counts[half] - share) < 4 * share**0.5
    assert halves != [sample.half_of(8, 3, "module.py", f"AddNot:{n}") for n in range(3000)]


def test_no_more_of_the_sample_was_tried_than_was_drawn() -> None:
    """Of modules that changed on the way the sample was drawn anew, by the same seed."""
    drawn, trials = sample.read(), results.committed()
    for half in {*sample.HALVES} & {*trials}:
        for name, module in trials[half].items():
            if module.digest == drawn.modules[name].digest:
                assert module.faults <= len(getattr(drawn.modules[name], half))


def test_what_is_tried_first_of_a_sample_is_spread_over_the_modules() -> None:
    """Where time ends, what was tried is a sample too: forty of some thirty modules' are of twelve
    at least, where one module after the other would be five."""
    drawn = sample.read()
    order = sorted(names(drawn), key=lambda name: sample.number_of(drawn.seed, *name))
    assert len({module for module, _ in order[:40]}) >= 12


def test_nine_in_ten_faults_that_nobody_chose_are_noticed() -> None:
    """Of a half that was tried for the first time after the tests for the other were written."""
    trials = results.committed()
    faults, killed = page.counts(trials[page.SECOND])
    drawn = sum(len(part.second) for part in sample.read().modules.values())
    # Modules that changed on the way have some more or fewer.
    assert faults > 0.95 * drawn
    assert killed >= LEAST * faults


@pytest.mark.parametrize(
    ("tried", "again"),
    [((page.EARLIER, page.ONE, page.OTHER), page.LEFT), ((page.FIRST,), page.AGAIN)],
)
def test_nine_in_ten_faults_of_each_sample_are_noticed_today(
    tried: tuple[str, ...], again: str
) -> None:
    """With what is noticed of those that none noticed then."""
    trials = results.committed()
    counts = [page.counts(trials[name]) for name in tried]
    faults, then = (sum(of) for of in zip(*counts, strict=True))
    left, since = page.counts(trials[again])
    # Named by what they change, so that one of two alike is tried for both.
    assert left >= 0.95 * (faults - then)
    assert left - since <= (1 - LEAST) * faults


def test_every_fault_that_may_stay_has_a_reason() -> None:
    reasons = results.reasons()
    without = [
        (name, fault.line, results.spelled(fault))
        for name, fault in page.left(results.committed())
        if results.spelled(fault) not in reasons.get(name, {})
    ]
    assert without == []


def test_the_page_is_the_one_of_the_last_run() -> None:
    text = page.page(sample.read(), results.committed(), results.reasons())
    assert page.PAGE.read_text(encoding="utf-8") == text


def test_the_page_counts_and_says_why() -> None:
    name = "harness/errors.py"
    fault = Fault("AddNot", 3, 49, "if a:", "if not a:", Outcome.SURVIVED)
    drawn = Sample(5, 2, "2026-11-30T02:00:00", {name: Part("d", 9, tuple("abcd"), ())})
    trials = {"first": {name: Summary("d", 9, 4, 3, (fault,))}}
    text = page.page(drawn, trials, {name: {"if a: → if not a:": "because"}})
    assert "One in 2 of the 9 faults in 1 modules, drawn from seed 5 on 2026-11-30" in text
    assert "3 of 4 faults were noticed by a test: 75.0%\n" in text
    assert f"| `{name}` | 9 | 3 of 4 |" in text
    assert "- line 49, `if a:` → `if not a:`: because" in text
    assert "a test is wanted" in page.page(drawn, trials, {})
    # What is noticed since is no survivor any more.
    noticed = {**trials, "again": {name: Summary("d", 9, 1, 1, ())}}
    assert "line 49" not in page.page(drawn, noticed, {})


def test_the_page_says_how_much_of_a_half_was_tried() -> None:
    name = "harness/errors.py"
    drawn = Sample(5, 2, "2026-11-30T02:00:00", {name: Part("d", 9, ("a:1", "b:1", "c:1"), ())})
    trials = {"first": {name: Summary("d", 9, 2, 2, ())}}
    wanted = "100.0%; 3 were drawn (where time ends, the first in the order of the draw are tried"
    assert wanted in page.page(drawn, trials, {})
    assert "none of the 3 that were drawn was tried yet" in page.page(drawn, {}, {})
    trials = {"first": {name: Summary("d", 9, 3, 3, ())}}
    assert "in the order of the draw" not in page.page(drawn, trials, {})


def test_a_fault_that_two_trials_left_is_listed_once() -> None:
    name = "harness/errors.py"
    fault = Fault("AddNot", 3, 49, "if a:", "if not a:", Outcome.SURVIVED)
    one = {name: Summary("d", 9, 1, 0, (fault,))}
    assert list(page.left({"earlier": one, "first": one})) == [(name, fault)]


def test_an_earlier_sample_stays_beside_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results.json")
    earlier = {"harness/errors.py": Summary("d", 9, 1, 1, ())}
    write_json(results.RESULTS, {"earlier": {n: asdict(m) for n, m in earlier.items()}})
    results.publish({"first": {}})
    assert results.committed() == {"earlier": earlier, "first": {}}


def test_what_is_imported_is_tried_with_all_that_read_it() -> None:
    """A constant is read by tests that run no line of its module; a line that ran when tests were
    collected gave them what they hold."""
    named = "suites/selftest/test_mutation.py"
    lines = {module: {"0": ()} for module in TARGETS}
    module = "harness/errors.py"
    lines[module] = {"0": ("a.py::x", "b.py::y"), "5": ("a.py::x",), "6": ("a.py::x",)}
    early = {**dict.fromkeys(TARGETS, ()), module: (6,)}
    seconds = {"a.py::x": 1.0, "b.py::y": 2.0, f"{named}::z": 0.5}
    kept = Covering(lines, early, seconds)

    def tests(line: int, *, imported: bool) -> set[str]:
        return {t for file in kept.tests(module, line, imported=imported) for t in file}

    with pytest.MonkeyPatch.context() as patch:
        names = {named: True}
        patch.setattr(covering, "_names", lambda file, module: names.get(file, False))
        assert tests(5, imported=False) == tests(5, imported=True) == {"a.py::x"}
        assert tests(6, imported=False) == {"a.py::x"}
        assert tests(6, imported=True) == {*seconds}
        assert tests(1, imported=True) == {*seconds}
        assert tests(1, imported=False) == set()
    assert kept.is_early(module, 6)
    assert not kept.is_early(module, 5)
