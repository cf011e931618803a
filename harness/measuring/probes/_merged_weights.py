"""Rung 11, what merging the trained adapter makes of each weight, against W + s B A in float64,
rounded once: in float32, in the recipe's own type, and in its 4 bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import Lack
from harness.measuring import _compat
from harness.measuring.instruments import nf4, precision
from harness.measuring.instruments.packed import unpacked
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.snapshots import loading
from harness.measuring.training.spec import TrainSpec
from harness.records.files import read_json
from harness.records.typed import Json

METRICS = ("merged_dtypes", "merged_weight_gap", "merged_rounded_gap")
# By case the metric of its distance: where a sum is rounded to few bits, one that ties may go
# either way.
CASES = {"float32": METRICS[1], "bfloat16": METRICS[2], "four_bit": METRICS[2]}
HEAD, A, B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True)
class Merged:
    """What merging gave. dtypes: of the adapted weights, sorted. gap: of all of them together,
    ‖merged − exact‖ over ‖s B A‖."""

    dtypes: tuple[str, ...]
    gap: float


def record_weights(recorder: Recorder, spec: TrainSpec, folder: Path) -> None:
    """folder: the finished training's, whose model is small enough to be loaded again."""
    for case, metric in CASES.items():
        if case == "four_bit" and loading.quantisation_mode(spec.device) == "emulated":
            for name in (METRICS[0], metric):
                reason = "this stack cannot quantise here; NF4 is emulated"
                recorder.not_run(name, reason, Lack.QUANTISATION, case=case)
            continue
        merge = partial(merged_weights, spec, folder, case)
        merged, _ = recorder.attempt(METRICS[0], merge, case=case)
        if merged is None:
            recorder.blocked(metric, f"trajectory.{METRICS[0]}.{case}", case=case)
            continue
        dtypes: list[Json] = [*merged.dtypes]
        recorder.add(METRICS[0], dtypes, case=case, unit="dtypes")
        note = "merged weights against W + s B A, over the norm of s B A"
        recorder.add(metric, merged.gap, case=case, note=note)


def deltas(folder: Path) -> dict[str, Any]:
    """s B A in float64, by the path of its Linear, from the saved files alone."""
    from safetensors.torch import load_file

    config = read_json(folder / "adapter_config.json")
    factor = config["lora_alpha"] / config["r"]
    tensors = load_file(str(folder / "adapter_model.safetensors"))
    return {
        name.removeprefix(HEAD).removesuffix(A): factor
        * (tensors[name.removesuffix(A) + B].double() @ tensor.double())
        for name, tensor in tensors.items()
        if name.endswith(A)
    }


def merged_weights(spec: TrainSpec, folder: Path, case: str) -> Merged:
    """case: one of CASES. In float32, of which a training before it may have left TF32."""
    with precision.exact():
        return _merged_weights(spec, folder, case)


def _merged_weights(spec: TrainSpec, folder: Path, case: str) -> Merged:
    from peft import PeftModel

    is_packed = case == "four_bit"
    base = loading.load_model(
        Path(spec.snapshot),
        device=spec.device,
        dtype=spec.recipe.quantisation.bnb_4bit_compute_dtype if is_packed else case,
        quantisation="bitsandbytes" if is_packed else "none",
        recipe=spec.recipe,
    )
    added = deltas(folder / "adapter")
    exact = {path: _exact(base.get_submodule(path).weight, by, spec) for path, by in added.items()}
    model = PeftModel.from_pretrained(base, str(folder / "adapter")).eval().merge_and_unload()
    weights = {path: model.get_submodule(path).weight for path in added}
    off = sum(float((_values(weights[p]) - exact[p]).norm() ** 2) for p in added)
    size = sum(float(delta.norm() ** 2) for delta in added.values())
    dtypes = {str(weight.dtype).removeprefix("torch.") for weight in weights.values()}
    return Merged((*sorted(dtypes),), float((off / size) ** 0.5))


def _exact(weight: Any, delta: Any, spec: TrainSpec) -> Any:
    """float64: a weight and what is added to it, rounded once to its type; a packed one to NF4,
    from float32."""
    whole = _values(weight) + delta
    if not hasattr(weight, "quant_state"):
        return whole.to(weight.dtype).double()
    kernels = _compat.nf4_kernels(spec.device)
    packed = nf4.quantise(whole.float(), kernels=kernels)
    return nf4.dequantise(packed).double()


def _values(weight: Any) -> Any:
    """float64 on the CPU: of a packed weight what its bytes mean by our own arithmetic."""
    data = weight.detach()
    if hasattr(weight, "quant_state"):
        data = nf4.dequantise(unpacked(weight))
    return data.cpu().double()
