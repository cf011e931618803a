"""`python -m harness.measuring.child.ask pairs | model FOLDER | cuda`: the doctor's questions.

The judging world asks in a process of its own: what answers imports what is judged.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.records.mismatches import mismatches


def pairs() -> dict[str, Any]:
    """What is installed here and does not work together."""
    return {"pairs": [pair.sentence for pair in mismatches()]}


def model(folder: str) -> dict[str, Any]:
    """Whether a snapshot folder is whole and holds weights."""
    from harness.measuring.snapshots.source import inspect

    path = Path(folder)
    try:
        return {"weights": inspect(path, path.name).has_weights}
    except HarnessError as error:
        return {"error": str(error)}


def cuda() -> dict[str, Any]:
    """What torch was built for, the device it sees, and whether bitsandbytes quantises on it."""
    import torch

    answer = {"torch": str(torch.version.cuda)}
    if torch.cuda.is_available():
        answer["device"] = torch.cuda.get_device_name()
        try:
            import bitsandbytes

            bitsandbytes.functional.quantize_4bit(torch.ones(64, device="cuda"), quant_type="nf4")
        except Exception as error:  # noqa: BLE001 - whatever it throws is the answer
            answer["bitsandbytes"] = f"{type(error).__name__}: {error}".splitlines()[0]
    return answer


QUESTIONS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "pairs": pairs,
    "model": model,
    "cuda": cuda,
}

if __name__ == "__main__":
    print(json.dumps(QUESTIONS[sys.argv[1]](*sys.argv[2:])))
