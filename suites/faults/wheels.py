"""Defects planted in a library: its wheel, packed again from an environment with one edit."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Planted:
    """One edit. library: distribution. file: below site-packages. old, new: the text replaced.

    rung: where it must be reported. finds: a metric of it. rungs: what to measure for it.
    """

    name: str
    library: str
    file: str
    old: str
    new: str
    rung: str
    finds: str
    rungs: str


def _files(site: Path, info: Path) -> Iterator[str]:
    """Names in the distribution's RECORD that lie below site-packages and are no byte code."""
    for line in (info / "RECORD").read_text(encoding="utf-8").splitlines():
        name = line.rsplit(",", 2)[0].strip('"')
        if ".." not in name and not name.endswith((".pyc", "RECORD", "INSTALLER", "REQUESTED")):
            yield name


def edited_wheel(site: Path, planted: Planted, folder: Path) -> Path:
    """Pack the installed distribution as a wheel of the same name and version, one text edited.

    site: site-packages of an environment that has it. Raises ValueError where the text to be
    replaced is not there.
    """
    (info,) = site.glob(f"{planted.library.replace('-', '_')}-*.dist-info")
    source = (site / planted.file).read_text(encoding="utf-8")
    if planted.old not in source:
        raise ValueError(f"{planted.file} does not hold {planted.old!r}")
    edited = source.replace(planted.old, planted.new)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{info.name.removesuffix('.dist-info')}-py3-none-any.whl"
    lines = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in _files(site, info):
            data = (site / name).read_bytes()
            if name == planted.file:
                data = edited.encode("utf-8")
            archive.writestr(name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(data)}")
        record = f"{info.name}/RECORD"
        archive.writestr(record, "\n".join([*lines, f"{record},,"]) + "\n")
    return path


QWEN = "transformers/models/qwen2_vl/"
PLANTED = (
    Planted(
        "image processing: the mean is a hundredth too large",
        "transformers",
        QWEN + "image_processing_qwen2_vl.py",
        "image=image, mean=image_mean, std=image_std",
        "image=image, mean=[m + 0.01 for m in image_mean], std=image_std",
        "images",
        "images.levels",
        "4",
    ),
    Planted(
        "positions: height and width swapped",
        "transformers",
        QWEN + "modeling_qwen2_vl.py",
        "torch.stack([t_index, h_index, w_index])",
        "torch.stack([t_index, w_index, h_index])",
        "inputs",
        "inputs.prefill_positions",
        "2,3,5,7",
    ),
    Planted(
        "loss: a little label smoothing",
        "transformers",
        QWEN + "modeling_qwen2_vl.py",
        "loss_fct = CrossEntropyLoss()",
        "loss_fct = CrossEntropyLoss(label_smoothing=0.001)",
        "forward",
        "forward.loss",
        "7-8",
    ),
    Planted(
        "LoRA scaling: one per cent too much",
        "peft",
        "peft/tuners/lora/layer.py",
        "self.scaling[adapter_name] = lora_alpha / r",
        "self.scaling[adapter_name] = 1.01 * lora_alpha / r",
        "forward",
        "forward.loss",
        "7-8",
    ),
    Planted(
        "accumulation: the micro-batches are added up, not averaged",
        "accelerate",
        "accelerate/accelerator.py",
        "loss = loss / self.gradient_accumulation_steps",
        "loss = loss / 1",
        "update",
        "update.accumulation_gap",
        "10",
    ),
    Planted(
        "clipping: at ten times the threshold",
        "transformers",
        "transformers/trainer.py",
        "_grad_norm = self.accelerator.clip_grad_norm_(\n"
        "                                model.parameters(),\n"
        "                                args.max_grad_norm,",
        "_grad_norm = self.accelerator.clip_grad_norm_(\n"
        "                                model.parameters(),\n"
        "                                args.max_grad_norm * 10,",
        "update",
        "update.clip_gap",
        "10",
    ),
    Planted(
        "saving: one module's adapter is left out",
        "peft",
        "peft/utils/save_and_load.py",
        'to_return = {k: state_dict[k] for k in state_dict if "lora_" in k}',
        'to_return = {k: state_dict[k] for k in state_dict if "lora_" in k '
        'and "layers.0.self_attn.q_proj" not in k}',
        "trajectory",
        "trajectory.adapter_tensors",
        "11",
    ),
)
