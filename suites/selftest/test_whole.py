"""A whole training, added up from its parts by hand; the floor of a step; the committed records."""

from __future__ import annotations

from typing import Any

import pytest

from harness.judging.report.lane import contest, published, roofline, table, whole
from harness.judging.report.lane.alone import lane_once

DEVICES = sorted(path for path in published.FOLDER.iterdir() if path.is_dir())
RECORDS = [
    pytest.param(raw, id=f"{folder.name}/{name}")
    for folder in DEVICES
    for name, raw in published.read(folder).items()
    if raw["case"] == whole.CASE
]


def step(epoch: int, seconds: float, waited: float = 0.0, rows: int = 32) -> dict[str, Any]:
    return {"epoch": epoch, "rows": rows, "seconds": seconds, "waited": waited}


def ours() -> dict[str, Any]:
    """70 rows are three steps of 32: 16 s to the first, 60 + 2 + 4, saved at 83."""
    return {
        "way": "unpacked_kept_cached",
        "rows": 70,
        "epochs": 3,
        "tokens": 800,
        "device_key": "d",
        "peak": 42e9,
        "asked": {"processes": 12},
        "phases": [
            ["libraries imported", 10.0],
            ["collators started", 11.0],
            ["model loaded", 15.0],
            ["way put on", 16.0],
            ["epoch 1 ended", 82.0],
            ["adapter saved", 83.0],
        ],
        "steps": [
            step(0, 60.0),
            step(0, 2.0),
            step(0, 4.0, rows=6),
            step(1, 3.0, waited=1.5),
            step(1, 1.0),
            step(1, 1.0),
            step(1, 1.5),
        ],
    }


def theirs() -> dict[str, Any]:
    return {
        **ours(),
        "way": "trainer",
        "phases": [["trainer built", 20.0], ["steps ended", 56.0], ["adapter saved", 57.0]],
        "steps": [step(0, 14.0), step(0, 10.0), step(0, 12.0)],
    }


def test_a_ways_later_epochs_wait_once_and_take_its_steps_median() -> None:
    total = whole.total(ours())
    # Two more epochs: each waits 1.5, saves in 1, and has three steps of 1, of 1.5 at most.
    assert total.measured == 83.0
    assert total.seconds == pytest.approx(83 + 2 * (1.5 + 1 + 3 * 1.0))
    assert total.low == total.seconds
    assert total.high == pytest.approx(83 + 2 * (1.5 + 1 + 3 * 1.5))


def test_the_trainer_goes_on_at_the_median_of_its_steps_after_the_first() -> None:
    total = whole.total(theirs())
    # 20 to build, 36 seen, 1 to save; six of nine steps left, two more savings.
    assert total.measured == 57.0
    assert total.seconds == pytest.approx(57 + 2 + 6 * 11.0)
    assert total.low == pytest.approx(57 + 2 + 6 * 10.0)
    assert total.high == pytest.approx(57 + 2 + 6 * 12.0)


def test_the_headline_says_what_was_not_reached_and_what_was_predicted() -> None:
    text = "\n".join(whole.headline(ours(), theirs()))
    assert "94 s against SFTTrainer as installed 125 s: 1.33×" in text
    assert "wanted 3.5×: **not reached**" in text
    assert "Measured: 83 s of ours (one whole epoch), 57 s of the trainer's (3 steps)" in text
    other = {**theirs(), "rows": 71}
    raws = {"a": {**ours(), "case": "whole"}, "b": {**other, "case": "whole"}}
    assert whole.sections(raws) == []


def test_graphs_that_were_cached_are_told_beside_what_compiling_took() -> None:
    text = whole.phases({**ours(), "compilation": {"graphs": 3, "from_cache": 2}})
    assert "first step's compilation 58 s (3 graphs, 2 of them cached), 1 steps of 2.00 s" in text


