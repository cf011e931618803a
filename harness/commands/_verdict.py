"""Records judged against what is committed, and that judgement as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.judgement import Judgement, facts_of
from harness.judging.goldens.own import goldens_for
from harness.judging.goldens.verdicts import judge
from harness.records.record import Record


def judged(
    records: Mapping[str, Record], folder: Path, accepted: frozenset[str] = frozenset()
) -> Judgement:
    """Judge a folder's records against the committed goldens, what the oracles said of its own
    samples, and the stack's expected findings."""
    facts = facts_of(records)
    expected = read_expected(facts.stack_name, recipe=facts.recipe_name, family=facts.family)
    return judge(records, goldens_for(folder), expected, facts, accepted)


def judgement_json(judgement: Judgement) -> dict[str, Any]:
    """The judgement as JSON-ready dicts."""
    return {
        "headline": judgement.headline,
        "exit_code": judgement.exit_code,
        "facts": asdict(judgement.facts),
        "unmeasured": list(judgement.unmeasured),
        "stale_accepts": list(judgement.stale_accepts),
        "items": [asdict(item) for item in judgement.items],
    }
