"""How far a value may move from one kind of CPU to another: by arithmetic, not by calibration.

Kernels for other vector units sum the same float32 numbers in another order, and nothing else.
By the square-root law (Higham and Mary, "A new approach to probabilistic rounding error analysis",
SIAM J. Sci. Comput. 41, 2019) the rounding of a sum of n terms is a random walk: each of the n
partial sums is rounded by at most u = 2^-24 of itself, evenly spread, which leaves a relative
error of at most u √(n/6) (terms of random signs; less, u √n / 3, for terms of one sign). The sums
on the way to a value are independent, so their squares add: u √(N/6) for all N terms together. Two
orders differ by √2 of that, and `SIGMAS` standard deviations are allowed.

`golden/bands/kinds.json` lists the sums on the way to each value with their lengths, how strongly
the value answers to an error there (`gain`), and what else arithmetic says of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput
from harness.records.seals import read_sealed
from harness.records.typed import Json, build, numbers_of

KINDS_SCHEMA = 1
# Half a unit in the last place of float32, relative.
UNIT_ROUNDOFF = 2.0**-24
# Of a normal distribution 6 in 10 million lie further out: with 52 values, one false alarm in
# 30,000 runs.
SIGMAS = 5.0
# A shade more than one unit of the last decimal, which float64 cannot hold exactly.
ONE_UNIT = 1.0001


@dataclass(frozen=True)
class Sum:
    """One kind of sum on the way: `times` of them one after another, each over `length` terms."""

    what: str
    times: int
    length: int


@dataclass(frozen=True)
class Between:
    """What two kinds of CPU may differ by in one metric.

    way: the name of its list of sums. gain: relative change of the value for a relative error of
    one there; of a difference of two values (`of`, what each of them is about) that of either.
    decimals: those that were kept when it was recorded, None for all. grows: whether each training
    step passes the error of the steps before it on, so that it grows with the step's number.
    """

    metric: str
    way: str
    gain: float
    reason: str
    of: float | None = None
    decimals: int | None = None
    grows: bool = False


@dataclass(frozen=True)
class Kinds:
    """The committed arithmetic, for the observed numbers of one model of one family."""

    family: str
    model: str
    ways: Mapping[str, tuple[Sum, ...]]
    bands: tuple[Between, ...]

    def limits(self, metric: str, cases: Mapping[str, Json]) -> Mapping[str, tuple[float, str]]:
        """By case the largest distance between two kinds, and why; empty where nothing is said of
        the metric or a case is no number."""
        between = next((band for band in self.bands if band.metric == metric), None)
        if between is None:
            return {}
        error = summing_error(self.ways[between.way])
        return {
            case: (_limit(between, error, case, numbers), between.reason)
            for case, value in cases.items()
            if (numbers := numbers_of(value)) is not None
        }


def summing_error(sums: tuple[Sum, ...]) -> float:
    """Relative distance of two orders of summing, at `SIGMAS` standard deviations."""
    terms = sum(each.times * each.length for each in sums)
    return SIGMAS * math.sqrt(2) * UNIT_ROUNDOFF * math.sqrt(terms / 6)


def _limit(between: Between, error: float, case: str, numbers: list[float]) -> float:
    steps = float(re.sub(r"\D", "", case) or 0) if between.grows else 0.0
    size = max(map(abs, numbers), default=0.0)
    # Of a difference both parts err, each by itself.
    moved = size if between.of is None else math.sqrt(2) * between.of
    logged = 0.0 if between.decimals is None else ONE_UNIT * 10.0**-between.decimals
    return between.gain * error * max(1.0, steps) * moved + logged


def read_kinds(path: Path, mend: str) -> Kinds:
    """The committed arithmetic. mend: what to do about a damaged file. Raises BadInput naming it
    where it is malformed."""
    raw = read_sealed(path, mend)
    if raw.pop("schema", None) != KINDS_SCHEMA:
        raise BadInput(f"{path} holds no kinds of schema {KINDS_SCHEMA}; {mend}.")
    try:
        kinds = build(Kinds, raw)
        unknown = [band.way for band in kinds.bands if band.way not in kinds.ways]
        if unknown:
            raise ValueError(f"no sums are listed for {unknown[0]!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path} is not complete ({error}); {mend}.") from error
    return kinds