@pytest.mark.parametrize("raw", RECORDS)
def test_a_record_holds_a_whole_epoch_or_says_how_few_steps(raw: dict[str, Any]) -> None:
    first = [one for one in raw["steps"] if one["epoch"] == 0]
    assert all(one["loss"] is not None for one in raw["steps"])
    if raw["way"] != whole.TRAINER:
        assert sum(one["rows"] for one in first) == raw["rows"] == 1345
        began = dict(raw["phases"])["way put on"]
        assert sum(one["seconds"] for one in first) <= dict(raw["phases"])["epoch 1 ended"] - began
    else:
        assert len(first) == raw["asked"]["steps"]


def test_the_floor_is_every_kernel_as_often_as_it_runs() -> None:
    raw = {
        "case": "kernels",
        "tokens": 800,
        "samples": 32,
        "wanted_mfu": 0.6,
        "milliseconds": {"a": 2.0, "b": 5.0, "not in a step": 9.0},
        "times_a_step": {"products": {"a": 100}, "attention": {"a": 50, "b": 20}},
    }
    assert roofline.floor(raw) == {"products": 0.2, "attention": 0.2}
    (line,) = roofline.sections({"x": raw}, 800, 32, 0.5, 0.8)
    assert "together 0.40 s and MFU 1.00" in line
    assert roofline.sections({"x": raw}, 500, 32, 0.5, 0.8) == []
    assert roofline.sections({"x": raw}, 800, 8, 0.5, 0.8) == []
    assert roofline.sections({}, 800, 32, 0.5, 0.8) == []


def test_a_step_alone_leaves_every_block_s_first_step_out() -> None:
    block = {"seconds": [9.0, 2.0, 1.0, 3.0], "peak_gb": 5.0}
    raw = {
        "tokens": 800,
        "created": "2026-11-29T20:00:00",
        "commit": "abc",
        "batch": {"samples": 32},
        "matmul_rate": 1e12,
        "useful_flops": 1e12,
        "blocks": {"some_way": [block, {"seconds": [8.0, 2.0], "peak_gb": 6.0}]},
        "profiles": {"some_way": {"wall_seconds": 2.0, "busy_seconds": 1.0, "kernels": 1234}},
        "sustained": [{"tflops": 0.5, "mean_watts": 600}, {"tflops": 0.7, "mean_watts": 700}],
        "tried": [{"what": "something", "seconds": [9.0, 2.5]}],
    }
    assert roofline.paces(raw) == {"some_way": (2.0, 0.5, 6.0)}
    text = roofline.alone(raw, 0.6)
    for words in ("MFU 0.500", "**not reached**", "50% of the step", "something 2.50 s"):
        assert words in text
    assert "): reached" not in text


def test_the_committed_floor_is_below_the_committed_step() -> None:
    """Of a step that runs the tower."""
    for folder in DEVICES:
        records = published.read(folder)
        for raw in records.values():
            if raw["case"] != roofline.CASE:
                continue
            least = sum(roofline.floor(raw).values())
            steps = [
                entry.samples / entry.speed
                for other in records.values()
                if other["case"] == contest.CASE
                and other["tokens"] == raw["tokens"]
                and other["batch"]["samples"] == raw["samples"]
                for entry in contest.entries(other)
                if not entry.is_cached
            ]
            assert 0 < least < min(steps)


def test_every_whole_training_stands_on_the_page() -> None:
    page = table.page()
    one_line = " ".join(page.split())
    assert one_line.count("s against SFTTrainer as installed") == len(
        [p for p in RECORDS if p.values[0]["way"] != whole.TRAINER]
    )


def test_a_command_without_an_exit_code_is_said_not_run() -> None:
    raw = {
        "case": "gpu_lane",
        "commands": [
            {"command": "a", "exit": 124, "says": "cut"},
            {"command": "b", "exit": None, "says": ""},
        ],
        "causes": ["no network"],
    }
    assert lane_once({"x": raw}).split("\n") == [
        "- The gpu lane, `a`: exit 124, cut.",
        "- The gpu lane, `b`: *not run*.",
        "- Of its failures: no network.",
    ]
