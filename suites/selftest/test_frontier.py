"""The frontier over several contests: by each side's share of its own run's published step."""

from __future__ import annotations

from typing import Any

from harness.judging.report.lane import frontier, published
from harness.judging.report.lane.contest import entries
from suites.selftest.test_contest import record, side

GB = 10**9


def contests() -> dict[str, Any]:
    """Two runs of the same step; everything took twice as long in the second."""
    first = record(
        published=side(seconds=4.0, peak=13 * GB),
        packed_kept=side("packed_kept", 2.0, 20 * GB),
        packed_kept_cached=side("packed_kept_cached", 1.0, 21 * GB),
    )
    second = record(
        published=side(seconds=8.0, peak=13 * GB),
        packed_checkpointed=side("packed_checkpointed", 6.4, 7 * GB),
        unpacked_kept=side("unpacked_kept", 3.2, 30 * GB),
        unsloth=side("unsloth", 1.0, 6 * GB, dtypes_seen=0),
    )
    return {"contest/a": first, "contest/b": second}


def test_runs_are_compared_by_their_own_published_step() -> None:
    """16 samples a second in the first run are 2.00 times, 10 in the second 2.50 times."""
    rows = [line for line in frontier.overview(contests()).splitlines() if line.startswith("| 800")]
    assert rows == [
        "| 800 × 4 | run | 8 | `packed_checkpointed` | 7.0 | 5.0 | 1.25 (1.25–1.25) |",
        "| 800 × 4 | run | 24 | `packed_kept` | 20.0 | 16.0 | 2.00 (2.00–2.00) |",
        "| 800 × 4 | run | 32 | `unpacked_kept` | 30.0 | 10.0 | 2.50 (2.50–2.50) |",
        "| 800 × 4 | kept | 24 | `packed_kept_cached` | 21.0 | 32.0 | 4.00 (4.00–4.00) |",
    ]


def test_the_published_step_is_once_its_own_speed_where_nothing_else_fits() -> None:
    raw = record(published=side(seconds=4.0), packed_kept=side("packed_kept", 2.0, 30 * GB))
    first, second = frontier.points(entries(raw))
    assert (first.first, first.entry.name, first.times.median) == (8, "published", 1.0)
    assert (second.first, second.entry.name) == (32, "packed_kept")


def test_what_is_superseded_or_unsafe_is_no_point() -> None:
    raw = record(published=side(seconds=4.0, peak=90 * GB), packed_kept=side("packed_kept", 2.0))
    raw["superseded"] = {"packed_kept": "it did less"}
    assert frontier.points(entries(raw)) == []
    assert frontier.overview({"contest/a": raw}) == ""
    assert frontier.overview({}) == ""


def test_every_length_and_number_of_samples_of_the_committed_contests_has_rows() -> None:
    records = published.read(published.FOLDER / "cuda-nvidia-h200")
    text = frontier.overview(records)
    for tokens in (500, 800, 1300):
        for size in (1, 4):
            for tower in ("run", "kept"):
                assert f"| {tokens} × {size} | {tower} |" in text
