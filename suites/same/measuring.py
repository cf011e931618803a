"""Measures a stack under its circumstances, in a process of its own each."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from harness.errors import HarnessError
from harness.judging.environments.build import environment_for
from harness.judging.workers.measure import LIMIT_S
from harness.judging.workers.process import child_environment, offline, outcome_of, raise_for
from harness.judging.workers.resolve import Request, new_context
from harness.records.context import STAND_IN, Context, Scale, write_context
from harness.records.jobs import ProbeJob, write_job
from suites.same.circumstances import Circumstance

# Below the root: what came of every comparison.
COMPARED = "compared"


def folder_of(root: Path, circumstance: Circumstance) -> Path:
    """Where its records lie, made. A link is one to a folder elsewhere below the root."""
    place = root / circumstance.name / circumstance.folder
    if circumstance.folder != "link":
        place.mkdir(parents=True, exist_ok=True)
    elif not place.is_symlink():
        there = root / "elsewhere" / circumstance.name
        there.mkdir(parents=True, exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(there, target_is_directory=True)
    return place


def is_measured(root: Path, circumstance: Circumstance) -> bool:
    """Whether every one of its rungs has a record."""
    out = root / circumstance.name / circumstance.folder
    return all((out / f"{rung}.json").is_file() for rung in circumstance.rungs)


def measure(root: Path, circumstance: Circumstance) -> None:
    """Its rungs in its own order, in one process; what an earlier one began is measured anew.

    Raises HarnessError where the process dies.
    """
    shutil.rmtree(folder_of(root, circumstance).resolve())
    (root / circumstance.name / circumstance.folder).unlink(missing_ok=True)
    for stale in (root / COMPARED).glob(f"*{circumstance.name}*.json"):
        stale.unlink()
    out = folder_of(root, circumstance)
    python = environment_for(circumstance.stack)
    context = _context(circumstance, out, python)
    job = out / "work" / "probe.job.json"
    theirs = replace(context, out=_spelled(out, circumstance.locale))
    write_job(job, ProbeJob(theirs, circumstance.rungs, LIMIT_S))
    variables = {**offline(child_environment(context.threads)), **circumstance.variables}
    locales = _made(root / "locales", circumstance.locale)
    variables["LOCPATH"] = str(locales)
    log = out / "logs" / "probe.log"
    outcome = outcome_of(out, python, job, variables, log, lambda: None, LIMIT_S)
    if outcome.code:
        raise_for(outcome.code, job)
        raise HarnessError(f"The measuring process ended early; the log is {log}.")
    if not is_measured(root, circumstance):
        raise HarnessError(f"{out} lacks records that were measured; the log is {log}.")


def _context(circumstance: Circumstance, out: Path, python: Path) -> Context:
    request = Request(
        circumstance.stack, STAND_IN, "catalogue", device="cpu", threads=circumstance.threads
    )
    context = replace(new_context(request, out, python, Scale(), print), out=out)
    write_context(context)
    return context


def _spelled(path: Path, locale: str) -> Path:
    """A path as a process of a locale reads its name: one of an 8-bit charmap reads each byte as a
    letter, and writes the same bytes."""
    charmap = locale.partition(".")[2]
    latin = charmap.startswith("ISO-8859")
    return Path(os.fsencode(path).decode(charmap)) if latin else path


def _made(folder: Path, locale: str) -> Path:
    """The folder of the locales that are made for this, this one among them.

    Raises CalledProcessError where localedef has no such locale to make.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, _, charmap = locale.partition(".")
    if charmap and name != "C" and not (folder / locale).is_dir():
        words = ["localedef", "-i", name, "-f", charmap, str(folder / locale)]
        subprocess.run(words, check=True, capture_output=True)
    return folder
