"""Two folders of records, rung by rung, with the tensors that lie beside each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.errors import BadInput
from harness.judging.compare.pairs import Pair
from harness.judging.compare.rungs import pairs_of
from harness.judging.goldens.bands import Allowed, Bands
from harness.judging.goldens.golden import Band, BandKind
from harness.records.record import Metric, Record, Verdict
from suites.selftest.verdicts import golden, record

BANDS = Bands({"forward.logits": Allowed(Band(BandKind.ABSOLUTE, 0.5), "test")}, {})


def measured(rung: str, value: float = 1.0) -> Record:
    return record(rung, Metric(rung, "x", value=value))


def paired(old: dict[str, Record], new: dict[str, Record]) -> tuple[Pair, ...]:
    return pairs_of((old, new), (Path("nowhere"), Path("nowhere")), BANDS, ())


def test_rungs_that_both_have_in_the_ladders_order() -> None:
    old = {rung: measured(rung) for rung in ("update", "ids", "text")}
    new = {rung: measured(rung, 2.0) for rung in ("ids", "forward", "update")}
    assert [pair.rung for pair in paired(old, new)] == ["ids", "update"]
    assert [pair.rung for pair in paired(new, old)] == ["ids", "update"]
    assert {pair.verdict for pair in paired(old, new)} == {Verdict.CHANGED}
    assert paired(old, {}) == ()
    assert paired({}, {}) == ()


def test_a_side_of_two_runs_is_refused_whichever_it_is() -> None:
    whole = {rung: measured(rung) for rung in ("ids", "text")}
    other = replace(whole["text"].provenance, seed=7)
    torn = {**whole, "text": replace(whole["text"], provenance=other)}
    for sides in ((torn, whole), (whole, torn), (torn, {})):
        with pytest.raises(BadInput, match="different runs: seed is"):
            paired(*sides)


def test_each_sides_tensors_are_read_from_its_own_folder(tmp_path: Path) -> None:
    sides, folders = [], []
    for name, value in (("old", 1.0), ("new", 1.25)):
        folder = tmp_path / name
        folder.mkdir()
        save_file({"k": np.array([value, 2.0], np.float32)}, folder / "forward.safetensors")
        value_of = {"digest": name, "shape": [2], "dtype": "float32", "key": "k"}
        sides.append({"forward": record("forward", Metric("forward", "logits", value=value_of))})
        folders.append(folder)
    (pair,) = pairs_of((sides[0], sides[1]), (folders[0], folders[1]), BANDS, ())
    assert (pair.gap, pair.verdict) == (0.25, Verdict.SAME)
    exact = Bands({}, {})
    (pair,) = pairs_of((sides[0], sides[1]), (folders[0], folders[1]), exact, ())
    assert (pair.gap, pair.verdict) == (0.25, Verdict.CHANGED)


def test_truths_say_which_side_is_right() -> None:
    old, new = ({"ids": measured("ids", value)} for value in (1.0, 2.0))
    truth = golden(2.0, rung="ids", metric="x")
    nowhere = Path("nowhere")
    (pair,) = pairs_of((old, new), (nowhere, nowhere), BANDS, [truth])
    assert (pair.standing, pair.verdict) == ("fixed", Verdict.IMPROVED)
