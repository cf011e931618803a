"""Inputs: what really reaches the inside of the model."""

from __future__ import annotations

from harness.errors import NotRunnable
from harness.measuring.audit.checks._mask import mask_checks, padding_checks
from harness.measuring.audit.checks._pixels import pixel_checks
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.inside import Inside, watched
from harness.measuring.audit.scoring import logits_of
from harness.measuring.audit.training import Batch, Training
from harness.measuring.models._any import PIXELS
from harness.records.audit import Basis


def checks(training: Training, findings: Findings) -> None:
    """See the module. Of the first batch, in evaluation."""
    batch = training.batches[0]
    padding_checks(training, findings)
    pixel_checks(training, findings)
    with training.restored(), watched(training) as inside:
        findings.attempt("pass", lambda: logits_of(training, batch.inputs))
    if not inside.layer:
        findings.not_run("positions", "The forward pass never came to the decoder's first layer.")
        return
    _pixels_arrive(findings, batch, inside)
    _pictures(training, findings, batch, inside)
    wrong = findings.attempt("positions", lambda: _positions(training, batch, inside))
    if wrong is not None:
        findings.put(
            "positions",
            sum(wrong),
            0,
            basis=Basis.ARITHMETIC if training.family is None else Basis.ORACLE,
            unit="tokens",
            evidence=[f"row {row}: {count}" for row, count in enumerate(wrong) if count],
            setting="position_ids",
        )
    mask_checks(training, findings, batch, inside)


def _pixels_arrive(findings: Findings, batch: Batch, inside: Inside) -> None:
    """What enters the tower is the batch's pixels, rounded to the tower's dtype and no further."""
    import torch

    pixels = batch.inputs.get(PIXELS)
    if not isinstance(pixels, torch.Tensor) or inside.pixels is None:
        findings.not_run("pixels_cut", "No pixels were seen entering the tower.")
        return
    entering = inside.pixels.flatten().double()
    given = pixels.flatten().double()
    if len(given) != len(entering):
        # Pictures that only fill a row up are left out before the tower: all zeros.
        pictures = pixels.flatten(0, max(0, pixels.ndim - 4))
        given = pictures[pictures.flatten(1).any(1)].flatten().double()
    if len(given) != len(entering):
        findings.not_run("pixels_cut", "The model cuts pictures its own way before the tower.")
        return
    kinds = (inside.pixels.dtype, pixels.dtype if pixels.is_floating_point() else torch.float32)
    rounding = max(float(torch.finfo(kind).eps) for kind in kinds)
    findings.put(
        "pixels_cut",
        float((given - entering).abs().max()),
        0.0,
        basis=Basis.IDENTITY,
        tolerance=rounding * float(given.abs().max()),
        unit="standard deviations",
        setting=PIXELS,
    )


def _pictures(training: Training, findings: Findings, batch: Batch, inside: Inside) -> None:
    """Pictures' rows are put in at every image token, texts' left alone everywhere else."""
    if training.picture_token_id is None or inside.embedded is None or inside.entering is None:
        findings.not_run("pictures_missing", "The decoder was not given embeddings of its own.")
        return
    image = batch.ids == training.picture_token_id
    if inside.embedded.shape != inside.entering.shape or not bool(image.any()):
        findings.not_run("pictures_missing", "The batch has no image tokens in place.")
        return
    same = (inside.embedded == inside.entering).all(-1)
    findings.put(
        "pictures_missing",
        int((same & image).sum()),
        0,
        unit="tokens",
        setting=PIXELS,
    )
    findings.put("texts_changed", int((~same & ~image).sum()), 0, unit="tokens")
    if inside.pictures is None:
        findings.not_run("tower_rows", "No connector was seen between tower and decoder.")
    elif training.family is None:
        findings.record("tower_rows_seen", inside.pictures, unit="rows")
    else:
        findings.put("tower_rows", inside.pictures, int(image.sum()), unit="rows")


def _positions(training: Training, batch: Batch, inside: Inside) -> list[int]:
    """Per row, how many of its tokens stand at another distance from its first than they should."""
    places = inside.positions
    if places is None:
        raise NotRunnable("The decoder has no rotary embedding of its own; positions are not seen.")
    if places.ndim == 2:
        places = places[None]
    if batch.mask is None and "position_ids" in batch.inputs:
        raise NotRunnable("The batch is many rows in one, told apart by their positions.")
    if training.family is None and places.shape[0] > 1:
        raise NotRunnable("The model's positions have several axes, and no oracle tells them here.")
    wanted = None
    if training.family is not None:
        wanted = training.family.defined_positions(training.core.config, batch.inputs)
    wrong = []
    for row in range(len(batch.ids)):
        real = slice(None) if batch.mask is None else batch.mask[row].bool()
        axes = places[:, row if places.shape[1] > 1 else 0][:, real].tolist()
        truth = wanted[row] if wanted is not None else [list(range(len(axes[0])))]
        wrong.append(_differing(axes, truth))
    return wrong


def _differing(axes: list[list[int]], truth: list[list[int]]) -> int:
    """Rotations depend on distances alone: both begin at zero. A library that has one axis where
    the truth has several moves them together."""
    if len(axes) < len(truth):
        axes = axes * len(truth)
    starts = [(axis[0], other[0]) for axis, other in zip(axes, truth, strict=True)]
    tokens = zip(*axes, strict=True), zip(*truth, strict=True)
    return sum(
        any(a - s != b - t for a, b, (s, t) in zip(one, other, starts, strict=True))
        for one, other in zip(*tokens, strict=True)
    )
