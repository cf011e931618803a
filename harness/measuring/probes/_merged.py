"""The trained adapter merged into its base: the same logits, no other tensor changed, and both so
after the merged model was saved and loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.data.dataset import rows_of
from harness.errors import Lack
from harness.measuring.instruments import precision
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import canonical_name, of
from harness.measuring.probes import _merged_weights
from harness.measuring.snapshots import loading
from harness.measuring.training.end import LOGIT_ROWS, probe_logits
from harness.measuring.training.spec import TrainSpec
from harness.records.record import Direction
from harness.records.typed import Json

METRICS = ("merged_gap", "merged_strays", "merged_names", "merged_reload_gap")
ALL = (*METRICS, *_merged_weights.METRICS)
# Bytes of weights. A model is loaded seven times, one after another; beside one lie its adapted
# weights in float64 and what is added to them, and it lies once more on the disk.
MOST = 2_000_000_000
LORA = ".lora_A.weight"


def record_merged(recorder: Recorder, spec: TrainSpec, folder: Path, work: Path) -> None:
    """folder: the finished training's. work: where the merged model lies while it is asked.

    In float32 whatever it was trained in: merging rounds once, to what a weight is stored in.
    """
    snapshot = Path(spec.snapshot)
    if reason := too_large(snapshot):
        for name in METRICS:
            recorder.not_run(name, reason, Lack.SCALE)
        for case, metric in _merged_weights.CASES.items():
            for name in (_merged_weights.METRICS[0], metric):
                recorder.not_run(name, reason, Lack.SCALE, case=case)
        return
    _merged_weights.record_weights(recorder, spec, folder)
    saved = work / "merged"
    shutil.rmtree(saved, ignore_errors=True)
    logits, _ = recorder.attempt("merged_gap", lambda: _merged(recorder, spec, folder, saved))
    if logits is None:
        for name in METRICS[1:]:
            recorder.blocked(name, "trajectory.merged_gap")
        return
    recorder.add("merged_names", _renamed(snapshot, saved), unit="tensors")
    again, _ = recorder.attempt("merged_reload_gap", lambda: _reloaded(spec, saved))
    if again is not None:
        gap = float((again - logits).abs().max())
        recorder.add("merged_reload_gap", gap, unit="logit", direction=Direction.LOWER)
    shutil.rmtree(saved)


def too_large(snapshot: Path) -> str:
    """Why a model is not loaded once more beside its training; '' where it is."""
    size = sum(path.stat().st_size for path in snapshot.glob("*.safetensors"))
    if size <= MOST:
        return ""
    return f"{size / 1e9:.1f} GB of weights, more than the {MOST / 1e9:.0f} that are loaded again"


def _merged(recorder: Recorder, spec: TrainSpec, folder: Path, saved: Path) -> Any:
    """Logits of the merged model, which it saves; the gap to the adapted one's is recorded only
    when everything worked, and so are the tensors that should not have changed."""
    from peft import PeftModel

    processor = loading.load_processor(Path(spec.snapshot))
    rows = rows_of(spec, "train", limit=LOGIT_ROWS)
    base = loading.load_model(Path(spec.snapshot), device=spec.device, dtype="float32")
    before = _tensors(base)
    adapted = PeftModel.from_pretrained(base, str(folder / "adapter")).eval()
    targets = _targets(adapted)
    usual = _logits(adapted, processor, rows, spec)
    with precision.exact():
        model = adapted.merge_and_unload()
    logits = _logits(model, processor, rows, spec)
    model.save_pretrained(str(saved))
    gap = float((logits - usual).abs().max())
    note = "trained adapter beside its base against merged into it, float32"
    recorder.add("merged_gap", gap, unit="logit", direction=Direction.LOWER, note=note)
    after = _tensors(model)
    changed = {n for n in before.keys() & after.keys() if not before[n].equal(after[n])}
    strays = (changed ^ targets) | (before.keys() ^ after.keys())
    recorder.add("merged_strays", _listed(strays), unit="tensors")
    return logits


def _tensors(model: Any) -> dict[str, Any]:
    """Copies of its parameters by canonical name; a tied one has one."""
    loader = of(model)
    return {canonical_name(n, loader): p.detach().clone() for n, p in model.named_parameters()}


def _targets(adapted: Any) -> set[str]:
    """The weights that have an adapter, by canonical name."""
    loader = of(adapted)
    names = {canonical_name(name, loader) for name, _ in adapted.named_parameters()}
    return {f"{n.removesuffix(LORA)}.weight" for n in names if n.endswith(LORA)}


def _renamed(snapshot: Path, saved: Path) -> list[Json]:
    """Names that only one of the two has, as they stand in the files: who serves the merged model
    looks for the published ones."""
    return _listed(_names(snapshot) ^ _names(saved))


def _names(folder: Path) -> set[str]:
    from safetensors import safe_open

    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "np") as file:
            names |= set(file.keys())
    return names


def _listed(names: Iterable[str]) -> list[Json]:
    return [*sorted(names)]


def _reloaded(spec: TrainSpec, saved: Path) -> Any:
    """Logits of the model that was saved."""
    model = loading.load_model(saved, device=spec.device, dtype="float32")
    processor = loading.load_processor(Path(spec.snapshot))
    return _logits(model, processor, rows_of(spec, "train", limit=LOGIT_ROWS), spec)


def _logits(model: Any, processor: Any, rows: Any, spec: TrainSpec) -> Any:
    """In float32, of which a training before it in this process may have left TF32."""
    with precision.exact():
        return probe_logits(model, processor, rows, spec.recipe, as_trained=False)
