"""The register of known changes: one small file per change, and what it explains.

A change explains a difference only where its library's version crosses the release that brought
it *and* its predicate holds for the difference itself. There is no catch-all: what nothing
explains is unknown. What only follows from a change is explained where the change's own finding,
its cause, moved in the same comparison.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from packaging.version import Version

from harness.errors import BadInput
from harness.judging.compare.pairs import Pair
from harness.judging.compare.predicates import Predicate, atoms, check, holds
from harness.records.folders import REGISTER

REGISTER_SCHEMA = 1
SEVERITIES = ("wrong training", "crash", "cost", "cosmetic")
# Every difference is held against every change: the same few releases, thousands of times.
version = cache(Version)


@cache
def _crossing(one: str, other: str, first: str, until: str, since: str) -> int:
    here, there, begins = version(one), version(other), version(first)
    if until and max(here, there) >= version(until):
        return 0
    if since and min(here, there) < version(since):
        return 0
    return int(here < begins <= there) - int(there < begins <= here)


@dataclass(frozen=True)
class Change:
    """One known change. before: the last release without it. evidence: how that is known.

    until: the first release without it again; `` where it lasts. since: of a change that mends,
    the first release with the fault; `` where it was always there. families: of models whose own
    files in the library it is in; none where it is in what every family uses. cause: the metrics
    that show the change itself; the others follow from it. None where all are of one metric.
    """

    name: str
    title: str
    library: str
    before: str
    first: str
    reference: str
    severity: str
    effect: str
    advice: str
    evidence: str
    when: tuple[Predicate, ...]
    until: str = ""
    since: str = ""
    families: tuple[str, ...] = ()
    cause: tuple[str, ...] = ()

    def is_own(self, predicate: Predicate) -> bool:
        """Whether a predicate is of the change itself: of its cause, or of a library's own words,
        which follow from no number."""
        return not self.cause or predicate.metric in self.cause or predicate.is_words

    def reaches(self, family: str) -> bool:
        """Whether it can move what is measured on a model of that family; '' for one that the
        records do not know, such as a user's training."""
        return not (self.families and family) or family in self.families

    def crossing(self, old: Mapping[str, str], new: Mapping[str, str]) -> int:
        """+1 where an upgrade brings the change, -1 where a downgrade takes it back, else 0."""
        one, other = old.get(self.library), new.get(self.library)
        if one is None or other is None or one == other:
            return 0
        return _crossing(one, other, self.first, self.until, self.since)

    @cached_property
    def on_the_way_back(self) -> tuple[Predicate, ...]:
        """What it explains of a downgrade."""
        return tuple(predicate.turned() for predicate in self.when)


@dataclass(frozen=True)
class AtWork:
    """A change that lies between two sides. when: what it explains there, turned on the way back,
    and without what follows from a cause that did not move."""

    change: Change
    when: tuple[Predicate, ...]


def at_work(
    changes: Iterable[Change],
    pairs: Sequence[Pair],
    old: Mapping[str, str],
    new: Mapping[str, str],
    family: str = "",
) -> tuple[AtWork, ...]:
    """The changes whose release lies between two sides.

    pairs: every difference of the comparison, what one side alone could measure, and what may have
    moved inside its band. old, new: versions by distribution name on either side. family: of the
    model that both sides were measured on; a change of another family's files explains nothing.
    """
    by_metric: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_metric.setdefault(pair.metric_id, []).append(pair)
    moved = {library for library, release in old.items() if new.get(library, release) != release}
    working = []
    for change in changes:
        if change.library not in moved or not change.reaches(family):
            continue
        sign = change.crossing(old, new)
        if not sign:
            continue
        when = change.when if sign > 0 else change.on_the_way_back
        if not _moved(change, when, by_metric):
            when = tuple(p for p in when if change.is_own(p))
        working.append(AtWork(change, when))
    return tuple(working)


def _moved(
    change: Change, when: Sequence[Predicate], differing: Mapping[str, Sequence[Pair]]
) -> bool:
    """Whether a change's own finding moved, as the change says. differing: by metric."""
    return any(
        holds(predicate, pair, atom)
        for predicate in when
        if predicate.metric in change.cause
        for pair in differing.get(predicate.metric, ())
        for atom in (("", ""), *atoms(pair))
    )


def explanation(pair: Pair, working: Sequence[AtWork]) -> tuple[Change, ...]:
    """The changes that together explain every atom of a difference; empty where one is left."""

    def claims(atom: tuple[str, str]) -> Change | None:
        return next(
            (
                known.change
                for known in working
                if any(holds(predicate, pair, atom) for predicate in known.when)
            ),
            None,
        )

    whole = claims(("", ""))
    if whole is not None:
        return (whole,)
    explaining: dict[str, Change] = {}
    for atom in atoms(pair):
        claim = claims(atom)
        if claim is None:
            return ()
        explaining[claim.name] = claim
    return tuple(explaining.values())


# Several parts of a comparison ask for the register: of the same text nothing is parsed twice.
@lru_cache(maxsize=1024)
def _change(text: str, path: Path) -> Change:
    try:
        raw: dict[str, Any] = tomllib.loads(text)
        schema = raw.pop("schema")
        predicates = tuple(Predicate(**item) for item in raw.pop("when"))
        raw |= {name: tuple(raw.get(name, ())) for name in ("families", "cause")}
        change = Change(name=path.stem, when=predicates, **raw)
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is no complete known change ({error}); restore it.") from error
    if schema != REGISTER_SCHEMA:
        raise BadInput(f"{path} has schema {schema}, this harness reads {REGISTER_SCHEMA}.")
    if change.severity not in SEVERITIES or not predicates:
        raise BadInput(f"{path} needs a severity of {', '.join(SEVERITIES)} and a predicate.")
    for predicate in predicates:
        check(path, predicate)
    _check_cause(path, change)
    return change


def _check_cause(path: Path, change: Change) -> None:
    """Refuse values of several metrics of which none is said to be the change's own."""
    for predicate in change.when:
        if predicate.is_inside and predicate.metric not in change.cause:
            raise BadInput(
                f"{path} knows how {predicate.metric} moves inside its band, which is no "
                "difference; name it by `cause` if others follow from it."
            )
    own = {predicate.metric for predicate in change.when}
    if missing := [metric for metric in change.cause if metric not in own]:
        raise BadInput(f"{path} has no predicate of its cause {missing[0]}; give one.")
    values = {predicate.metric for predicate in change.when if not predicate.is_words}
    if len(values) > 1 and not change.cause:
        raise BadInput(
            f"{path} explains values of {', '.join(sorted(values))}; say by `cause` which of them "
            "is the change's own finding."
        )


def read_register(folder: Path = REGISTER) -> tuple[Change, ...]:
    """Every known change, by name. Raises BadInput naming a file that is malformed."""
    paths = sorted(folder.glob("*.toml"))
    return tuple(_change(path.read_text(encoding="utf-8"), path) for path in paths)
