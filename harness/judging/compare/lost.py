"""Which pairs are measurements that an upgrade lost, and why in words."""

from __future__ import annotations

from harness.errors import Lack
from harness.judging.compare.pairs import Pair, Side
from harness.judging.goldens.judgement import LEFT_OUT
from harness.records.record import Status, Verdict

# Limits of the machine, the model or the data: the upgrade lost no measurement, unless OLD had it.
LIMITS = frozenset({Lack.CUDA, Lack.QUANTISATION, Lack.WEIGHTS, Lack.DATA})


def is_lost(pair: Pair) -> bool:
    """Whether a required measurement is missing: not comparable, broken on both sides, or run on
    one side only for no known limit of the machine."""
    if pair.verdict is Verdict.NOT_COMPARABLE or pair.broken == "both":
        return True
    if pair.verdict is not Verdict.NOT_RUN:
        return False
    sides = [side for side in (pair.old, pair.new) if side.status is not Status.OK]
    if any(side.is_absent for side in sides):
        return False
    if len(sides) == 2 and _alike(*sides):
        return False
    if sides == [pair.new] and not pair.new.is_blocked:
        return True
    return not all(side.is_blocked or side.lack in LIMITS for side in sides)


def _alike(one: Side, other: Side) -> bool:
    """Whether both miss a value for the same reason: a limit of the machine or of the model."""
    if (one.lack, one.blocked_by) != (other.lack, other.blocked_by):
        return False
    # Of a reason of no kind nothing is known but its words.
    return one.lack not in {None, Lack.OTHER} or one.error == other.error


def why_lost(pair: Pair) -> str:
    """Why a pair was not compared: what differs in its conditions, else what each side says."""
    if pair.verdict is Verdict.NOT_COMPARABLE:
        return pair.reason
    errors = list(dict.fromkeys(filter(None, [pair.old.error, pair.new.error])))
    if len(errors) > 1:
        # That a value is not there says less than why the other side has none.
        errors = [error for error in errors if error != LEFT_OUT]
    sides = "both sides: " if pair.broken == "both" and len(errors) == 1 else ""
    return sides + " / ".join(errors)
