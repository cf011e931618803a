"""For which records a golden holds, word by word as its docstring says it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.judging.goldens.golden import ANY_FAMILY, Golden
from harness.judging.goldens.judgement import Facts
from harness.judging.goldens.scope import applies, holding, holds
from suites.selftest.verdicts import golden

STAND_IN = Facts("reference", "stand-in", "catalogue", "cpu-x", "stand-in", "qwen2_vl", "r")
GEMMA = replace(STAND_IN, model="stand-in:gemma3", family="gemma3")
REAL = replace(STAND_IN, model="org/name", vocabulary="real")
OWN = replace(STAND_IN, data="rows", data_digest="d")


def of(model: str = "any", **changes: object) -> Golden:
    return golden(1.0, model=model, **changes)


@pytest.mark.parametrize(
    ("wish", "facts", "wanted"),
    [
        (of("any"), STAND_IN, True),
        (of("any"), REAL, True),
        (of("any"), GEMMA, False),
        (of("any", family=ANY_FAMILY), GEMMA, True),
        (of("stand-in"), STAND_IN, True),
        (of("stand-in"), REAL, False),
        (of("stand-in", family="gemma3"), GEMMA, True),
        (of("real-vocabulary"), REAL, True),
        (of("real-vocabulary"), STAND_IN, False),
        (of("org/name"), REAL, True),
        (of("org/other"), REAL, False),
        (of("org/name"), STAND_IN, False),
        (of(recipes={"reference": "r"}), STAND_IN, True),
        (of(recipes={"same-order": "q"}), STAND_IN, False),
        (of(), OWN, True),
        (of(data="catalogue"), STAND_IN, True),
        (of(data="catalogue"), OWN, False),
        (of(data="d"), OWN, True),
        (of(data="e"), OWN, False),
    ],
)
def test_a_golden_holds_for_its_model_family_recipe_and_data(
    wish: Golden, facts: Facts, wanted: bool
) -> None:
    assert applies(wish, facts) is wanted


@pytest.mark.parametrize("changed", ["device_key", "stack", "model"])
def test_an_observed_number_is_of_one_device_stack_and_model(changed: str) -> None:
    where = {"device_key": "cpu-x", "stack": "reference", "model": "stand-in"}
    observed = golden(1.0, kind="observed", **where)
    assert applies(observed, STAND_IN)
    assert not applies(replace(observed, **{changed: "other"}), STAND_IN)


def test_a_truth_of_any_family_gives_way_to_the_familys_own() -> None:
    own, general = of(), of(family=ANY_FAMILY)
    other = replace(general, metric="plain_loss")
    assert list(holding([general, own, other], STAND_IN)) == [own, other]
    # A family without one of its own has the general one.
    assert list(holding([general, own, other], GEMMA)) == [general, other]
    observed = replace(own, kind="observed", device_key="cpu-x", stack="reference")
    observed = replace(observed, model="stand-in", metric="plain_loss")
    assert list(holding([other, observed], STAND_IN)) == [other, observed]


@pytest.mark.parametrize(
    ("when", "where"),
    [
        ("always", {"stand-in", "gemma", "real", "own", "cuda"}),
        ("cpu", {"stand-in", "gemma", "real", "own"}),
        ("cuda", {"cuda"}),
        ("stand-in", {"stand-in", "gemma", "own", "cuda"}),
        ("other-model", {"real"}),
        ("real-vocabulary", {"real"}),
        ("catalogue", {"stand-in", "gemma", "real", "cuda"}),
        ("own-data", {"own"}),
        ("cpu+catalogue", {"stand-in", "gemma", "real"}),
        ("cuda+own-data", set()),
    ],
)
def test_an_expectation_holds_where_all_its_words_do(when: str, where: set[str]) -> None:
    places = {
        "stand-in": STAND_IN,
        "gemma": GEMMA,
        "real": REAL,
        "own": OWN,
        "cuda": replace(STAND_IN, device_key="cuda-nvidia-h200"),
    }
    assert {name for name, facts in places.items() if holds(when, facts)} == where
