"""What a bisect keeps of a release: a crash of its own, not one that somebody caused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import StackBroken
from harness.judging.bisect import bench as evaluation
from harness.judging.bisect.bench import Bench, Measured
from harness.judging.bisect.question import Question
from harness.judging.bisect.search import Answer
from harness.judging.environments import overlay
from harness.judging.environments.overlay import Layer
from harness.judging.goldens.golden import Band, BandKind
from harness.records.context import Context
from harness.records.failure import Failure
from harness.records.record import Metric, Provenance, Record, Status, write_record


def died(type_: str, message: str, **ended: Any) -> Record:
    failure = Failure(type_, message, "log", **ended)
    place = Provenance("reference", "stand-in", "catalogue", "cpu-x", "r", "s", family="qwen2_vl")
    return Record(
        "forward", place, (Metric("forward", "probe", status=Status.BROKEN, failure=failure),)
    )


class Releases:
    """Stands for uv and the measuring child; counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, shows: Record) -> None:
        self.planned = self.measured = self.installed = 0
        self.shows = shows
        self.base = {"torch": "2.4.0"}

        def plan(base: str, python: Path, asked: Any, *rest: Any) -> Layer:
            self.planned += 1
            return Layer(base, tuple(asked), {**self.base, "x": "1"}, {}, {})

        def install(layer: Layer, python: Path, folder: Path, wheels: Path | None) -> None:
            self.installed += 1
            folder.mkdir(parents=True)

        def measure(context: Context, rungs: Any, *rest: Any, **more: Any) -> dict[str, Record]:
            if not (context.out / "forward.json").is_file():
                self.measured += 1
                write_record(self.shows, context.out)
            return {"forward": self.shows}

        monkeypatch.setattr(overlay, "plan", plan)
        monkeypatch.setattr(overlay, "install", install)
        monkeypatch.setattr(overlay, "installed", lambda python: dict(self.base))
        monkeypatch.setattr(evaluation, "measure", measure)


def bench(folder: Path, limit_s: float = 600.0) -> Bench:
    context = Context("reference", "stand-in", "catalogue", Path(), True, Path(), family="qwen2_vl")
    return Bench("reference", Path("python"), context, folder, ("forward",), limit_s=limit_s)


def test_what_cannot_be_resolved_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """26 findings of one comparison asked for the same mix 26 times, some 20 s each."""
    asked_for: list[tuple[str, ...]] = []

    def plan(base: str, python: Path, asked: Any, *rest: Any) -> Layer:
        asked_for.append(tuple(asked))
        raise StackBroken("no common version")

    monkeypatch.setattr(overlay, "plan", plan)
    monkeypatch.setattr(overlay, "installed", lambda python: {})
    with bench(tmp_path) as one:
        problems = [one.measure(["x==1", "y==2"]).problem for _ in range(3)]
        assert problems == ["no common version"] * 3
        assert asked_for == [("x==1", "y==2")]
        assert one.measure(["x==2"]).problem
        assert len(asked_for) == 2


