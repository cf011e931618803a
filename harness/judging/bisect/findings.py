"""What a comparison leaves to bisect: its findings as questions, and how it measured them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import BadInput
from harness.judging.bisect.question import Question
from harness.judging.compare.document import Document, FactsEntry, FindingEntry
from harness.judging.compare.pairs import CROSSED
from harness.judging.goldens.golden import Band
from harness.judging.goldens.values import within
from harness.recipe.published import Recipe, variant
from harness.records.context import Context, kept_context
from harness.records.recipes import PUBLISHED, recipe_called, recipe_digest
from harness.records.record import Status

# Rungs whose probes only say what is installed: swapping packages trivially moves them.
LISTING = frozenset({"environment"})


def chosen(
    document: Document, wanted: Sequence[str], band: Band | None = None
) -> tuple[tuple[Question, ...], dict[str, str]]:
    """The findings to bisect, those named, else every one that stands for itself; and those of
    them that cannot be, with the reason.

    A question has the band by which the comparison found it, or `band`. Raises BadInput for a
    name that the comparison does not hold, or where nothing is left.
    """
    if not document.findings:
        raise BadInput("The comparison has no finding; there is nothing to bisect.")
    by_id = {finding.id: finding for finding in document.findings}
    for name in wanted:
        if name not in by_id:
            raise BadInput(f"The comparison holds no finding {name!r}; it has {', '.join(by_id)}.")
    names = wanted or [
        name
        for name, finding in by_id.items()
        if not finding.cause and not finding.accepted and finding.rung not in LISTING
    ]
    bands = {name: band or by_id[name].band.as_band() for name in names}
    reasons = {name: why for name in names if (why := _unaskable(by_id[name], bands[name]))}
    asked = tuple(Question(name, bands[name]) for name in names if name not in reasons)
    if asked:
        return asked, reasons
    if reasons:
        each = "; ".join(f"{name}: {why}" for name, why in reasons.items())
        raise BadInput(f"No finding of the comparison can be bisected. {each}.")
    raise BadInput(
        "No finding of the comparison can be bisected: each follows from another, is accepted, "
        "or lists versions; name one with --finding to bisect it all the same."
    )


def _unaskable(finding: FindingEntry, band: Band) -> str:
    """Why a finding has no answer by swapping packages, '' where it may have one."""
    if finding.rung == "trajectory" and finding.metric in CROSSED:
        return (
            "cannot be bisected: it needs both stacks at once, each reads the adapter that the "
            "other has saved"
        )
    measured = finding.old.status is finding.new.status is Status.OK
    truth = finding.standing in {"fixed", "broke"}
    if measured and truth and within(band, finding.old.value, finding.new.value):
        return (
            "cannot be bisected: only the truth tells its two values apart, they are within the "
            "band of each other; give a package, and the finding to --finding"
        )
    return ""


def same_source(facts: FactsEntry, context: Context, folder: Path) -> None:
    """Raises BadInput where the comparison measured another model or other data than now."""
    if (facts.model_digest, facts.data) != (context.model_digest, context.data):
        raise BadInput(
            f"{folder} compares with model {facts.model} and data {facts.data}; give the same to "
            "--model and --data."
        )


def same_device(facts: FactsEntry, asked: str) -> str:
    """The device of a comparison. Raises BadInput where another one is asked for."""
    device = "cuda" if facts.device_key.startswith("cuda") else "cpu"
    if asked not in {"auto", device}:
        raise BadInput(f"The comparison was measured on {device}; leave --device {asked} out.")
    return device


def same_recipe(facts: FactsEntry, asked: Recipe) -> Recipe:
    """The recipe of a comparison, which the published one, nobody's choice, gives way to.

    Raises BadInput where another one is asked for, or the comparison's has no name.
    """
    digest = facts.recipe or PUBLISHED
    name = recipe_called(digest)
    if name == digest:
        raise BadInput(
            f"The comparison was measured with a recipe of digest {digest}, which this harness "
            "has not; compare again."
        )
    if recipe_digest(asked) not in {PUBLISHED, digest}:
        raise BadInput(
            f"The comparison was measured with the recipe {name}; leave --recipe {asked.name} out."
        )
    return variant(name)


def threads_of(folder: Path) -> int | None:
    """With how many threads a comparison was measured; None where its records are gone."""
    kept = kept_context(folder / "old")
    return kept.threads if kept else None
