"""Two sides' records, paired rung by rung in ladder order, with the tensors beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.judging.compare.pairs import Pair, pair_records
from harness.judging.goldens.bands import Bands
from harness.judging.goldens.golden import Golden
from harness.judging.goldens.judgement import facts_of
from harness.records.record import RUNGS, Record
from harness.records.tensors import read_tensors


def pairs_of(
    records: tuple[Mapping[str, Record], Mapping[str, Record]],
    folders: tuple[Path, Path],
    bands: Bands,
    goldens: Sequence[Golden],
) -> tuple[Pair, ...]:
    """The pairs of every rung that both sides recorded, in ladder order.

    Raises BadInput where one side's records come from different runs.
    """
    old, new = records
    for side in filter(None, records):
        facts_of(side)
    pairs: list[Pair] = []
    for rung in RUNGS:
        if rung in old and rung in new:
            tensors = (read_tensors(folders[0], rung), read_tensors(folders[1], rung))
            pairs += pair_records(old[rung], new[rung], bands, goldens, tensors)
    return tuple(pairs)
