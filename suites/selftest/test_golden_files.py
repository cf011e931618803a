"""Every committed golden can be read, is used, and says where it comes from."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import BadInput, Lack
from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.golden import Golden, read_golden, read_goldens, write_golden
from harness.judging.goldens.observe import band_of, conditions, metrics_of, observe, refuse_dirty
from harness.judging.goldens.values import inside
from harness.measuring.probes import available
from harness.records.folders import GOLDEN
from harness.records.record import Metric, Provenance, Record
from suites.commands import Command

GOLDENS = read_goldens()


def test_there_are_truths_for_every_rung_from_2_to_10() -> None:
    rungs = {g.rung for g in GOLDENS if g.kind == "truth"}
    wanted = {"text", "ids", "images", "labels", "model", "inputs", "forward", "backward", "update"}
    assert wanted <= rungs


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda g: str(Path(g.path).relative_to(GOLDEN)))
def test_a_golden_states_its_origin_and_reason(golden: Golden) -> None:
    assert golden.kind in {"truth", "observed"}
    assert golden.origin
    assert golden.reason
    assert golden.band.reason
    assert golden.cases
    assert golden.rung in available()
    if golden.kind == "observed":
        assert golden.provenance["versions"]
        assert golden.device_key
        assert golden.stack


@pytest.mark.parametrize("stack", ["reference", "latest"])
def test_expected_findings_are_unique_and_reasoned(stack: str) -> None:
    expected = read_expected(stack)
    assert expected
    assert len({(e.finding, e.when) for e in expected}) == len(expected)
    assert all(e.reason for e in expected)


@pytest.mark.parametrize("stack", ["reference", "latest"])
def test_a_known_error_says_what_it_says(stack: str) -> None:
    """Else any other failure of the same type would pass for the one that is known."""
    expected = read_expected(stack)
    broken = [e for e in expected if e.verdict == "BROKEN"]
    unrun = [e for e in expected if e.verdict == "NOT_RUN"]
    assert broken
    assert unrun
    assert [e.finding for e in broken if not (e.says and e.type)] == []
    assert [e.finding for e in unrun if not e.lacks] == []
    waiting = {e.finding for e in unrun if Lack.FINDING in e.lacks}
    assert waiting == {e.finding for e in unrun if e.blocked_by}


def is_number(value: object) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)


@pytest.mark.parametrize("stack", ["reference", "latest"])
def test_a_known_difference_of_a_number_says_how_large_it_is(stack: str) -> None:
    """Else one that grows would pass for the one that is known."""
    numeric = {
        ".".join(filter(None, (g.rung, g.metric, case)))
        for g in GOLDENS
        for case, value in g.cases.items()
        if is_number(value)
    }
    differing = [e for e in read_expected(stack) if e.verdict in {"CHANGED", "WORSE"}]
    assert any(e.finding in numeric for e in differing)
    assert [e.finding for e in differing if e.finding in numeric and e.band is None] == []


def test_a_malformed_golden_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"schema": 1, "band": {"kind": "wide"}}')
    with pytest.raises(BadInput, match=str(path)):
        read_golden(path)


def record(value: float) -> dict[str, Record]:
    provenance = Provenance(
        "reference", "stand-in", "catalogue", "cpu-x", "r", "s", {"torch": "2"}, family="qwen2_vl"
    )
    return {"forward": Record("forward", provenance, (Metric("forward", "loss", value=value),))}


def test_calibration_keeps_the_median_and_derives_the_band(tmp_path: Path) -> None:
    (path,) = observe(
        ["forward.loss"], [record(v) for v in (1.0, 1.0100001, 0.99)], "first", tmp_path
    )
    golden = read_golden(path)
    assert golden.cases == {"": 1.0}
    assert golden.band.limit == pytest.approx(0.04, rel=1e-4)
    assert golden.kind == "observed"


def test_a_metric_id_calibrates_every_case_under_the_widest_band(tmp_path: Path) -> None:
    def both(left: float, right: float) -> dict[str, Record]:
        plain = record(0.0)["forward"]
        metrics = [Metric("forward", "loss", c, v) for c, v in (("left", left), ("right", right))]
        return {"forward": replace(plain, metrics=tuple(metrics))}

    runs = [both(1.0, 2.0), both(1.0100001, 2.0), both(0.99, 2.0)]
    golden = read_golden(*observe(["forward.loss"], runs, "first", tmp_path))
    assert golden.cases == {"left": 1.0, "right": 2.0}
    assert golden.band.limit == pytest.approx(0.04, rel=1e-4)
    # One case alone afterwards keeps the other's value and never narrows its band.
    golden = read_golden(*observe(["forward.loss.right"], runs, "again", tmp_path))
    assert golden.cases == {"left": 1.0, "right": 2.0}
    assert golden.band.limit == pytest.approx(0.04, rel=1e-4)


def test_calibration_runs_vary_threads_and_kernels() -> None:
    runs = conditions(10)
    assert len({c.threads for c in runs}) > 3
    assert len({c.variables.get("ATEN_CPU_CAPABILITY") for c in runs}) == 3


def test_equal_runs_still_allow_float32_rounding() -> None:
    third = 1.0 / 3.0
    assert band_of([third, third]).limit == pytest.approx(2.0**-22)
    assert band_of([3, 3]).kind == "exact"
    assert band_of(["a", "a"]).kind == "exact"


def test_a_logged_loss_may_round_either_way() -> None:
    band = band_of([0.4128, 0.4128])
    assert inside(band, 0.4128, 0.4129)
    assert not inside(band, 0.4128, 0.4130)


def test_update_refuses_a_truth(tmp_path: Path) -> None:
    truth = Golden("forward", "qwen2_vl", "loss", "truth", "hand", "why", {"": 1.0})
    write_golden(truth, tmp_path / "truth" / "forward" / "qwen2_vl" / "loss.json")
    with pytest.raises(BadInput, match="never from a run"):
        observe(["forward.loss"], [record(1.0)], "x", tmp_path)


def test_update_refuses_a_dirty_tree(tmp_path: Path) -> None:
    run = lambda *words: subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)  # noqa: E731
    run("git", "init", "-q")
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "x.json").write_text("{}")
    refuse_dirty(tmp_path / "golden")
    (tmp_path / "code.py").write_text("x = 1")
    with pytest.raises(BadInput, match=r"code\.py"):
        refuse_dirty(tmp_path / "golden")


def sides(**values: float) -> list[dict[str, Record]]:
    """One run with one metric of several cases, and another metric."""
    plain = record(0.0)["forward"]
    metrics = [Metric("forward", "loss", case, value) for case, value in values.items()]
    return [{"forward": replace(plain, metrics=(*metrics, Metric("forward", "tokens", value=7)))}]


def test_several_cases_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    runs = sides(left=1.0, right=2.0)
    for last in ("forward.nothing", "forward.loss.middle", "text.rendered"):
        with pytest.raises(BadInput, match=f"No record holds {last}"):
            observe(["forward.loss.left", "forward.tokens", last], runs, "x", tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_two_cases_of_one_file_are_both_kept(tmp_path: Path) -> None:
    names = ["forward.loss.left", "forward.loss.right", "forward.tokens"]
    first, second = observe(names, sides(left=1.0, right=2.0), "x", tmp_path)
    assert read_golden(first).cases == {"left": 1.0, "right": 2.0}
    assert read_golden(second).cases == {"": 7}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("forward.loss.lefd", "close to it are forward.loss.left"),
        ("forward.tokes", "close to it are forward.tokens"),
        ("forward.unheard_of", "forward measures forward.loss, forward.tokens"),
    ],
)
def test_a_case_that_no_record_holds_is_told_what_there_is(name: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence) as caught:
        metrics_of(name, sides(left=1.0, right=2.0)[0])
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("verb", ["update", "calibrate"])
def test_a_golden_without_a_reason_is_refused(verb: str, harness: Command, tmp_path: Path) -> None:
    words = ("golden", verb, "forward.loss", "--reason", "  ", "--out", tmp_path / "out")
    ended = harness(*words)
    assert ended.code == 2
    assert "--reason: is empty" in ended.sentence
