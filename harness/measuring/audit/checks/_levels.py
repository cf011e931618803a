"""Pixels are the 256 levels of a picture, normalised as the published model was trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.measuring.audit.finding import Findings
from harness.measuring.audit.training import Batch, Training
from harness.measuring.models._any import PIXELS
from harness.records.audit import Basis, Relation

# Levels: float32 holds a normalised level to 255 × 1e-7 of one, bfloat16 rounds it by up to half;
# a wrong mean or scale moves levels by parts of one everywhere.
TOLERANCE = 0.01


def level_checks(training: Training, batches: Sequence[Batch], findings: Findings) -> None:
    """How far pixels are from whole levels once the family's published normalisation is undone."""
    import torch

    family = training.family
    if family is None:
        findings.not_run(
            "levels_off", "The model has no family: how its pixels are normalised is not known."
        )
        return
    pixels = [batch.inputs[PIXELS] for batch in batches if PIXELS in batch.inputs]
    if not pixels or any(p.dtype not in {torch.float32, torch.float64} for p in pixels):
        findings.not_run(
            "levels_off", "The batches' pixels are rounded: their levels cannot be told."
        )
        return
    gap = max(float(family.levels(_of_pictures(p.detach().cpu()))[1]) for p in pixels)
    findings.put(
        "levels_off",
        gap,
        TOLERANCE,
        basis=Basis.ORACLE,
        relation=Relation.AT_MOST,
        unit="levels",
        setting="data_collator",
    )


def _of_pictures(pixels: Any) -> Any:
    """Without what only fills a row up to the row with the most pictures: all zeros, no level."""
    pictures = pixels.flatten(0, max(0, pixels.ndim - 4))
    there = pictures.flatten(1).any(1)
    return pictures[there] if bool(there.any()) else pictures