@pytest.mark.parametrize(
    ("type_", "message", "ended", "limit_s", "again"),
    [
        # The system ran out of memory, or a person ended it.
        ("ChildDied", "signal 9; last line: x", {"signal": 9}, 600.0, True),
        ("ChildDied", "signal 15; last line: x", {"signal": 15}, 600.0, True),
        # Its own: the same would come again.
        ("ChildDied", "signal 11; last line: x", {"signal": 11}, 600.0, False),
        ("ChildDied", "exit code 134; last line: signal 9;", {}, 600.0, False),
        ("ValueError", "signal 9; is in its message", {}, 600.0, False),
        ("ChildHung", "no answer within 600 s", {"limit_s": 600.0}, 600.0, False),
        ("ChildHung", "no answer within 600 s", {"limit_s": 600.0}, 1200.0, True),
        # The machine had no memory or no room left at that moment.
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB", {}, 600.0, True),
        ("MemoryError", "", {}, 600.0, True),
        ("RuntimeError", "CUDA error: out of memory", {}, 600.0, True),
        (
            "RuntimeError",
            "[enforce fail] DefaultCPUAllocator: can't allocate memory",
            {},
            600.0,
            True,
        ),
        ("OSError", "[Errno 28] No space left on device: '/tmp/x'", {}, 600.0, True),
        (
            "SafetensorError",
            'IoError(Os { code: 28, message: "No space left on device" })',
            {},
            600.0,
            True,
        ),
        ("RuntimeError", "mat1 and mat2 shapes cannot be multiplied", {}, 600.0, False),
    ],
)
def test_a_killed_measurement_is_taken_again_and_a_crash_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    type_: str,
    message: str,
    ended: dict[str, Any],
    limit_s: float,
    again: bool,
) -> None:
    releases = Releases(monkeypatch, died(type_, message, **ended))
    with bench(tmp_path) as first:
        assert first.measure(["x==1"]).fresh
    with bench(tmp_path, limit_s) as second:
        assert second.measure(["x==1"]).fresh is again
    assert releases.measured == 1 + again


def test_a_repetition_needs_no_second_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases = Releases(monkeypatch, died("ValueError", "x"))
    with bench(tmp_path) as trial:
        outcome = trial.measure(["x==1"])
        trial.keep([outcome])
        assert trial.measure(["x==1"], "again").fresh
        assert (trial.built, releases.installed, releases.measured) == (1, 1, 2)
        trial.keep([])
        assert not trial.measure(["x==1"], "again").fresh
        trial.measure(["x==1"], "third")
        assert trial.built == 2


def test_what_cannot_be_installed_is_a_problem_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry may answer tomorrow."""
    releases = Releases(monkeypatch, died("ValueError", "x"))

    def fails(*words: Any) -> None:
        raise StackBroken("x==1 cannot be installed: no network")

    works = overlay.install
    monkeypatch.setattr(overlay, "install", fails)
    with bench(tmp_path) as trial:
        assert trial.measure(["x==1"]).problem == "x==1 cannot be installed: no network"
        assert (trial.built, releases.measured) == (0, 0)
        monkeypatch.setattr(overlay, "install", works)
        assert trial.measure(["x==1"]).problem == ""


@pytest.mark.parametrize(
    ("band", "wanted"),
    [
        # 2 % is below what a time may move by where nobody says.
        (None, Answer.GOOD),
        (Band(BandKind.RELATIVE, 0.03), Answer.GOOD),
        (Band(BandKind.RELATIVE, 0.0), Answer.BAD),
    ],
)
def test_a_band_of_zero_for_a_time_is_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, band: Band | None, wanted: Answer
) -> None:
    def measure(self: Bench, asked: Any, again: str = "") -> Measured:
        metric = Metric("cost", "seconds", value=1.02 if asked == ["x==2"] else 1.0)
        place = Provenance(
            "reference", "stand-in", "catalogue", "cpu-x", "r", "s", family="qwen2_vl"
        )
        return Measured("x", None, {"cost": Record("cost", place, (metric,))})

    monkeypatch.setattr(Bench, "measure", measure)
    pairs = bench(tmp_path).paired(["x==1"], ["x==2"], Question("cost.seconds", band))
    assert pairs.answer is wanted


def test_a_base_with_other_packages_in_it_is_another_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`current` is the same interpreter after `pip install`: neither what moves nor what was
    measured holds any longer."""
    releases = Releases(monkeypatch, died("ValueError", "x"))

    def fresh() -> list[bool]:
        with bench(tmp_path) as trial:
            return [trial.measure(asked).fresh for asked in ([], ["x==1"])]

    assert fresh() == [True, True]
    assert fresh() == [False, False]
    releases.base = {"torch": "2.11.0"}
    assert fresh() == [True, True]
    assert (releases.planned, releases.measured) == (2, 4)
