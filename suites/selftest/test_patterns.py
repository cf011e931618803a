"""Unknown differences that move together are one story, told by what moved and what did not."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.judging.compare.pairs import Pair
from harness.judging.compare.patterns import bucket, pattern
from harness.judging.report.upgrade.view import groups
from harness.measuring.instruments.recorder import failure_of
from harness.records.failure import Failure
from harness.records.record import Verdict
from suites.selftest.comparisons import broken, comparison, pair

PLAIN = [f"forward.plain_loss.right_{case}" for case in ("one", "two", "none")]


def moved(*findings: str) -> list[Pair]:
    return [pair(finding) for finding in findings]


def still(*findings: str) -> list[Pair]:
    return [pair(finding, Verdict.SAME) for finding in findings]


@pytest.mark.parametrize(
    ("pairs", "look_at"),
    [
        ([*moved(*PLAIN, "forward.loss.right")], "transformers or torch"),
        (
            [*moved(*PLAIN[:2], "forward.loss.right"), *still(PLAIN[2])],
            "Only rows with pictures moved",
        ),
        (
            [*moved("forward.loss.right", "backward.gradient_norm.x"), *still(*PLAIN)],
            "look at peft",
        ),
        (
            [*moved("backward.gradient_norm.x"), *still("forward.loss.right", *PLAIN)],
            "other gradients",
        ),
        (
            [*moved("update.loss.0", "trajectory.loss.x"), *still("forward.loss.right", *PLAIN)],
            "look at trl",
        ),
    ],
)
def test_what_stayed_the_same_says_where_to_look(pairs: Sequence[Pair], look_at: str) -> None:
    (group,) = groups(comparison(pairs))
    assert look_at in group.pattern
    assert group.advice == (group.pattern, group.advice[-1])
    assert "bisect" in group.advice[-1]


def test_one_cause_is_one_heading() -> None:
    """A wrong scaling in peft moves a hundred values of five rungs."""
    names = [f"backward.gradient_norm.layer_{i}" for i in range(90)]
    pairs = moved("forward.loss.left", "forward.loss.right", *names, "update.moved")
    (group,) = groups(comparison([*pairs, *still(*PLAIN)]))
    assert group.title == "Unknown difference of forward.loss and 2 more values"
    assert group.head.pair.rung == "forward"
    assert len(group.findings) == 93


def test_one_value_that_is_right_now_makes_no_fix_of_the_rest() -> None:
    fixed = pair("inputs.positions.left", Verdict.IMPROVED, standing="fixed")
    (group,) = groups(comparison([fixed, *moved("forward.loss.right")]))
    assert not group.is_fix


def test_what_comes_before_the_batch_is_told_by_itself() -> None:
    """Another text and other pictures are two stories; an error is one of its own."""
    pairs = moved("text.rendered.a", "text.rendered.b", "images.levels.x", "forward.loss.right")
    outcome = comparison(
        [*pairs, broken("update.steps", "new")], rungs=("text", "images", "forward")
    )
    assert [group.head.pair.metric_id for group in groups(outcome)] == [
        "text.rendered",
        "images.levels",
        "forward.loss",
        "update.steps",
    ]
    assert {group.pattern for group in groups(outcome)} == {""}


def test_a_package_that_is_missing_is_said_to_be() -> None:
    """Nobody has to bisect for it."""
    bad = broken("interface.call.vision_info", "new", "ModuleNotFoundError: No module (x:1)")
    failure = Failure("ModuleNotFoundError", "No module", "x:1", module="qwen_vl_utils")
    without = replace(bad, new=replace(bad.new, failure=failure))
    (group,) = groups(comparison([without], rungs=("interface",)))
    assert group.title == "NEW has no package that holds qwen_vl_utils"
    assert "qwen_vl_utils" in group.advice[0]
    assert "bisect" not in " ".join(group.advice)


def test_the_module_is_read_off_the_error() -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("no_such_module.inside")
    assert failure_of(caught.value).module == "no_such_module"


@pytest.mark.parametrize(
    ("findings", "same", "look_at"),
    [
        # Every rung of the updates, or one of them alone.
        (("update.x", "trajectory.x", "generation.x"), ("forward.loss.right",), "look at trl"),
        (("generation.x",), ("forward.loss.right",), "look at trl"),
        (("backward.x", "update.x"), ("forward.loss.right",), ""),
        # Where the loss was not compared, nothing says that it is the same.
        (("update.x",), (), ""),
        (("inputs.x", "update.x"), ("forward.loss.right",), ""),
        (("backward.x",), (), "look at torch or peft"),
        # The model without adapters must be the same for adapters to be blamed.
        (("forward.loss.right",), (), ""),
        (("forward.plain_loss.left_one",), ("forward.plain_loss.left_none",), "Only rows with"),
        (("forward.plain_loss.left_none",), (), "without adapters too"),
        # Other values may be of rows without pictures: the model's own say whether it is they.
        (("forward.plain_loss.left_one", "forward.x.left_none"), (), "Only rows with"),
        (("forward.plain_loss.left_one", "forward.plain_loss.right_none"), (), "adapters too"),
    ],
)
def test_a_pattern_says_no_more_than_was_seen(
    findings: Sequence[str], same: Sequence[str], look_at: str
) -> None:
    rungs = ("inputs", "forward", "backward", "update", "trajectory", "generation")
    outcome = comparison([*moved(*findings), *still(*same)], rungs=rungs)
    sentence = pattern(outcome.findings, outcome.pairs)
    assert (look_at in sentence) if look_at else not sentence


def test_a_bucket_is_of_what_is_computed_or_of_one_rung() -> None:
    outcome = comparison(
        [
            *moved("interface.a.x", "ids.a.x", "ids.b", "images.c", "inputs.a", "generation.b"),
            broken("forward.c", "new"),
        ],
        rungs=("interface", "ids", "images", "inputs", "forward", "generation"),
    )
    assert [bucket(finding, established=True) for finding in outcome.findings] == [
        ("unknown", "interface.a"),
        ("unknown", "ids"),
        ("unknown", "ids"),
        ("unknown", "images"),
        ("unknown", "computed"),
        ("unknown", "forward.c"),
        ("unknown", "computed"),
    ]


def test_one_cause_between_records_alone_has_three_headings_at_most() -> None:
    """A limit in pixels that is not read: where no experiment can show what follows from what, the
    ladder says what is made of what."""
    pairs = moved(
        *("images.grid.a", "images.tokens.a", "images.levels.a", "images.limited_grid.a"),
        *("ids.batch_ids.left", "ids.batch_mask.left", "labels.recipe.left", "labels.completion"),
        *("inputs.positions.left", "forward.loss.left", "backward.flops.step", "update.loss.0"),
        *("trajectory.loss.x", "generation.length.y", "cost.flops.step", "cost.held_bytes.x"),
    )
    told = groups(comparison(pairs, rungs=tuple(dict.fromkeys(p.rung for p in pairs))))
    assert [group.title for group in told] == [
        "Unknown difference of ids.batch_ids and 3 more values",
        "Unknown difference of images.grid and 3 more values",
        "Unknown difference of inputs.positions and 7 more values",
    ]


def test_errors_between_records_alone_are_told_by_side_rungs_apart_from_values() -> None:
    """Another tokenizer breaks three rungs, each of which would be a heading."""
    pairs = [
        *moved("ids.batch_ids.left", "forward.loss.left"),
        *(broken(f"{r}.probe", "new", f"E: {r} (x:1)") for r in ("labels", "forward", "update")),
    ]
    outcome = comparison(pairs, rungs=("ids", "labels", "forward", "update"))
    told = groups(outcome)
    assert [len(group.findings) for group in told] == [1, 3, 1]
    assert told[1].title == "3 rungs end in an error on NEW, first labels"
    values = [broken("text.rendered.a", "new"), broken("images.grid_beside.b", "new", "E: n (x:2)")]
    other = [broken("model.bytes", "old")]
    outcome = comparison(
        [*values, *other, *pairs[2:3]], rungs=("text", "images", "labels", "model")
    )
    told = groups(outcome)
    assert [len(group.findings) for group in told] == [2, 1, 1]
    assert told[0].title == "2 values end in an error on NEW, first text.rendered.a"
    assert len(groups(replace(outcome, established=True))) == 4


def test_text_ids_and_labels_are_one_story_where_no_experiment_tells_them_apart() -> None:
    pairs = moved("text.rendered.a", "ids.batch_ids.left", "labels.recipe.left")
    outcome = comparison(pairs, rungs=("text", "ids", "labels"))
    assert [len(group.findings) for group in groups(outcome)] == [3]
    tried = replace(outcome, established=True)
    assert [len(group.findings) for group in groups(tried)] == [1, 1, 1]


def test_what_a_step_costs_says_nothing_of_whose_arithmetic_it_is() -> None:
    outcome = comparison(
        [*moved("backward.x", "cost.flops"), *still("forward.loss.right")],
        rungs=("forward", "backward", "cost"),
    )
    assert "look at torch or peft" in pattern(outcome.findings, outcome.pairs)
    (alone,) = (finding for finding in outcome.findings if finding.pair.rung == "cost")
    assert pattern([alone], outcome.pairs) == ""
