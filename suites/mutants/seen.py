"""Where a mutant that acts was seen: one word for each."""

from __future__ import annotations

from harness.records.record import RUNGS
from suites.mutants.record import Tried

EARLIER = "red at own rung or earlier"
AFTER = "red later"
ONLY_COMPARED = "only compared"
NEVER = "not seen"
SEEN = (EARLIER, AFTER, ONLY_COMPARED, NEVER)


def seen(one: Tried) -> str:
    """Of one that acts."""
    if one.found:
        is_early = RUNGS.index(one.found) <= RUNGS.index(one.expected)
        return EARLIER if is_early else AFTER
    return ONLY_COMPARED if one.compared else NEVER
