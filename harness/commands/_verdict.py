"""Records judged against what is committed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from harness.errors import BadInput
from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.golden import read_goldens
from harness.judging.goldens.judgement import Judgement, facts_of
from harness.judging.goldens.own import goldens_for
from harness.judging.goldens.power import worth_of
from harness.judging.goldens.second import again_folder, settled
from harness.judging.goldens.verdicts import judge
from harness.records.audit import audit_path
from harness.records.context import kept_context
from harness.records.record import RUNGS, Record, read_record, read_records
from harness.records.trial import read_trial


def judged(
    records: Mapping[str, Record], folder: Path, accepted: frozenset[str] = frozenset()
) -> Judgement:
    """Judge a folder's records against the committed goldens, what the oracles said of its own
    samples, and the stack's expected findings; a second look at them, where there is one, says
    what was noise."""
    judgement = _judged(records, folder, accepted)
    seen_again = again_folder(folder)
    again = {r: read_record(p) for r in records if (p := seen_again / f"{r}.json").is_file()}
    return settled(judgement, _judged(again, folder, accepted)) if again else judgement


def _judged(records: Mapping[str, Record], folder: Path, accepted: frozenset[str]) -> Judgement:
    facts = facts_of(records)
    expected = read_expected(facts.stack_name, recipe=facts.recipe_name, family=facts.family)
    committed = read_goldens()
    goldens = goldens_for(folder, committed=committed)
    judgement = judge(records, goldens, expected, facts, accepted)
    worth = worth_of(records, committed, expected, facts)
    return replace(judgement, worth=worth, trial=read_trial())


def judged_folder(
    directory: Path, accepted: frozenset[str] = frozenset()
) -> tuple[dict[str, Record], Judgement]:
    """A folder's records, and their judgement, which knows what an interrupted run lacks.

    Raises BadInput for an audit's: the recipe's truths do not hold for another training.
    """
    if audit_path(directory).is_file():
        raise BadInput(
            f"{directory} holds an audit of somebody's training, whose page is report.html in it; "
            "harness audit judges it, the recipe's own truths do not hold there."
        )
    records = read_records(directory)
    judgement = judged(records, directory, accepted)
    return records, replace(judgement, unmeasured=unmeasured(directory, records))


def unmeasured(folder: Path, records: Collection[str]) -> tuple[str, ...]:
    """The rungs that an interrupted `harness run` has no record of; none in any other folder.

    A probe keeps no context, a whole run has its run.json, and the side of a comparison was asked
    for rungs of the comparison's choice. Raises BadInput naming a damaged context.
    """
    compared = (folder.parent / "plan.json").is_file()
    if (folder / "run.json").is_file() or compared:
        return ()
    begun = kept_context(folder)
    if begun is None or begun.exchange:
        return ()
    return tuple(rung for rung in RUNGS if rung not in records)
