"""What an audit's findings rest on: the rows as they are trained on, the model, the conditions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from harness.judging.audit.advice import shown
from harness.judging.report.audit.fitting import fitting
from harness.judging.report.html.markup import Html, details, join, limited, prose, rows, tag
from harness.judging.report.html.sections import section
from harness.judging.report.html.values import text_of
from harness.judging.report.run.tokens import token_map
from harness.records.audit import Audit, DrawnRow
from harness.records.components import Component

WAYS = {
    "function": "its function returned the Trainer",
    "intercepted": "the script was run up to Trainer.train(), which was not called",
    "loop": "the script was run up to its first accelerator.backward(); a Trainer was built around "
    "what it had prepared, so the loop's own order of steps was not judged",
    "parts": "its function returned the parts of a Trainer",
}
COMPONENTS: dict[str, str] = {
    Component.HEAD: "output head",
    Component.EMBEDDING: "embedding",
    Component.NORMS: "norms outside the layers",
    Component.LANGUAGE: "decoder layers",
    Component.PATCH_EMBEDDING: "patch embedding",
    Component.CONNECTOR: "connector",
    Component.TOWER: "vision tower",
    Component.OTHER: "other",
}


def facts(audit: Audit) -> Html:
    """Who trains what, where."""
    opened = audit.opened
    family = opened.family or f"not known here ({opened.model_type or 'no model_type'})"
    pairs = (
        ("Trainer", opened.trainer),
        ("Model", opened.model),
        ("Judged by the rules of", family),
        ("Environment", audit.stack),
        ("Device", opened.device),
        ("Looked at", f"{opened.rows} rows, {audit.steps} optimizer steps"),
        ("Audited", audit.created.replace("T", " ").replace("+00:00", " UTC")),
    )
    return tag(
        "dl",
        *[tag("div", tag("dt", n), tag("dd", limited(v, 120))) for n, v in pairs],
        class_="facts",
    )


def _sizes(row: DrawnRow) -> str:
    if not row.pictures:
        return ""
    return "; pictures " + ", ".join("×".join(map(str, size)) for size in row.pictures)


def supervision(audit: Audit) -> Html:
    """The drawn rows, token by token."""
    lead = (
        "The first rows as your own collator made them. The loss asks for what is underlined and "
        "for nothing else."
    )
    drawn = [row for rung in audit.rungs for row in rung.rows]
    maps = [
        join([tag("h3", f"Row {row.row + 1}{_sizes(row)}"), token_map(row.tokens)]) for row in drawn
    ]
    parts = [tag("p", lead, class_="soft"), *maps] if maps else [tag("p", "No row was drawn.")]
    return section("tokens", "What it learns from", *parts)


def _dtypes(counts: Mapping[str, int]) -> str:
    return ", ".join(counts) if counts else "—"


def components(audit: Audit) -> Html:
    """The model by component: what trains, how it is stored, what LoRA adapts."""
    lines = [
        (
            COMPONENTS.get(c.component, c.component),
            f"{c.parameters:,}",
            f"{c.trainable:,}" if c.trainable else "—",
            f"{c.adapted:,} of {c.linears:,}" if c.linears else "—",
            _dtypes(c.dtypes),
            _dtypes(c.trained_dtypes),
            text_of(c.bytes, "bytes"),
        )
        for rung in audit.rungs
        for c in rung.components
    ]
    if not lines:
        return section("components", "What trains", tag("p", "The model was not looked at."))
    columns = (
        "Component",
        "Parameters",
        "Trained",
        "Linears adapted",
        "Stored as",
        "Trained as",
        "Bytes",
    )
    table = rows("The model by component", columns, lines, numeric=frozenset({1, 2, 3, 6}))
    fit = fitting(audit)
    fits = tag("p", prose(fit.sentence)) if fit else None
    return section("components", "What trains", table, fits)


def conditions(audit: Audit) -> Html:
    """How it was opened, what was put out of action, settings, releases, the command."""
    opened = audit.opened
    name = Path(audit.training).name + (f":{audit.function}" if audit.function else "")
    command = ["harness", "audit", name, "--steps", str(audit.steps)]
    settings = [
        (tag("code", key), shown(value, "1") or "—") for key, value in opened.declared.items()
    ]
    versions = [(tag("code", key), value) for key, value in opened.versions.items()]
    off = [tag("li", text) for text in opened.changed]
    return section(
        "conditions",
        "Conditions",
        tag("p", f"How the training was opened: {WAYS.get(opened.way, opened.way)}."),
        tag("p", "Put out of action for the audit:") if off else None,
        tag("ul", *off) if off else None,
        details(
            "Your settings that the checks hold it to",
            rows("Settings", ("Setting", "Value"), settings),
        ),
        details(
            "Releases",
            rows(f"Installed, Python {opened.python}", ("Package", "Version"), versions),
        ),
        tag("p", "The same again:"),
        tag("pre", shlex.join(command), class_="command"),
        tag("p", f"File digest {audit.digest[:16]}, harness {audit.commit or 'of a wheel'}."),
    )
