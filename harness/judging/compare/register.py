"""The register of known changes: one small file per change, and what it explains.

A change explains a difference only where its library's version crosses the release that brought
it *and* its predicate holds for the difference itself. There is no catch-all: what nothing
explains is unknown.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from packaging.version import Version

from harness.errors import BadInput
from harness.judging.compare.pairs import Pair
from harness.judging.goldens.values import is_tensor
from harness.records.folders import REGISTER
from harness.records.record import Verdict
from harness.records.typed import Json

REGISTER_SCHEMA = 1
SEVERITIES = ("wrong training", "crash", "cost", "cosmetic")
_TURNED = {
    "old": "new",
    "added": "removed",
    "fixed": "broke",
    "IMPROVED": "WORSE",
}
# A misspelt word would never match, and nobody would see it.
_WORDS = {
    "standing": ("", "fixed", "broke", "both wrong", "both right"),
    "broken": ("", "old", "new", "both"),
    "side": ("", "added", "removed"),
    "not_run": ("", "old", "new"),
    "verdict": ("", *(verdict.value for verdict in Verdict)),
}
_TURNED |= {there: here for here, there in _TURNED.items()}


@dataclass(frozen=True)
class Predicate:
    """What a difference must be; everything given must hold.

    metric: `<rung>.<metric>`. case: a pattern of the whole case. verdict, standing: as the pair
    has them. broken, error: the side that ends in an error, and a pattern found in that error;
    without them no error matches. old, new: patterns of the whole values, as JSON where they are
    no texts. line: a pattern of one changed line of a list of texts, `added` or `removed` (side).
    sign: of new less old. least, most: bounds of the distance (gap); tensors must be of one shape
    and dtype besides. relative: bounds taken of the larger absolute value. not_run: the side that
    has no value.
    """

    metric: str
    case: str = ""
    verdict: str = ""
    standing: str = ""
    broken: str = ""
    error: str = ""
    old: str = ""
    new: str = ""
    line: str = ""
    side: str = ""
    sign: int = 0
    least: float | None = None
    most: float | None = None
    relative: bool = False
    not_run: str = ""

    def turned(self) -> Predicate:
        """The predicate of the way back, from the new release to the old one."""
        words = ("verdict", "standing", "broken", "side", "not_run")
        turned = {name: _TURNED.get(getattr(self, name), getattr(self, name)) for name in words}
        return replace(self, **turned, old=self.new, new=self.old, sign=-self.sign)


# Every difference is held against every change: the same few releases, thousands of times.
version = cache(Version)


@dataclass(frozen=True)
class Change:
    """One known change. before: the last release without it. evidence: how that is known.

    until: the first release without it again; `` where it lasts. since: of a change that mends,
    the first release with the fault; `` where it was always there. families: of models whose own
    files in the library it is in; none where it is in what every family uses.
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

    def reaches(self, family: str) -> bool:
        """Whether it can move what is measured on a model of that family; '' for one that the
        records do not know, such as a user's training."""
        return not (self.families and family) or family in self.families

    def crossing(self, old: Mapping[str, str], new: Mapping[str, str]) -> int:
        """+1 where an upgrade brings the change, -1 where a downgrade takes it back, else 0."""
        if self.library not in old or self.library not in new:
            return 0
        here, there = version(old[self.library]), version(new[self.library])
        first = version(self.first)
        if self.until and max(here, there) >= version(self.until):
            return 0
        if self.since and min(here, there) < version(self.since):
            return 0
        return int(here < first <= there) - int(there < first <= here)


def atoms(pair: Pair) -> tuple[tuple[str, str], ...]:
    """What has to be explained: the changed lines of two lists of texts, else the pair itself.

    A line is (`added` or `removed`, text); the pair as a whole is (``, ``).
    """
    old, new = pair.old.value, pair.new.value
    if not (_texts(old) and _texts(new)) or pair.broken:
        return (("", ""),)
    before, after = {str(x) for x in _list(old)}, {str(x) for x in _list(new)}
    changed = [("removed", x) for x in sorted(before - after)]
    changed += [("added", x) for x in sorted(after - before)]
    # The same lines in another order are one difference of their own.
    return tuple(changed) or (("", ""),)


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _texts(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(x, str) for x in value)


