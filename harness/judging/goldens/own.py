"""Goldens of a user's own samples: what the family's oracle said of them, beside their records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.data.samples import CATALOGUE
from harness.errors import Lack
from harness.judging.goldens.golden import Band, BandKind, Golden, read_goldens
from harness.judging.goldens.judgement import Judged
from harness.records.beside import own_truths_path, read_own_truths
from harness.records.recipes import recipe_called
from harness.records.record import Verdict


def goldens_for(*folders: Path, committed: Sequence[Golden] | None = None) -> tuple[Golden, ...]:
    """What is committed, and what the oracles said of the samples in these folders' records.

    committed: as it was read before, by whoever asks for many folders.
    """
    usual = read_goldens() if committed is None else committed
    return (*usual, *(golden for folder in folders for golden in _own(folder)))


def _own(folder: Path) -> Iterator[Golden]:
    own = read_own_truths(folder)
    if own is None:
        return
    for each in own.truths:
        band = Band()
        if each.within:
            why = "computed or recorded rounded"
            band = Band(BandKind.ABSOLUTE, each.within, why, "the least of these samples' parts")
        yield Golden(
            each.rung,
            own.family,
            each.metric,
            "truth" if each.cases else "none",
            each.origin,
            each.reason,
            each.cases,
            band,
            required=each.required,
            recipes={recipe_called(own.recipe): own.recipe},
            data=own.data_digest or CATALOGUE,
            path=str(own_truths_path(folder)),
            otherwise=each.otherwise,
        )


def no_truth(golden: Golden) -> Judged:
    """What was measured on a user's own samples, whose truth nobody can tell."""
    return Judged(
        f"{golden.rung}.{golden.metric}",
        golden.rung,
        Verdict.NOT_COMPARABLE,
        golden.kind,
        None,
        None,
        golden.band,
        "measured",
        f"there is no truth for these samples: {golden.reason}",
        required=False,
        lack=Lack.DATA,
    )
