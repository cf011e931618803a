"""Which known speed-ups keep this training's loss: those that were measured as safe, tried here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.errors import Lack, NotRunnable
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.steps.isolation import isolated
from harness.measuring.audit.training import Training
from harness.measuring.instruments.device import device_key
from harness.measuring.ways import apply
from harness.measuring.ways.apply import lacking
from harness.recipe.ways import VARIANTS
from harness.records.folders import GOLDEN
from harness.records.seals import read_sealed
from harness.records.typed import Json

MEND = "restore it from git"


def checks(training: Training, findings: Findings) -> None:
    """Names a way only where a verdict of it is recorded for this kind of training and device."""
    device = str(next(training.model.parameters()).device)
    reason = _lack(training)
    bands = {} if reason else dict(_safe(GOLDEN / "lane" / device_key(device)))
    if not reason and not bands:
        reason = f"No speed-up's verdict is recorded for {device_key(device)}."
    if reason:
        findings.not_run("safe_ways", reason, Lack.OTHER)
        return
    gaps = findings.attempt("safe_ways", lambda: _tried(training, bands, findings))
    if gaps is not None:
        findings.record("safe_ways", gaps, unit="share")


def _lack(training: Training) -> str:
    """Why no recorded verdict holds for this training: they are of 4-bit weights of a family that
    has an oracle, with LoRA."""
    four_bit = any(getattr(p, "quant_state", None) is not None for p in training.core.parameters())
    if training.family is None or not four_bit or not hasattr(training.model, "peft_config"):
        return (
            "Speed-ups were measured over 4-bit weights with LoRA, of a family with an oracle; "
            "no verdict holds for this training."
        )
    return ""


def _safe(folder: Path) -> Iterator[tuple[str, float]]:
    """(way, its band of the loss) of every safe verdict that is recorded in a folder."""
    for path in sorted(folder.glob("*.json")):
        record = read_sealed(path, MEND)
        name = record.get("variant", {}).get("name")
        if record.get("safe") is True and name in VARIANTS:
            yield name, float(record["bands"]["loss_gap"])


def _tried(training: Training, bands: dict[str, float], findings: Findings) -> dict[str, Json]:
    """The loss of the first micro-batch under each way that can be put on, relative to without;
    those that stay inside the band of their verdict. One whose library is not here is said to be
    not run, and the others are tried."""
    import torch

    gaps: dict[str, Json] = {}
    inputs = training.batches[0].inputs
    with isolated(training), torch.no_grad():
        plain = float(training.loss(inputs))
        for name, band in bands.items():
            kind = VARIANTS[name]
            if kind.compiled or lacking(kind, training.model, training.trainer):
                continue
            try:
                with apply(training.trainer, kind):
                    gap = abs(float(training.loss(inputs)) - plain) / abs(plain)
            except NotRunnable as error:
                findings.not_run("safe_ways", str(error), error.lack, case=name)
                continue
            if gap <= band:
                gaps[name] = gap
    return gaps
