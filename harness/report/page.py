"""The page: one self-contained HTML file, readable without a script and without a network."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from harness.golden import read_expected
from harness.judgement import Judgement
from harness.record import RUNGS, write_atomically
from harness.report.conditions import console, environment, facts_grid, reproduce
from harness.report.contradictions import contradictions
from harness.report.data import Run, read_run
from harness.report.findings import findings
from harness.report.markup import Child, Html, join, tag
from harness.report.samples import samples
from harness.report.scores import scores
from harness.report.sections import rungs, stale_accepts, verdict_banner, verdict_tone
from harness.report.training import memory, supervision, training

# Nothing may be loaded or run; styles are inline, pictures are data URIs.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
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


def stylesheet() -> str:
    """The page's only styles."""
    return files("harness.report").joinpath("style.css").read_text(encoding="utf-8")


def _head(title: str) -> Html:
    return tag(
        "head",
        tag("meta", attributes={"charset": "utf-8"}),
        tag("meta", attributes={"http-equiv": "Content-Security-Policy", "content": POLICY}),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        # The stylesheet is our own file; a `<` in it could close the element, so there is none.
        tag("style", Html(stylesheet())),
    )


def document(title: str, top: Child, contents: tuple[tuple[str, str], ...], *parts: Child) -> Html:
    """A whole page around its parts: skip link, header, contents, main, footer."""
    links = [tag("li", tag("a", name, href=f"#{id_}")) for id_, name in contents]
    body = tag(
        "body",
        tag("a", "Skip to the findings", href="#main", class_="skip"),
        tag("header", tag("div", top, class_="page"), class_="top"),
        tag(
            "div",
            tag("nav", tag("ol", *links), aria_label="Contents"),
            tag("main", *parts, id="main", tabindex="-1"),
            class_="page body",
        ),
        tag(
            "footer",
            tag("div", "Every number says how it was obtained: measured, predicted, emulated, or "
                "not run. This page loads nothing and runs no script.", class_="page"),
        ),
    )  # fmt: skip
    return Html(f"<!DOCTYPE html>\n{tag('html', _head(title), body, lang='en')}\n")


def run_page(run: Run, judgement: Judgement) -> Html:
    """The page of one run."""
    facts = judgement.facts
    _, verdict = verdict_tone(judgement)
    title = f"{verdict} · model {facts.model} · data {facts.data} · {facts.stack}"
    provenance = next(iter(run.records.values())).provenance
    eyebrow = f"QLoRA fine-tuning check · run {run.name}"
    known = {e.finding: e.reason for e in read_expected(facts.stack_name)}
    top = join([
        tag("p", eyebrow, class_="eyebrow"),
        verdict_banner(judgement),
        facts_grid(facts, provenance),
    ])  # fmt: skip
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


def page_of(run_dir: Path, judgement: Judgement) -> bytes:
    """The report of a run's folder.

    Equal records, judgement and files give equal bytes. Raises BadInput where the folder holds
    no records; whatever else is missing is shown as not run, with the reason.
    """
    return run_page(read_run(run_dir), judgement).encode("utf-8")


def render(run_dir: Path, judgement: Judgement, out: Path) -> Path:
    """Write the report of a run's folder to `out`, atomically, and return `out`. Raises BadInput
    as page_of."""
    write_atomically(out, page_of(run_dir, judgement))
    return out
