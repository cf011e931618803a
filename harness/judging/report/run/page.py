"""The page: one self-contained HTML file, readable without a script and without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.judgement import Judgement
from harness.judging.report.html.document import document
from harness.judging.report.html.markup import Html, join, tag
from harness.judging.report.html.sections import rungs, stale_accepts, verdict_banner, verdict_tone
from harness.judging.report.run.conditions import console, environment, facts_grid, reproduce
from harness.judging.report.run.contradictions import contradictions
from harness.judging.report.run.data import Run, read_run
from harness.judging.report.run.findings import findings
from harness.judging.report.run.samples import samples
from harness.judging.report.run.scores import scores
from harness.judging.report.run.training import memory, supervision, training
from harness.records.files import write_atomically
from harness.records.recipes import PUBLISHED
from harness.records.record import RUNGS, Record

CONTENTS = (
    ("findings", "Findings"),
    ("contradictions", "The recipe's contradictions"),
    ("rungs", "Results by rung"),
    ("training", "Training"),
    ("memory", "Memory"),
    ("tokens", "Supervision"),
    ("scores", "Scores"),
    ("samples", "Samples"),
    ("environment", "Environment"),
    ("reproduce", "Reproduce"),
    ("console", "Console and logs"),
)


def run_page(run: Run, judgement: Judgement) -> Html:
    """The page of one run."""
    facts = judgement.facts
    _, verdict = verdict_tone(judgement)
    title = f"{verdict} · model {facts.model} · data {facts.data} · {facts.stack}"
    if facts.recipe != PUBLISHED:
        title += f" · recipe {facts.recipe_name}"
    provenance = next(iter(run.records.values())).provenance
    eyebrow = f"QLoRA fine-tuning check · run {run.name}"
    listed = read_expected(facts.stack_name, recipe=facts.recipe_name, family=facts.family)
    known = {e.finding: e.reason for e in listed}
    top = join(
        [
            tag("p", eyebrow, class_="eyebrow"),
            verdict_banner(judgement),
            facts_grid(facts, provenance, run),
        ]
    )
    return document(
        title,
        top,
        CONTENTS,
        stale_accepts(judgement.stale_accepts),
        findings(judgement, known),
        contradictions(run),
        rungs(dict(run.records), judgement, RUNGS),
        training(run),
        memory(run),
        supervision(run),
        scores(run),
        samples(run),
        environment(run, judgement),
        reproduce(run, judgement),
        console(run, judgement),
    )


def page_of(run_dir: Path, records: Mapping[str, Record], judgement: Judgement) -> bytes:
    """The report of a run's folder and its records.

    Equal records, judgement and files give equal bytes. Whatever is missing is shown as not run,
    with the reason. Raises BadInput where the run's own summary is malformed.
    """
    return run_page(read_run(run_dir, records), judgement).encode("utf-8")


def render(run_dir: Path, records: Mapping[str, Record], judgement: Judgement, out: Path) -> Path:
    """Write the report of a run's folder to `out`, atomically, and return `out`. Raises BadInput
    as page_of."""
    write_atomically(out, page_of(run_dir, records, judgement))
    return out
