"""The faults that are planted in the judge's own code, and what the last run of them left."""

from __future__ import annotations

from typing import Any

import pytest

from suites.mutation import results
from suites.mutation.ours import planted
from suites.mutation.results import Fault, Outcome, Summary
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


def test_nine_in_ten_faults_of_the_last_run_were_noticed() -> None:
    modules = results.committed()
    assert modules.keys() <= {*TARGETS}
    faults = sum(module.faults for module in modules.values())
    assert sum(module.killed for module in modules.values()) >= LEAST * faults


def test_every_fault_that_may_stay_has_a_reason() -> None:
    reasons = results.reasons()
    without = [
        (name, fault.line, results.spelled(fault))
        for name, module in results.committed().items()
        for fault in module.left
        if results.spelled(fault) not in reasons.get(name, {})
    ]
    assert without == []


def test_the_page_is_the_one_of_the_last_run() -> None:
    page = results.page(results.committed(), results.reasons())
    assert results.PAGE.read_text(encoding="utf-8") == page


def test_the_page_counts_and_says_why() -> None:
    fault = Fault("AddNot", 3, 49, "if a:", "if not a:", Outcome.SURVIVED)
    modules = {"harness/errors.py": Summary("d", 9, 4, 3, (fault,))}
    page = results.page(modules, {"harness/errors.py": {"if a: → if not a:": "because"}})
    assert "3 of 4 faults were noticed by a test: 75.0%, a sample of 9" in page
    assert "- line 49, `if a:` → `if not a:`: because" in page
    assert "a test is wanted" in results.page(modules, {})
