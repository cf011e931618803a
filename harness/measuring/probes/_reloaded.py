"""Rung 11, how the saved adapter lies in its file, and what a model that loads it would train."""

from __future__ import annotations

import warnings
from dataclasses import fields
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.version import Version

from harness.errors import Lack
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.snapshots import loading
from harness.measuring.training import adapter
from harness.measuring.training.spec import TrainSpec
from harness.records.files import read_json
from harness.records.typed import Json

# By case: whether `from_pretrained` is told that the adapter is to train.
CASES = {"inferring": False, "training": True}
RELOADED = ("reload_trains", "reload_inference_mode", "reload_evaluates")
METRICS = ("saved_names", "saved_release", *RELOADED)


def record_reloaded(recorder: Recorder, spec: TrainSpec, folder: Path) -> None:
    """folder: a finished training's. Models are on the meta device: what trains is asked, not what
    comes out."""
    names, _ = recorder.attempt("saved_names", lambda: names_off(spec, folder / "adapter"))
    if names is not None:
        recorder.add("saved_names", names, unit="tensors")
    record_release(recorder, folder / "adapter")
    for case, is_trainable in CASES.items():
        loaded, broken = recorder.attempt(
            "reload_trains", partial(_loaded, spec, folder, is_trainable=is_trainable), case=case
        )
        if broken is not None or loaded is None:
            for name in RELOADED[1:]:
                recorder.blocked(name, f"trajectory.reload_trains.{case}", case=case)
            continue
        named = dict(loaded.named_parameters())
        trains = {name for name, parameter in named.items() if parameter.requires_grad}
        wanted = {name for name in named if "lora_" in name} if is_trainable else set()
        strays: list[Json] = [*sorted(trains ^ wanted)]
        recorder.add("reload_trains", strays, case=case, unit="tensors")
        (config,) = loaded.peft_config.values()
        recorder.add("reload_inference_mode", config.inference_mode, case=case, unit="bool")
        note = "whether the model is in evaluation mode, where no dropout drops"
        recorder.add("reload_evaluates", not loaded.training, case=case, unit="bool", note=note)


def names_off(spec: TrainSpec, folder: Path) -> list[Json]:
    """Names of the file that are not `base_model.model.<a Linear's path>.lora_<A or B>.weight` of
    a Linear that the recipe adapts, and those that are not in the file: other readers of adapters
    than peft look for these."""
    from safetensors import safe_open

    linears = adapter.adapted_by(loading.meta_model(Path(spec.snapshot)), spec.recipe)
    named = {f"base_model.model.{path}.lora_{part}.weight" for path in linears for part in "AB"}
    with safe_open(str(folder / "adapter_model.safetensors"), "np") as file:
        return [*sorted(named ^ set(file.keys()))]


def record_release(recorder: Recorder, folder: Path) -> None:
    """Whether the config names the release of peft that wrote it; of a checkout it is followed by
    the commit. NOT_RUN before peft's configs had a place for it (0.18)."""
    from peft import PeftConfig

    if "peft_version" not in {each.name for each in fields(PeftConfig)}:
        reason = "this peft's configs do not say which release wrote them"
        recorder.not_run("saved_release", reason, Lack.LIBRARY)
        return
    installed = metadata.version("peft")
    kept = str(read_json(folder / "adapter_config.json").get("peft_version"))
    release = kept.partition("@")[0] if Version(installed).is_devrelease else kept
    note = f"the config says {kept}, and {installed} is installed"
    recorder.add("saved_release", release == installed, unit="bool", note=note)


def _loaded(spec: TrainSpec, folder: Path, *, is_trainable: bool) -> Any:
    """The base with the saved adapter, without values."""
    from peft import PeftModel

    base = loading.meta_model(Path(spec.snapshot))
    with warnings.catch_warnings():
        # That values cannot be copied to where there are none.
        warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter.*")
        return PeftModel.from_pretrained(base, str(folder / "adapter"), is_trainable=is_trainable)
