"""What two stacks' audits are held to: bands and truths out of the checks, by hand."""

from __future__ import annotations

from pathlib import Path

from harness.judging.audit.holding import bands_of, truth_of, truths_of
from harness.judging.compare.pairs import pair_records
from harness.judging.goldens.golden import BandKind
from harness.records.audit import Basis, Check, Relation, RungChecks, rung_path, write_audit
from harness.records.context import TRAINING_FAMILY
from harness.records.record import Metric, Provenance, Record, Verdict

AROUND = Provenance("s", "m", "d", "cpu", "r", "x", family=TRAINING_FAMILY)


def audited(folder: Path, *checks: Check) -> Path:
    """A folder as an audit's process leaves it."""
    write_audit(RungChecks("forward", checks), rung_path(folder, "forward"))
    return folder


def check(name: str, value: object, truth: object = None, **rest: object) -> Check:
    """A check of the forward rung."""
    return Check("forward", name, value=value, truth=truth, **rest)  # type: ignore[arg-type]


def verdict(old: Path, new: Path, before: object, after: object, name: str = "loss") -> Verdict:
    """Of one metric of both folders."""
    records = [
        Record("forward", AROUND, (Metric("forward", name, value=value),))  # type: ignore[arg-type]
        for value in (before, after)
    ]
    (pair,) = pair_records(*records, bands_of(old, new), truths_of(old, new))
    return pair.verdict


def test_a_tolerance_is_what_two_stacks_may_differ_by(tmp_path: Path) -> None:
    old = audited(tmp_path / "old", check("loss", 2.0, 2.0, tolerance=0.01))
    new = audited(tmp_path / "new", check("loss", 2.008, 2.0, tolerance=0.01))
    assert verdict(old, new, 2.0, 2.008) is Verdict.SAME
    assert verdict(old, new, 2.0, 2.02) is Verdict.WORSE
    assert verdict(old, new, 2.02, 2.0) is Verdict.IMPROVED


def test_a_bounds_own_size_is_no_difference(tmp_path: Path) -> None:
    """Two gaps within their bound are the same, however they compare; one beyond is worse."""
    bound = {"relation": Relation.AT_MOST, "tolerance": 0.0}
    old = audited(tmp_path / "old", check("loss", 1e-7, 1e-5, **bound))
    new = audited(tmp_path / "new", check("loss", 3e-7, 1e-5, **bound))
    assert verdict(old, new, 1e-7, 1.9e-7) is Verdict.SAME
    assert verdict(old, new, 1e-7, 2e-5) is Verdict.WORSE


def test_a_recorded_number_may_round_and_no_more(tmp_path: Path) -> None:
    recorded = {"relation": Relation.RECORDED}
    old = audited(tmp_path / "old", check("loss", 2.5, **recorded))
    new = audited(tmp_path / "new", check("loss", 2.5, **recorded))
    assert verdict(old, new, 2.5, 2.5002) is Verdict.SAME
    assert verdict(old, new, 2.5, 2.501) is Verdict.CHANGED


def test_a_count_is_exact(tmp_path: Path) -> None:
    recorded = {"relation": Relation.RECORDED}
    old = audited(tmp_path / "old", check("loss", 100_000, **recorded))
    new = audited(tmp_path / "new", check("loss", 100_001, **recorded))
    assert verdict(old, new, 100_000, 100_001) is Verdict.CHANGED


def test_truths_that_differ_decide_nothing(tmp_path: Path) -> None:
    """A picture resized otherwise needs other tokens on each side: changed, neither is wrong."""
    old = audited(tmp_path / "old", check("loss", [4], [4]))
    new = audited(tmp_path / "new", check("loss", [6], [6]))
    assert truths_of(old, new) == ()
    assert verdict(old, new, [4], [6]) is Verdict.CHANGED


def test_a_truth_is_the_checks_own(tmp_path: Path) -> None:
    folder = audited(
        tmp_path,
        check("loss", 3, 0, basis=Basis.ARITHMETIC),
        check("shown", 3, relation=Relation.RECORDED),
        check("named", {"a": 1.0}, {"a": 1.0}, tolerance=0.1),
    )
    golden = truth_of(folder, "forward.loss")
    assert golden is not None
    assert (golden.cases, golden.band.kind) == ({"": 0}, BandKind.EXACT)
    assert truth_of(folder, "forward.shown") is None
    assert truth_of(folder, "forward.named") is None
    assert truth_of(folder, "forward.unheard_of") is None


def test_the_environments_bands_are_the_committed_ones(tmp_path: Path) -> None:
    """A release's number is no finding of an upgrade."""
    assert "environment.version" in bands_of(tmp_path).left_out
