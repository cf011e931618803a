"""The adapter's round trip across stacks: read in this stack what either stack has saved.

A measuring job of its own: it needs both trainings, so it runs after rung 11 of both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.measuring.instruments.handed import sealed_adapter
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import canonical_name, family
from harness.measuring.snapshots import loading
from harness.records.context import Context
from harness.records.record import Direction, Record


def _read(context: Context, adapter: Path) -> dict[str, Any]:
    """The adapter's tensors as they stand in the model after peft has loaded them.

    digest: over canonical names, shapes and float32 bytes. kept: how many of the file's tensors
    arrived unchanged. Raises what the libraries raise.
    """
    from peft import PeftModel
    from safetensors.torch import load_file

    loader = family(context.family)
    sealed_adapter(adapter.parent)
    base = loading.load_model(context.snapshot, device=context.device, dtype="float32")
    model = PeftModel.from_pretrained(base, str(adapter))
    loaded = {
        canonical_name(name, loader): parameter.detach().float().cpu()
        for name, parameter in model.named_parameters()
        if "lora_" in name
    }
    saved = {
        canonical_name(name, loader): tensor.float()
        for name, tensor in load_file(str(adapter / "adapter_model.safetensors")).items()
    }
    digest = hashlib.sha256()
    for name in sorted(loaded):
        digest.update(f"{name} {list(loaded[name].shape)}".encode())
        digest.update(loaded[name].contiguous().numpy().tobytes())
    kept = sum(n in loaded and loaded[n].equal(tensor) for n, tensor in saved.items())
    return {
        "digest": digest.hexdigest()[:16],
        "saved": len(saved),
        "kept": kept,
        "without": sorted(set(loaded) - set(saved)),
    }


def run(context: Context, folders: Mapping[str, Path]) -> Record:
    """A record of rung 11 with one `adapter_read` per side that saved an adapter.

    folders: adapter folder by `saved_by_old`, `saved_by_new`.
    """
    recorder = Recorder("trajectory")
    for case, folder in folders.items():
        arrived, _ = recorder.attempt(
            "adapter_read",
            lambda folder=folder: _read(context, folder),  # type: ignore[misc]
            case=case,
        )
        if arrived is None:
            recorder.blocked("adapter_lost", f"trajectory.adapter_read.{case}", case=case)
        else:
            note = f"{arrived['kept']} of {arrived['saved']} tensors arrived unchanged"
            recorder.add("adapter_read", arrived["digest"], case=case, unit="digest", note=note)
            lost = arrived["saved"] - arrived["kept"] + len(arrived["without"])
            recorder.add("adapter_lost", lost, case=case, unit="tensors", direction=Direction.LOWER)
    return recorder.finish(context.provenance(sorted(folders)), context.out)
