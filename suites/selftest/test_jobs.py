"""The files between the worlds: what a measuring process is asked and what it answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.measuring.child.job import in_turn
from harness.recipe.published import variant
from harness.records.context import Context
from harness.records.jobs import (
    CrossingJob,
    Job,
    ProbeJob,
    Resolved,
    ResolveJob,
    read_job,
    read_resolved,
    write_job,
    write_resolved,
)

CONTEXT = Context(
    "reference",
    "stand-in",
    "catalogue",
    Path("/snapshot"),
    True,
    Path("/out"),
    recipe=variant("mask-prompt"),
    given={"text": "/there"},
)


@pytest.mark.parametrize(
    "job",
    [
        ResolveJob("stand-in", "catalogue", "cpu", Path("/out/work/resolve.json")),
        ProbeJob(CONTEXT, ("text", "ids"), 60.0),
        CrossingJob(CONTEXT, {"saved_by_old": Path("/old"), "saved_by_new": Path("/new")}, 60.0),
    ],
)
def test_a_job_is_read_as_it_was_written(tmp_path: Path, job: Job) -> None:
    write_job(tmp_path / "x.job.json", job)
    assert read_job(tmp_path / "x.job.json") == job


def test_an_answer_is_read_as_it_was_written(tmp_path: Path) -> None:
    resolved = Resolved("stand-in", Path("/snapshot"), True, "d", "stand-in", "qwen2_vl", "")
    write_resolved(tmp_path / "resolve.json", resolved)
    assert read_resolved(tmp_path / "resolve.json") == resolved


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ({"schema": 9}, "is no job of schema 1"),
        ({"kind": "something"}, "is no job of schema 1"),
        ({"rungs": "text"}, "rungs is 'text', no list"),
        ({"context": None}, "context is no object"),
        ({"limit_s": "long"}, "limit_s is 'long', not a number"),
    ],
)
def test_a_damaged_job_is_named(tmp_path: Path, damage: dict[str, object], why: str) -> None:
    path = tmp_path / "x.job.json"
    write_job(path, ProbeJob(CONTEXT, ("text",), 60.0))
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(BadInput, match=f"x.job.json .*{why}"):
        read_job(path)


def test_what_a_library_says_once_a_process_is_heard_by_the_rung_that_records_it() -> None:
    """Asked after others it recorded other warnings: a false alarm in comparisons of a stack with
    itself, which measured the same rungs in another order."""
    asked = ("update", "interface", "text", "forward")
    assert in_turn(asked) == ("interface", "update", "text", "forward")
    assert in_turn(("text", "ids")) == ("text", "ids")
