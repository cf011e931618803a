"""Name in seconds what is missing and the command that mends it; installs nothing."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from harness.environment import installed_versions
from harness.errors import HarnessError
from harness.stack import NEEDED_BYTES, cache_root, locked, parse, uv_binary

OK, WARN, LACK, NOT_HERE = "ok", "warning", "missing", "not here"


@dataclass(frozen=True)
class Line:
    """One inspected thing. state: ok, warning, missing (exit 2) or not here (exit 3)."""

    what: str
    state: str
    found: str
    mend: str = ""


def _python() -> Line:
    here = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Line("python", OK, here)
    return Line("python", LACK, here, "install Python 3.11 or 3.12 and make the environment anew")


def _uv() -> Line:
    try:
        return Line("uv", OK, uv_binary())
    except HarnessError as error:
        return Line("uv", LACK, str(error), "pip install uv")


def _disk() -> Line:
    root = cache_root()
    while not root.exists():
        root = root.parent
    free = shutil.disk_usage(root).free
    found = f"{free / 1e9:.0f} GB free at {root}"
    if free >= NEEDED_BYTES:
        return Line("disk", OK, found)
    return Line("disk", LACK, found, "free some space or set HARNESS_CACHE to a larger disk")


def _stack(text: str) -> Iterator[Line]:
    from harness.session import installed_stack

    stack = parse(text)
    if stack.name != "current":
        yield Line("stack", OK, f"{stack.label}: built when a command needs it")
        return
    name = installed_stack()
    if name != "current":
        yield Line("stack", OK, f"this interpreter has the committed stack {name}")
        return
    versions, pins = installed_versions(), locked("reference")
    heavy = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "datasets")
    absent = [n for n in heavy if n not in versions]
    if absent:
        yield Line(
            "stack", LACK, f"not installed here: {', '.join(absent)}",
            "tox -e main, or pass --stack reference to have it built",
        )  # fmt: skip
        return
    moved = [f"{n} {versions[n]} (reference {pins[n]})" for n in heavy if versions[n] != pins[n]]
    yield Line(
        "stack", WARN, f"no committed stack: {'; '.join(moved)}", "expected for a trial stack"
    )


def _model() -> Line:
    model = os.environ.get("HARNESS_MODEL")
    if not model:
        return Line("model", OK, "stand-in (HARNESS_MODEL is not set)")
    path = Path(model)
    if "/" in model and "@" not in model and not path.is_dir():
        return Line("model", LACK, f"HARNESS_MODEL={model} is no folder", "point it at a snapshot")
    return Line("model", OK, model)


def _cuda(required: bool) -> Line:
    try:
        import importlib

        torch = importlib.import_module("torch")
    except ImportError:
        state = NOT_HERE if required else WARN
        return Line("cuda", state, "torch is not installed here", "tox -e gpu on a CUDA machine")
    if torch.cuda.is_available():
        return Line("cuda", OK, f"{torch.cuda.get_device_name()}, torch CUDA {torch.version.cuda}")
    why = (
        "no NVIDIA driver"
        if not Path("/proc/driver/nvidia/version").exists()
        else "torch sees none"
    )
    return Line(
        "cuda", NOT_HERE if required else WARN, f"no CUDA device ({why})",
        "run `tox -e gpu` on a machine with an NVIDIA GPU and driver",
    )  # fmt: skip


def inspect(stack: str, *, require_cuda: bool) -> tuple[Line, ...]:
    """Everything worth knowing before a run, in the order in which it would fail."""
    lines = [_python(), _uv(), _disk(), *_stack(stack), _model(), _cuda(require_cuda)]
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        lines.append(Line("hub", WARN, "HF_HUB_OFFLINE=1: only cached models can be used"))
    if os.environ.get("HARNESS_LANE") == "gpu" and not os.environ.get("HARNESS_MODEL"):
        lines.append(
            Line("gpu model", NOT_HERE, "the gpu lane never uses the stand-in",
                 "set HARNESS_MODEL to a snapshot, org/name@<40 hex> or random-7b")
        )  # fmt: skip
    return tuple(lines)


def exit_code(lines: tuple[Line, ...]) -> int:
    """2 where something is missing, 3 where this machine cannot do it, else 0."""
    states = {line.state for line in lines}
    return 2 if LACK in states else 3 if NOT_HERE in states else 0


def doctor(stack: str, *, require_cuda: bool, as_json: bool) -> int:
    """Print the inspection and return its exit code."""
    lines = inspect(stack, require_cuda=require_cuda)
    screen = Console(stderr=True, highlight=False)
    for line in lines:
        mend = f"  → {line.mend}" if line.mend else ""
        screen.print(
            f"{line.state:>8}  {line.what}: {line.found}{mend}", markup=False, soft_wrap=True
        )
    if as_json:
        print(json.dumps({"schema": 1, "lines": [asdict(line) for line in lines]}))
    return exit_code(lines)
