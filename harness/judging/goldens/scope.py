"""For which records a golden holds, and under which conditions a finding is expected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.judging.goldens.golden import ANY_FAMILY, Golden
from harness.judging.goldens.judgement import Facts
from harness.records.context import STAND_IN, is_stand_in


def applies(golden: Golden, facts: Facts) -> bool:
    """Whether a golden holds for these records."""
    if golden.family not in (facts.family, ANY_FAMILY):
        return False
    if golden.digests and facts.recipe not in golden.digests:
        return False
    if golden.data and golden.data not in (facts.data, facts.data_digest):
        return False
    if golden.kind == "observed" and (golden.device_key, golden.stack, golden.model) != (
        facts.device_key,
        facts.stack,
        facts.model,
    ):
        return False
    if golden.model == "any":
        return True
    if golden.model == "real-vocabulary":
        return facts.vocabulary == "real"
    if golden.model == STAND_IN:
        return is_stand_in(facts.model)
    return golden.model == facts.model


def holding(goldens: Iterable[Golden], facts: Facts) -> Iterator[Golden]:
    """Those that hold for these records; one for any family gives way to the family's own."""
    holding = [golden for golden in goldens if applies(golden, facts)]
    own = {(g.rung, g.metric) for g in holding if g.kind == "truth" and g.family != ANY_FAMILY}
    for golden in holding:
        if golden.family != ANY_FAMILY or (golden.rung, golden.metric) not in own:
            yield golden


def holds(when: str, facts: Facts) -> bool:
    """Whether an expectation's condition (`cpu+stand-in`, `always`, ...) is met."""
    truths = {
        "always": True,
        "cpu": facts.device == "cpu",
        "cuda": facts.device == "cuda",
        "stand-in": is_stand_in(facts.model),
        "other-model": not is_stand_in(facts.model),
        "real-vocabulary": facts.vocabulary == "real",
        "catalogue": not facts.data_digest,
        "own-data": bool(facts.data_digest),
    }
    return all(truths[word] for word in when.split("+"))
