"""What is saved is all that was trained, and gives the same logits when it is loaded again."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import Lack, NotRunnable
from harness.measuring import _compat
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.preferring import for_the_model
from harness.measuring.audit.steps.isolation import isolated
from harness.measuring.audit.training import Training
from harness.records.audit import Basis

ADAPTER = "audit_reload"
# Trainable weights are moved by so much before they are saved, seeded: a fresh LoRA's B is zero,
# and what is zero is equal to anything that was lost.
_MOVED = 0.02
# Beyond so many parameters a second whole model is not loaded beside the first.
_MOST = 2_000_000_000


def checks(training: Training, findings: Findings) -> None:
    """See the module."""
    if training.trace is not None:
        reason = "A loop without Trainer saves in its own way, which was not reached."
        findings.not_run("saved_missing", reason, Lack.OTHER)
        return
    with tempfile.TemporaryDirectory(prefix="harness-audit-") as folder, isolated(training):
        moved(training.model)
        training.model.eval()
        before = findings.attempt("saved_missing", lambda: _saved_logits(training, Path(folder)))
        if before is None:
            return
        kind = _kind(Path(folder))
        if kind != "model" or not hasattr(training.model, "peft_config"):
            _missing(training, Path(folder), findings)
        after = findings.attempt("saved_gap", lambda: _loaded(training, Path(folder), kind))
        if after is None:
            return
        scale = float(before.abs().max())
        findings.put(
            "saved_gap",
            float((after.to(before) - before).abs().max()),
            0.0,
            basis=Basis.IDENTITY,
            tolerance=_rounding(training, merged=kind == "model") * scale,
            unit="logit",
            setting="save_model",
        )


def moved(model: Any) -> None:
    """Every trainable weight away from where it is, by seeded noise."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator) * _MOVED
                parameter.add_(noise.to(parameter.device, parameter.dtype))


def _rounding(training: Training, *, merged: bool) -> float:
    """Of a logit, relative to the largest. The same arithmetic again is off by nothing; kernels
    that are chosen anew by two units of what it is computed in. Merged weights are rounded to
    their dtype, half a unit in every product of every layer: 64 are 2 √n of a thousand of them."""
    import torch

    half = torch.finfo(torch.bfloat16).eps
    dtypes = {p.dtype for p in training.core.parameters() if p.is_floating_point()}
    unit = half if dtypes & {torch.bfloat16, torch.float16} else torch.finfo(torch.float32).eps
    return float(unit) * (64 if merged else 2)


def logits(training: Training) -> Any:
    """float32 (rows, tokens, words) of the first batch, without labels, in evaluation."""
    import torch

    inputs = for_the_model(training.batches[0].inputs)
    with torch.no_grad(), training.autocast():
        return training.model(**inputs, use_cache=False).logits.float()


def _saved_logits(training: Training, folder: Path) -> Any:
    before = logits(training)
    training.trainer.save_model(str(folder))
    training.model.eval()
    return before


def _kind(folder: Path) -> str:
    if (folder / "adapter_config.json").is_file():
        return "adapter"
    return "model" if (folder / "config.json").is_file() else "nothing"


def _missing(training: Training, folder: Path, findings: Findings) -> None:
    """Trainable tensors that no saved tensor equals, whatever each is called."""
    saved = {_digest(tensor) for tensor in _tensors(folder)}
    named = training.model.named_parameters()
    lost = [name for name, p in named if p.requires_grad and _digest(p) not in saved]
    findings.put(
        "saved_missing",
        len(lost),
        0,
        unit="tensors",
        evidence=lost,
        setting="modules_to_save",
    )


def _tensors(folder: Path) -> Iterator[Any]:
    import torch
    from safetensors.torch import load_file

    for path in sorted(folder.glob("*.safetensors")):
        yield from load_file(str(path)).values()
    for path in sorted(folder.glob("*.bin")):
        if path.name != "training_args.bin":
            loaded: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            yield from (value for value in loaded.values() if isinstance(value, torch.Tensor))


def _digest(tensor: Any) -> str:
    """Of the values, whatever dtype they are stored in."""
    values = tensor.detach().float().cpu().contiguous().numpy()
    return hashlib.sha256(f"{values.shape}".encode() + values.tobytes()).hexdigest()


def _loaded(training: Training, folder: Path, kind: str) -> Any:
    """Logits with what was saved. Raises NotRunnable where nothing can be loaded beside."""
    if kind == "adapter":
        training.model.load_adapter(str(folder), ADAPTER)
        training.model.set_adapter(ADAPTER)
        training.model.eval()
        return logits(training)
    if kind == "nothing":
        raise NotRunnable("The Trainer saves neither an adapter nor a model.", Lack.OTHER)
    if sum(p.numel() for p in training.core.parameters()) > _MOST:
        raise NotRunnable("A second model of this size is not loaded beside yours.", Lack.SCALE)
    first = next(p for p in training.core.parameters() if p.is_floating_point())
    keywords = {_compat.dtype_argument(): first.dtype}
    again = type(training.core).from_pretrained(str(folder), **keywords)
    again.to(first.device).eval()
    inputs = for_the_model(training.batches[0].inputs)
    import torch

    with torch.no_grad(), training.autocast():
        return again(**inputs, use_cache=False).logits.float()
