"""What a known change says of one difference: a predicate over a pair of values, and what it is
held against."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import BadInput
from harness.judging.compare.pairs import Pair
from harness.judging.goldens.values import is_tensor
from harness.records.record import Status, Verdict
from harness.records.typed import Json

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
    has them; SAME: of a cause that moved inside its band, by what least and most say. broken,
    error: the side that ends in an error, and a pattern found in that error; without them no error
    matches. old, new: patterns of the whole values, as JSON where they are no texts. line: a
    pattern of one changed line of a list of texts, `added` or `removed` (side). sign: of new less
    old. least, most: bounds of the distance (gap); tensors must be of one shape and dtype besides.
    relative: bounds taken of the larger absolute value. not_run: the side that has no value.
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

    @property
    def is_inside(self) -> bool:
        """Whether it is of what moved inside its band: no finding, but a sign of what follows."""
        return self.verdict == Verdict.SAME.value

    @property
    def is_words(self) -> bool:
        """Whether it is of what a library itself says: a changed line, or an error."""
        return bool(self.line or self.error)

    def turned(self) -> Predicate:
        """The predicate of the way back, from the new release to the old one."""
        words = ("verdict", "standing", "broken", "side", "not_run")
        turned = {name: _TURNED.get(getattr(self, name), getattr(self, name)) for name in words}
        return replace(self, **turned, old=self.new, new=self.old, sign=-self.sign)


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
    if pair.verdict is Verdict.SAME and not predicate.is_inside:
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
    if predicate.not_run and not _begins(predicate, pair):
        return False
    if bool(predicate.line) != bool(line):
        # A line must be claimed by a pattern of its own, never by a predicate of the whole.
        return False
    if line and (not re.search(predicate.line, line) or predicate.side not in {"", side}):
        return False
    return _sized(predicate, pair)


def _begins(predicate: Predicate, pair: Pair) -> bool:
    """Whether a value is missing on the predicate's side and measured on the other."""
    missing, there = pair.old, pair.new
    if predicate.not_run == "new":
        missing, there = there, missing
    return missing.status is Status.NOT_RUN and there.status is Status.OK


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


def check(path: Path, predicate: Predicate) -> None:
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
    if predicate.is_inside and not predicate.least:
        raise BadInput(f"{here} is of what moved inside its band; say by `least` that it moved.")
    values = predicate.old and predicate.new
    limits = predicate.error or predicate.line or values or predicate.not_run
    if not (limits or predicate.most is not None):
        raise BadInput(f"{here} says no limit: give error, line, most, not_run, or old and new.")
