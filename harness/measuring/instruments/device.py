"""The device that measures, named as the goldens that belong to it."""

from __future__ import annotations

import os

from harness.records.machine import cpu_key


def sees_cuda() -> bool:
    """Whether torch sees a CUDA device; where all are hidden it is not imported to see none."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return False
    import torch

    return bool(torch.cuda.is_available())


def hide_unused(device: str) -> None:
    """What trains on a CPU sees no GPU, if CUDA was not begun with before: libraries choose by what
    they see (trl 1.16's loss kernel wants a GPU's tensors where there is one)."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def device_key(device: str) -> str:
    """Key of device-keyed goldens: `cpu-x86_64-avx512`, `cuda-nvidia-h200`."""
    if device.startswith("cuda"):
        import torch

        return "cuda-" + "-".join(torch.cuda.get_device_name().lower().split())
    return cpu_key()
