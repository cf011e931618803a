"""What the audits of two stacks are held to: bands and truths, out of the checks themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness.judging.goldens.bands import Allowed, Bands, read_bands
from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.records.audit import AUDITED, Check, Relation, read_rung, rung_path
from harness.records.context import TRAINING_FAMILY
from harness.records.record import Status
from harness.records.typed import numbers_of

# Two stacks round the same float32 arithmetic in another order: a sum of n terms moves by about
# sqrt(n) epsilons, 1e-4 of itself for the ten million products of a tiny model's loss.
ROUNDING = Allowed(
    Band(BandKind.RELATIVE, 1e-4, "two stacks round the same arithmetic in another order"),
    "rounding",
)
BOUND = Allowed(
    Band(BandKind.RELATIVE, 1.0, "only its bound is judged: a gap's own size is rounding"),
    "the audit's bound",
)
_BANDS: Mapping[Relation, BandKind] = {
    Relation.EQUAL: BandKind.ABSOLUTE,
    Relation.AT_MOST: BandKind.AT_MOST,
    Relation.AT_LEAST: BandKind.AT_LEAST,
}


def checks_of(folder: Path) -> dict[str, Check]:
    """The checks of an audited folder by finding id; none where nothing was audited there."""
    paths = (rung_path(folder, rung) for rung in AUDITED)
    rungs = [read_rung(path) for path in paths if path.is_file()]
    return {check.finding_id: check for rung in rungs for check in rung.checks}


def bands_of(*folders: Path) -> Bands:
    """What a metric may differ by between two stacks: what its check lets pass against its truth;
    of a value that is only shown, rounding; of all else nothing. Of the environment, which no
    training has to itself, what is committed."""
    committed = read_bands()
    left_out = {name: why for name, why in committed.left_out.items() if _is_around(name)}
    allowed = {name: band for name, band in committed.allowed.items() if _is_around(name)}
    for check in _checks(folders):
        band = _band(check)
        known = allowed.get(check.metric_id)
        if band is not None and (known is None or band.band.limit > known.band.limit):
            allowed[check.metric_id] = band
    return Bands(allowed, left_out)


def _is_around(metric_id: str) -> bool:
    return metric_id.startswith("environment.")


def _checks(folders: Iterable[Path]) -> Iterator[Check]:
    for folder in folders:
        yield from checks_of(folder).values()


def _band(check: Check) -> Allowed | None:
    numbers = numbers_of(check.value)
    if check.status is not Status.OK or numbers is None or all(n.is_integer() for n in numbers):
        return None
    if check.relation is Relation.RECORDED:
        return ROUNDING
    if check.relation is not Relation.EQUAL:
        return BOUND
    if not check.tolerance:
        return None
    why = "what its check lets pass against its truth"
    return Allowed(Band(BandKind.ABSOLUTE, check.tolerance, why), "the audit's tolerance")


def truths_of(*folders: Path) -> tuple[Golden, ...]:
    """The truths that all folders' checks agree on, as goldens: a value that comes to its truth is
    a fix, one that leaves it a fault."""
    sides = [checks_of(folder) for folder in folders]
    shared = set.intersection(*(set(side) for side in sides)) if sides else set()
    return tuple(
        _golden(sides[0][finding])
        for finding in sorted(shared)
        if _is_judged(sides[0][finding])
        and all(_held_alike(side[finding], sides[0][finding]) for side in sides)
    )


def truth_of(folder: Path, finding: str) -> Golden | None:
    """The truth of one check of a folder; None where there is none."""
    check = checks_of(folder).get(finding)
    return _golden(check) if check is not None and _is_judged(check) else None


def _is_judged(check: Check) -> bool:
    """Whether a golden can say it: numbers have bands, anything else must be equal."""
    if check.status is not Status.OK or check.relation is Relation.RECORDED:
        return False
    return numbers_of(check.truth) is not None or not _needs_numbers(check)


def _needs_numbers(check: Check) -> bool:
    return bool(check.tolerance) or check.relation is not Relation.EQUAL


def _held_alike(one: Check, other: Check) -> bool:
    return (one.truth, one.relation) == (other.truth, other.relation)


def _golden(check: Check) -> Golden:
    band = Band(_BANDS[check.relation], check.tolerance) if _needs_numbers(check) else Band()
    return Golden(
        rung=check.rung,
        family=TRAINING_FAMILY,
        metric=check.name,
        kind="truth",
        origin="audit",
        reason=check.basis.value,
        cases={check.case or "": check.truth},
        band=band,
    )
