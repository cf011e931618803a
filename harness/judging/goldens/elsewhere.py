"""Observed numbers that only another device has: judged between kinds of CPU, else not run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace

from harness.judging.goldens.golden import Golden
from harness.judging.goldens.judgement import Facts, Judged
from harness.judging.goldens.scope import applies
from harness.records.recipes import recipe_words
from harness.records.record import Verdict


def _is_elsewhere(golden: Golden, facts: Facts) -> bool:
    """Whether an observed number exists for these conditions, but for another device."""
    return (
        golden.kind == "observed"
        and golden.device_key != facts.device_key
        and applies(replace(golden, device_key=facts.device_key), facts)
    )


def _reaches(golden: Golden, case: str, facts: Facts) -> bool:
    """Whether arithmetic says how far this device may be from the one that was observed."""
    return facts.device == "cpu" and golden.device_key.startswith("cpu-") and case in golden.between


def across_kinds(goldens: Iterable[Golden], facts: Facts) -> Iterator[Golden]:
    """What other kinds of CPU have and this one has not, as goldens of this one: one a case, with
    the band that arithmetic gives between kinds. Of two other kinds the first that is read."""
    goldens = tuple(goldens)
    taken = {
        (golden.rung, golden.metric, case)
        for golden in goldens
        if golden.kind == "observed" and applies(golden, facts)
        for case in golden.cases
    }
    for golden in goldens:
        if not _is_elsewhere(golden, facts):
            continue
        for case, value in golden.cases.items():
            address = (golden.rung, golden.metric, case)
            if address in taken or not _reaches(golden, case, facts):
                continue
            taken.add(address)
            band = golden.between[case]
            yield replace(
                golden,
                cases={case: value},
                band=band,
                device_key=facts.device_key,
                reason=f"observed on {golden.device_key}; between kinds of CPU: {band.reason}",
            )


def never_observed(goldens: Iterable[Golden], facts: Facts) -> Iterator[Judged]:
    """What another device has an observed number for, and this one has not, nor a band."""
    for golden in goldens:
        if not _is_elsewhere(golden, facts):
            continue
        metric = f"{golden.rung}.{golden.metric}"
        command = ["harness", "golden", "calibrate", metric, "--stack", facts.stack]
        command += recipe_words(facts.recipe)
        for case in golden.cases:
            if _reaches(golden, case, facts):
                continue
            yield Judged(
                f"{metric}.{case}" if case else metric,
                golden.rung,
                Verdict.NOT_RUN,
                golden.kind,
                None,
                None,
                golden.band,
                "not run",
                f"no number was observed on {facts.device_key} yet; `{shlex.join(command)}` "
                "makes it",
                required=False,
            )
