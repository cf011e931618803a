"""Each variant of the recipe: what it changes is what its truths say, and nothing else is red.

The fast rungs that a variant changes, on the model in use; and, slow, the whole command, training
and generation among it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.judgement import RED, Judgement, facts_of
from harness.judging.goldens.own import goldens_for
from harness.judging.goldens.verdicts import judge
from harness.measuring.child.job import measure
from harness.measuring.child.own_truths import leave_own_truths
from harness.measuring.probes import cost
from harness.pytest_plugin import assert_no_unexpected
from harness.recipe.published import VARIANTS, variant
from harness.records.context import Context
from harness.records.record import Record, write_record
from suites.commands import Command

# What of the fast rungs a variant may change. The others, and the published recipe, have suites of
# their own.
TEXTS = ("text", "ids", "labels", "inputs", "forward", "backward", "update", "cost")
FAST: Mapping[str, tuple[str, ...]] = {
    "same-order": ("text", "forward"),
    "warmup": ("update",),
    "mask-prompt": ("labels", "forward", "backward", "update", "cost"),
    "tutorial-prompt": TEXTS,
}


def judged(context: Context, name: str, out: Path, rungs: tuple[str, ...]) -> Judgement:
    """The judgement of some rungs measured under a variant."""
    mine = replace(context, recipe=variant(name), out=out)
    leave_own_truths(mine)
    records: dict[str, Record] = {}
    for rung in rungs:
        records[rung] = measure(mine, rung)
        write_record(records[rung], out)
    facts = facts_of(records)
    assert facts.recipe_name == name
    return judge(records, goldens_for(out), read_expected(facts.stack_name, recipe=name), facts)


def test_every_variant_is_looked_at() -> None:
    assert {*FAST, "reference"} == set(VARIANTS)


@pytest.mark.parametrize("name", FAST)
def test_a_variant_shows_what_its_truths_say(
    context: Context, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Times are recorded and never judged: one of each is enough to have them.
    monkeypatch.setattr(cost, "REPEATS", 1)
    judgement = judged(context, name, tmp_path, FAST[name])
    assert_no_unexpected(judgement)
    assert f", recipe {name}: " in judgement.headline


@pytest.mark.slow
@pytest.mark.parametrize("name", FAST)
def test_a_whole_run_of_a_variant_ends_well(
    context: Context, harness: Command, tmp_path: Path, name: str
) -> None:
    """All fourteen rungs on this stack, judged as the user's own command judges them: green, or
    exactly what the stack's list for the variant names."""
    if not context.has_weights:
        pytest.skip(f"NOT_RUN: {context.model} has no weights to train")
    ended = harness("run", "--recipe", name, "--out", tmp_path / "run", "--json")
    document = json.loads(ended.stdout)
    wrong = [
        f"{item['finding']} is {item['verdict']}: {item['reason']}"
        for item in document["items"]
        if item["verdict"] in RED and not item["known"]
    ]
    assert not wrong
    assert f", recipe {name}: " in document["headline"]
    assert not document["unmeasured"]
    assert ended.code == 0, document["headline"]


def test_the_published_truths_would_be_red_under_a_variant(
    context: Context, tmp_path: Path
) -> None:
    """So a variant is measured as itself: its labels are not the published ones."""
    mine = replace(context, recipe=variant("mask-prompt"), out=tmp_path)
    records = {"labels": measure(mine, "labels")}
    published = replace(facts_of(records), recipe=context.provenance().recipe)
    red = {item.finding for item in judge(records, goldens_for(context.out), (), published).red}
    assert {"labels.recipe.left", "labels.recipe.right", "labels.supervised.user"} <= red
