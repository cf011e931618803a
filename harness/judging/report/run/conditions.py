"""Under which conditions a run was measured, and how to get the same again."""

from __future__ import annotations

import shlex

from harness.errors import BadInput
from harness.judging.environments.stack import locked, pins
from harness.judging.goldens.judgement import Facts, Judgement
from harness.judging.report.html.markup import Child, Html, details, join, prose, rows, tag
from harness.judging.report.html.sections import not_run, section
from harness.judging.report.run.data import Run
from harness.judging.report.run.terminal import judgement_screen, log_screen
from harness.records.context import data_words
from harness.records.recipes import recipe_called, recipe_words
from harness.records.record import Provenance


def _pins(stack: str, installed: dict[str, str]) -> Html:
    """Declared, locked and installed versions; each pin with whose it is."""
    try:
        declared, lock = pins(stack), locked(stack)
    except BadInput as error:
        return tag("p", f"No committed list of pins: {error}", class_="soft")
    recorded: list[tuple[Child, ...]] = []
    others: list[tuple[Child, ...]] = []
    for pin in declared:
        now, want = installed.get(pin.name), lock.get(pin.name)
        # A CPU build has the same release with a local part (2.4.0+cpu).
        same = now is not None and want is not None and now.split("+")[0] == want.split("+")[0]
        shade, words = ("good", "✓ as locked") if same else ("bad", "≠ differs")
        if now is None:
            shade, words = "missing", "○ not recorded"
        line = (
            tag("code", pin.name),
            pin.requirement.removeprefix(pin.name) or "any",
            want or "—",
            now or "—",
            tag("span", words, class_=f"chip {shade}"),
            pin.origin,
        )
        (others if now is None else recorded).append(line)
    columns = ("Package", "Declared", "Locked", "Installed", "State", "Whose pin, and why")
    caption = f"Pins of the stack {stack}"
    return join(
        [
            rows(caption, columns, recorded) if recorded else None,
            details(
                f"{len(others)} pins whose installed version is not in the record",
                rows(f"{caption}, installed version not recorded", columns, others),
            )
            if others
            else None,
        ]
    )


def _fact(name: str, value: str) -> Html | None:
    return tag("div", tag("dt", name), tag("dd", value)) if value else None


def _moment(created: str) -> str:
    """`2026-01-02T03:04:05+00:00` for people."""
    return created.replace("T", " ").replace("+00:00", " UTC").replace("Z", " UTC")


def _family(facts: Facts, run: Run) -> tuple[str, str]:
    """Its title and what is special about it, as the record of the model says; else the name."""
    for metric in run.metrics("model", "family"):
        return str(metric.value), metric.note or ""
    return facts.family, ""


def facts_grid(facts: Facts, provenance: Provenance, run: Run) -> Html:
    """The facts that decide what the run may be compared with, and what the family brings."""
    family, special = _family(facts, run)
    pairs = (
        ("Stack", facts.stack),
        ("Model source", facts.model),
        ("Model family", family),
        ("Data source", facts.data),
        ("Device", facts.device_key),
        ("Vocabulary", facts.vocabulary),
        ("Measured", _moment(provenance.created)),
    )
    grid = tag("dl", *[_fact(name, value) for name, value in pairs], class_="facts")
    lead = f"{family}: {special}." if special else ""
    return join([grid, tag("p", prose(lead), class_="soft") if lead else None])


def environment(run: Run, judgement: Judgement) -> Html:
    """Environment and pins."""
    provenance = next(iter(run.records.values())).provenance
    installed = dict(provenance.versions)
    for metric in run.metrics("environment", "version"):
        if metric.case and isinstance(metric.value, str):
            installed.setdefault(metric.case, metric.value)
    pairs = (
        ("Python", provenance.python),
        ("Platform", provenance.platform),
        ("Threads", str(provenance.threads)),
        ("Seed", str(provenance.seed)),
        ("Commit of the harness", provenance.commit),
        ("Recipe", _recipe(provenance.recipe)),
        ("Model digest", provenance.model_digest),
        ("Planted faults", ", ".join(provenance.faults)),
    )
    stack = judgement.facts.stack_name
    extra = rows(
        "Every recorded version",
        ("Package", "Installed"),
        [(tag("code", name), installed[name]) for name in sorted(installed)],
    )
    return section(
        "environment",
        "Environment and pins",
        tag("dl", *[_fact(name, value) for name, value in pairs], class_="facts"),
        _pins(stack, installed),
        details(f"All {len(installed)} recorded versions", extra) if installed else None,
    )


def _recipe(digest: str) -> str:
    """A recipe's name, where it has one, and the digest over all of its values."""
    name = recipe_called(digest)
    return digest if name == digest else f"{name}, {digest}"


def _options(run: Run) -> list[str]:
    """The options of `harness run` that were not left at their defaults."""
    context = run.facts.get("context") or {}
    scale = context.get("scale") or {}
    words = ["--max-steps", str(scale["max_steps"])] if scale.get("max_steps") else []
    if scale.get("full"):
        words.append("--full")
    provenance = next(iter(run.records.values())).provenance
    words += data_words(context.get("columns") or {}, tuple(context.get("splits") or ()))
    words += recipe_words(provenance.recipe)
    return [
        *words,
        "--device",
        provenance.device_key.split("-", 1)[0],
        "--threads",
        str(provenance.threads),
    ]


def reproduce(run: Run, judgement: Judgement) -> Html:
    """The commands that repeat this run."""
    facts = judgement.facts
    provenance = next(iter(run.records.values())).provenance
    commit = provenance.commit.removesuffix("+")
    lines = []
    if commit:
        lines.append(f"git checkout {shlex.quote(commit)}")
    lines.append("pip install .")
    what = ["harness", "run", "--stack", facts.stack, "--model", facts.model, "--data", facts.data]
    lines.append(" ".join(shlex.quote(word) for word in [*what, *_options(run)]))
    notes: list[Child] = [
        tag(
            "p",
            "Two runs on one machine give identical records except for times. ",
            "The records beside this page can be judged and rendered again without measuring:",
        ),
        tag(
            "pre",
            f"harness report {shlex.quote('reports/' + run.name)}",
            class_="command",
            tabindex="0",
        ),
    ]
    if provenance.commit.endswith("+"):
        notes.append(
            tag(
                "p",
                "The harness had uncommitted changes when this was measured, so the commit "
                "alone may not reproduce it.",
            )
        )
    if facts.model.startswith("snapshot:"):
        notes.append(
            tag(
                "p",
                "The model came from a local folder: give --model the folder's path; its "
                "digest must be the one above.",
            )
        )
    command = tag("pre", "\n".join(lines), class_="command", tabindex="0")
    return section("reproduce", "How to reproduce", command, *notes)


def console(run: Run, judgement: Judgement) -> Html:
    """What the terminal showed, and the ends of the logs."""
    logs = [
        details(f"Log: {name}", log_screen(name, text)) for name, text in run.logs.items() if text
    ]
    none = not_run("The run's folder holds no logs.")
    return section(
        "console",
        "Console view and logs",
        details("Console view of the verdict", judgement_screen(judgement)),
        join(logs) if logs else none,
    )
