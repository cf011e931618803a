"""Pixels of the batches: normalised as the processor says, and not blank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.measuring.audit.finding import Findings
from harness.measuring.audit.training import Training
from harness.measuring.models._any import PIXEL_MASK, PIXELS


def pixel_checks(training: Training, findings: Findings) -> None:
    """Of every batch with pictures."""
    import torch

    batches = [
        batch.inputs
        for batch in training.batches
        if isinstance(batch.inputs.get(PIXELS), torch.Tensor)
    ]
    limits = _limits(training)
    if not batches or limits is None:
        findings.not_run("pixels_outside", "No pixels, or no image processor to say their range.")
        return
    low, high, level = limits
    outside = 0.0
    blank = 0
    for inputs in batches:
        pixels = inputs[PIXELS].double()
        outside = max(outside, float(pixels.max()) - high, low - float(pixels.min()))
        blank += _blank(inputs) if low < 0 else 0
    findings.put(
        "pixels_outside",
        max(0.0, outside),
        0.0,
        # A level of eight bits: a picture that is resized as numbers with a fraction overshoots.
        tolerance=level,
        unit="standard deviations",
        setting=PIXELS,
    )
    findings.put("pictures_blank", blank, 0, unit="pictures or patches", setting=PIXELS)


def _limits(training: Training) -> tuple[float, float, float] | None:
    """(least, greatest, one level of eight bits) that a pixel can be; None without a processor."""
    processor = getattr(training.processor, "image_processor", None)
    if processor is None or not getattr(processor, "do_rescale", True):
        return None
    if not getattr(processor, "do_normalize", False):
        return 0.0, 1.0, 1 / 255
    mean, std = processor.image_mean, processor.image_std
    if mean is None or std is None:
        return None
    pairs = list(zip(mean, std, strict=True))
    return (
        min(-m / s for m, s in pairs),
        max((1 - m) / s for m, s in pairs),
        max(1 / (255 * s) for _, s in pairs),
    )


def _blank(inputs: Mapping[str, Any]) -> int:
    """Pictures, or patches where a batch has those, of zeros alone; those that only fill a row up
    left out."""
    pixels = inputs[PIXELS]
    pictures = pixels.flatten(0, max(0, pixels.ndim - 4))
    blank = ~pictures.flatten(1).any(1)
    mask = inputs.get(PIXEL_MASK)
    if mask is not None:
        blank &= mask.flatten(0, max(0, mask.ndim - 3)).flatten(1).any(1)
    return int(blank.sum())