def holds(predicate: Predicate, pair: Pair, atom: tuple[str, str]) -> bool:
    """Whether a predicate is true of one atom of a difference."""
    side, line = atom
    if predicate.metric != pair.metric_id:
        return False
    if predicate.case and not re.fullmatch(predicate.case, pair.case):
        return False
    if predicate.verdict and predicate.verdict != pair.verdict.value:
        return False
    if predicate.standing and predicate.standing != pair.standing:
        return False
    if predicate.broken != pair.broken:
        # What is known of a value says nothing of an error in its place.
        return False
    if pair.broken:
        error = pair.old.error if pair.broken == "old" else pair.new.error
        if not re.search(predicate.error, error):
            return False
    for pattern, value in ((predicate.old, pair.old.value), (predicate.new, pair.new.value)):
        if pattern and not re.fullmatch(pattern, _spelled(value)):
            return False
    if predicate.not_run:
        missing = pair.old if predicate.not_run == "old" else pair.new
        if missing.status is None or missing.status.value != "NOT_RUN":
            return False
    if bool(predicate.line) != bool(line):
        # A line must be claimed by a pattern of its own, never by a predicate of the whole.
        return False
    if line and (not re.search(predicate.line, line) or predicate.side not in {"", side}):
        return False
    return _sized(predicate, pair)


def _spelled(value: Json) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _sized(predicate: Predicate, pair: Pair) -> bool:
    old, new = pair.old.value, pair.new.value
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (old, new))
    if predicate.sign and (not numbers or (new > old) != (predicate.sign > 0)):  # type: ignore[operator]
        return False
    if predicate.least is None and predicate.most is None:
        return True
    tensors = [
        (x.get("shape"), x.get("dtype")) for x in (old, new) if isinstance(x, dict) and is_tensor(x)
    ]
    if tensors and (len(tensors) == 1 or tensors[0] != tensors[1]):
        return False
    if pair.gap is None:
        # Of a tensor that is not stored nothing but shape and dtype can be held against a bound.
        return bool(tensors) and predicate.least is None
    gap = pair.gap
    if predicate.relative:
        if not numbers:
            return False
        largest = max(abs(float(x)) for x in (old, new))  # type: ignore[arg-type]
        gap = gap / largest if largest else 0.0
    return (predicate.least is None or gap >= predicate.least) and (
        predicate.most is None or gap <= predicate.most
    )


def explanation(
    pair: Pair,
    changes: Iterable[Change],
    old: Mapping[str, str],
    new: Mapping[str, str],
    family: str = "",
) -> tuple[Change, ...]:
    """The changes that together explain every atom of a difference; empty where one is left.

    old, new: versions by distribution name on either side. family: of the model that both sides
    were measured on; a change of another family's files explains nothing.
    """
    candidates = [
        (c, c.when if sign > 0 else tuple(p.turned() for p in c.when))
        for c in changes
        if c.reaches(family) and (sign := c.crossing(old, new))
    ]

    def claims(atom: tuple[str, str]) -> Change | None:
        return next(
            (
                change
                for change, when in candidates
                if any(holds(predicate, pair, atom) for predicate in when)
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


def _change(path: Path) -> Change:
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        schema = raw.pop("schema")
        predicates = tuple(Predicate(**item) for item in raw.pop("when"))
        families = tuple(raw.pop("families", ()))
        change = Change(name=path.stem, when=predicates, families=families, **raw)
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is no complete known change ({error}); restore it.") from error
    if schema != REGISTER_SCHEMA:
        raise BadInput(f"{path} has schema {schema}, this harness reads {REGISTER_SCHEMA}.")
    if change.severity not in SEVERITIES or not predicates:
        raise BadInput(f"{path} needs a severity of {', '.join(SEVERITIES)} and a predicate.")
    for predicate in predicates:
        _check(path, predicate)
    return change


def _check(path: Path, predicate: Predicate) -> None:
    """Refuse a predicate that is misspelt, or that would explain anything of its metric."""
    here = f"{path}: the predicate of {predicate.metric}"
    for name, words in _WORDS.items():
        if getattr(predicate, name) not in words:
            raise BadInput(
                f"{path}: {name} = {getattr(predicate, name)!r} is none of "
                f"{', '.join(filter(None, words))}."
            )
    for name in ("case", "error", "old", "new", "line"):
        try:
            re.compile(getattr(predicate, name))
        except re.error as error:
            raise BadInput(f"{here} has a {name} that is no pattern ({error}).") from error
    if bool(predicate.broken) != bool(predicate.error):
        raise BadInput(f"{here} needs both broken and error, or neither.")
    values = predicate.old and predicate.new
    if not (predicate.error or predicate.line or values or predicate.most is not None):
        raise BadInput(f"{here} says no limit: give error, line, most, or old and new.")


def read_register(folder: Path = REGISTER) -> tuple[Change, ...]:
    """Every known change, by name. Raises BadInput naming a file that is malformed."""
    return tuple(_change(path) for path in sorted(folder.glob("*.toml")))
