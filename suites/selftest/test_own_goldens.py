"""What the oracles said of a user's own samples is judged like any other truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.data.samples import CATALOGUE
from harness.errors import Lack
from harness.judging.goldens.expected import Expected
from harness.judging.goldens.golden import Band, BandKind, Golden, read_goldens
from harness.judging.goldens.own import goldens_for, no_truth
from harness.judging.goldens.verdicts import judge
from harness.records.beside import OwnTruth, OwnTruths, own_truths_path, write_own_truths
from harness.records.recipes import PUBLISHED
from harness.records.record import Metric, Verdict
from suites.selftest.verdicts import record

TOLD = OwnTruth("ids", "counts", {"a": 3}, "suites/oracles/qwen2_vl.py", "counted")
ROUNDED = OwnTruth(
    "labels", "share", {"": 0.5}, "suites/oracles/qwen2_vl.py", "a ratio", within=0.25
)
UNTOLD = OwnTruth(
    "images", "grid", {}, "suites/oracles/qwen2_vl.py", "a float's last bit decides it"
)
FAULTY = replace(TOLD, metric="places", cases={"": 1}, otherwise={"padding counted": {"": 9}})


def left(folder: Path, *truths: OwnTruth, data: str = "d1", recipe: str = PUBLISHED) -> Path:
    folder.mkdir(parents=True)
    write_own_truths(OwnTruths(data, "qwen2_vl", recipe, truths), folder)
    return folder


def test_each_is_a_golden_of_these_samples_and_this_recipe(tmp_path: Path) -> None:
    folder = left(tmp_path / "run", TOLD, ROUNDED, UNTOLD, FAULTY)
    own = {golden.metric: golden for golden in goldens_for(folder, committed=())}
    assert list(own) == ["counts", "share", "grid", "places"]
    assert {g.data for g in own.values()} == {"d1"}
    assert {g.digests for g in own.values()} == {frozenset({PUBLISHED})}
    assert {g.path for g in own.values()} == {str(own_truths_path(folder))}
    assert {name: g.kind for name, g in own.items()} == {
        "counts": "truth",
        "share": "truth",
        "grid": "none",
        "places": "truth",
    }
    assert own["counts"].band == Band()
    assert (own["share"].band.kind, own["share"].band.limit) == (BandKind.ABSOLUTE, 0.25)
    assert own["share"].band.reason
    assert own["places"].otherwise == {"padding counted": {"": 9}}
    assert (own["counts"].origin, own["counts"].reason) == ("suites/oracles/qwen2_vl.py", "counted")


def test_they_stand_beside_what_is_committed_and_one_folder_beside_another(tmp_path: Path) -> None:
    one, other = left(tmp_path / "a", TOLD), left(tmp_path / "b", ROUNDED, data="")
    (tmp_path / "c").mkdir()
    assert len(goldens_for()) == len(read_goldens()) > 100
    both = goldens_for(one, tmp_path / "c", other, committed=())
    assert [golden.metric for golden in both] == ["counts", "share"]
    # Truths of the catalogue's samples have no digest of data.
    assert [golden.data for golden in both] == ["d1", CATALOGUE]
    assert len(goldens_for(one)) == len(read_goldens()) + 1


def test_they_judge_the_records_of_those_samples_alone(tmp_path: Path) -> None:
    goldens = goldens_for(left(tmp_path / "run", UNTOLD, TOLD, ROUNDED), committed=())
    metrics = {
        "ids": Metric("ids", "counts", case="a", value=4),
        "labels": Metric("labels", "share", value=0.75),
        "images": Metric("images", "grid", case="a", value=[1, 2, 3]),
    }

    def verdicts(**changes: object) -> dict[str, Verdict]:
        place = {"recipe": PUBLISHED, "data": "mine", "data_digest": "d1", **changes}
        records = {rung: record(rung, metric, **place) for rung, metric in metrics.items()}
        return {item.finding: item.verdict for item in judge(records, goldens, []).items}

    assert verdicts() == {
        "ids.counts.a": Verdict.CHANGED,
        "labels.share": Verdict.SAME,
        "images.grid": Verdict.NOT_COMPARABLE,
    }
    for changes in ({"data_digest": "d2"}, {"recipe": "another"}, {"family": "gemma3"}):
        assert verdicts(**changes) == {}


def test_what_nobody_can_tell_is_said_and_not_required(tmp_path: Path) -> None:
    (golden,) = goldens_for(left(tmp_path / "run", UNTOLD), committed=())
    item = no_truth(golden)
    assert (item.finding, item.verdict, item.lack) == (
        "images.grid",
        Verdict.NOT_COMPARABLE,
        Lack.DATA,
    )
    assert not item.required
    assert item.reason == "there is no truth for these samples: a float's last bit decides it"


def test_a_known_fault_is_not_expected_where_no_oracle_says_what_it_makes(tmp_path: Path) -> None:
    """Another family's step, or an older record's: nobody says what is right there. One that every
    record must show is asked for all the same."""
    wish = Expected("ids.places", "CHANGED", "known", optional=True, otherwise="padding counted")
    records = {"ids": record("ids", Metric("ids", "places", value=9), recipe=PUBLISHED)}
    told = goldens_for(left(tmp_path / "told", FAULTY, data=""), committed=())

    def judged(goldens: Sequence[Golden], wish: Expected) -> list[tuple[str, bool]]:
        items = judge(records, goldens, [wish]).items
        return [(item.kind, item.known) for item in items]

    assert judged(told, wish) == [("truth", True)]
    assert judged((), wish) == []
    for asked in (replace(wish, optional=False), replace(wish, otherwise="")):
        assert judged((), asked) == [("expected", False)]
