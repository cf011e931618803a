"""A judgement as a document has it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.judging.goldens.judgement import Facts, Judged, Judgement
from harness.records.power import Worth


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A judgement (goldens.judgement.Judgement)."""

    headline: str
    exit_code: int
    facts: Facts
    unmeasured: tuple[str, ...]
    stale_accepts: tuple[str, ...]
    items: tuple[Judged, ...]
    worth: Worth | None


def verdict_of(judgement: Judgement) -> Verdict:
    """The judgement as a document has it."""
    return Verdict(
        headline=judgement.headline,
        exit_code=judgement.exit_code,
        facts=judgement.facts,
        unmeasured=judgement.unmeasured,
        stale_accepts=judgement.stale_accepts,
        items=judgement.items,
        worth=judgement.worth,
    )
