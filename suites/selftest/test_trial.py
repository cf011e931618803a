"""The committed trial: every fault and change that was chosen is in it, and the page is of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.judging.compare.document import document_of
from harness.judging.report.upgrade.view import groups
from harness.records.record import RUNGS, Verdict
from harness.records.trial import AFTER, RELEASE
from suites.faults import frozen
from suites.selftest.comparisons import broken, comparison, pair
from suites.trial import page, record
from suites.trial.headings import headings
from suites.trial.pairs import CHANGES, FAIR, rungs_of
from suites.trial.planted import CHOSEN_FOR
from suites.trial.record import BEFORE, PLANTED, ROUND
from suites.trial.why import MISSED, NOTHING, SHOWN

TRIAL = record.read()
STACK = "latest"


def test_the_page_is_of_the_record() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.text(TRIAL)


@pytest.mark.parametrize("commit", CHOSEN_FOR)
def test_what_was_chosen_for_frozen_code_is_in_the_record_and_nothing_else(commit: str) -> None:
    chosen = {
        f"{fault.rung}: {fault.name}"
        for _, module in CHOSEN_FOR[commit]
        for fault in (getattr(module, "CHOSEN", None) or module.FAULTS)
    }
    if commit == "1a775a4":
        chosen |= set(frozen.NOT_FOUND)
    tried = page.Group(PLANTED, AFTER, commit).of(TRIAL, STACK)
    assert {f"{one.expected}: {one.name}" for one in tried} == chosen
    historic = page.Group(RELEASE, AFTER, commit).of(TRIAL)
    mine = {(change.rung, change.name) for change in CHANGES if change.frozen == commit}
    assert {(one.expected, one.name) for one in historic} == mine
    assert len(tried) + len(historic) >= 20


def test_every_round_has_its_sentence_and_nothing_is_of_another() -> None:
    assert set(page.ROUNDS) == set(CHOSEN_FOR)
    assert ROUND in CHOSEN_FOR
    assert {one.frozen for one in TRIAL.tried if one.half == AFTER} == set(CHOSEN_FOR)
    assert {one.frozen for one in TRIAL.tried if one.half == BEFORE} == {""}


def test_what_was_known_is_there_too() -> None:
    assert len(page.Group(PLANTED, BEFORE).of(TRIAL, STACK)) >= 30


def test_whatever_was_not_found_at_its_own_rung_is_told() -> None:
    for one in TRIAL.tried:
        if one.half == AFTER and not one.at_own:
            assert one.name in MISSED or one.name in NOTHING, one.name
    missed = {one.name for one in TRIAL.tried if not one.at_own}
    assert not (set(MISSED) | set(NOTHING)) - missed


def test_what_is_said_to_show_a_change_is_what_it_was_found_by() -> None:
    """By hand, so that it names no change that is not of that round, and none without a value."""
    tried = page.Group(RELEASE, AFTER, FAIR).of(TRIAL)
    assert {one.name for one in tried if one.found} == set(SHOWN)
    for one in tried:
        assert all(metric.startswith(SHOWN[one.name]) for metric in one.metrics)


def test_what_takes_hours_is_measured_as_far_as_the_change_belongs() -> None:
    rungs = {change.rung: rungs_of(change) for change in CHANGES if change.frozen == FAIR}
    assert rungs["interface"] == "1-2"
    assert rungs["backward"] == "1-9"
    assert rungs["generation"] == "1-12"
    assert rungs["cost"] == "1-8,13"
    assert {rungs_of(change) for change in CHANGES if change.frozen != FAIR} >= {"1-10"}


def test_rungs_are_rungs_and_each_is_there_once() -> None:
    keys = [one.key for one in TRIAL.tried]
    assert len(set(keys)) == len(keys)
    for one in TRIAL.tried:
        assert one.expected in RUNGS
        assert one.found in {"", *RUNGS}
        assert bool(one.found) == bool(one.metrics)
        assert one.says
        assert one.source


def test_a_planted_cause_has_three_headings_at_most() -> None:
    planted = [one for one in TRIAL.tried if one.kind == PLANTED]
    assert [one for one in planted if one.headings > record.MOST_HEADINGS] == []


@pytest.mark.parametrize("established", [False, True])
def test_headings_are_the_front_page_s(*, established: bool) -> None:
    pairs = [
        *map(pair, ("interface.warnings.a", "text.rendered.a", "ids.batch_ids.left")),
        *map(pair, ("images.grid.a", "labels.recipe.left", "forward.loss.left", "cost.flops.x")),
        broken("update.steps", "new"),
        pair("backward.flops.step", Verdict.SAME),
    ]
    outcome = comparison(pairs, rungs=RUNGS)
    outcome = replace(outcome, established=established)
    assert headings(document_of(outcome)) == len(groups(outcome))


def test_what_is_tried_again_keeps_what_the_frozen_code_said() -> None:
    first = replace(TRIAL.tried[0], headings=9, headings_frozen=9, found="text")
    again = replace(first, headings=1, headings_frozen=1, found="ids")
    before = [replace(one, half=BEFORE) for one in (first, again)]
    assert record.merged(before[:1], before[1:]) == (replace(before[1], headings_frozen=9),)
    after = [replace(one, half=AFTER) for one in (first, again)]
    assert record.merged(after[:1], after[1:]) == (replace(after[0], headings=1),)
    assert record.merged([], [again]) == (again,)
