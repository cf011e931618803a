"""What two records may differ by: one band per metric, with its reason and origin.

`golden/bands/compare.json` lists the metrics that float arithmetic or repetition lets move, and
those that are not compared at all, each with why. Whatever it does not list is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput
from harness.judging.goldens.golden import BY_HAND, MEND, Band, BandKind, Golden
from harness.records.folders import GOLDEN
from harness.records.seals import read_sealed
from harness.records.typed import Rules, build

BANDS_SCHEMA = 1
PATH = GOLDEN / "bands" / "compare.json"
EXACT = Band()
# A listed band says all of itself, and beside it its metric and its origin.
_LISTED = Rules(frozenset({"kind", "limit", "reason"}), more=True)


@dataclass(frozen=True)
class Allowed:
    """A metric's band and where it comes from: `rounding`, `calibrated …`, `truth`, `exact`."""

    band: Band
    origin: str


@dataclass(frozen=True)
class Bands:
    """Bands by metric id, and the metrics left out of a comparison with the reason."""

    allowed: Mapping[str, Allowed]
    left_out: Mapping[str, str]

    def of(self, metric_id: str, truth: Golden | None) -> Allowed:
        """The listed band; else the truth's where it bounds a distance; else exact."""
        if metric_id in self.allowed:
            return self.allowed[metric_id]
        if truth is not None and truth.band.kind in {BandKind.ABSOLUTE, BandKind.RELATIVE}:
            return Allowed(truth.band, "truth")
        return Allowed(EXACT, "exact")


def read_bands(path: Path = PATH) -> Bands:
    """The committed bands. Raises BadInput naming the file where it is malformed."""
    raw = read_sealed(path, BY_HAND)
    if raw.get("schema") != BANDS_SCHEMA:
        raise BadInput(f"{path} holds no bands of schema {BANDS_SCHEMA}; {MEND}.")
    try:
        allowed = {
            item["metric"]: Allowed(build(Band, item, _LISTED), item["origin"])
            for item in raw["bands"]
        }
        left_out = {item["metric"]: item["reason"] for item in raw["left_out"]}
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path} is not complete ({error}); {MEND}.") from error
    return Bands(allowed, left_out)
