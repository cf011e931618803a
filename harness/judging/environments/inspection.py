"""Name in seconds what is missing and the command that mends it; installs nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.judging.environments.build import NEEDED_BYTES, environment_for, is_built, uv_binary
from harness.judging.environments.given import versions_of
from harness.judging.environments.identity import Identified, identified
from harness.judging.environments.installed import HEAVY, MEND
from harness.judging.environments.stack import locked
from harness.records.context import STAND_IN, is_stand_in
from harness.records.folders import STACKS, cache_root, import_root, path_of, whole
from harness.records.machine import installed_versions
from harness.records.mismatches import mismatches

DRIVER = Path("/proc/driver/nvidia/version")
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
    state = f"{free / 1e9:.0f} GB free at {root}"
    if free >= NEEDED_BYTES:
        return Line("disk", OK, state)
    return Line("disk", LACK, state, "free some space or set HARNESS_CACHE to a larger disk")


def _stack(text: str) -> Iterator[Line]:
    from harness.judging.environments.installed import installed_stack

    now = identified(text)
    if now.stack.name == "python":
        yield from _own_python(now)
        return
    if now.stack.name != "current":
        built = is_built(text)
        state = "built" if built else "built when a command first needs it"
        yield Line("stack", OK, f"{now.label}: {state}")
        for checkout in now.checkouts:
            seen = f"{checkout.name} from {len(checkout.files)} files, content {checkout.digest}"
            yield Line("checkout", OK, f"{checkout.folder}: {seen}")
        if built:
            yield from _pairs(str(environment_for(text)))
        return
    versions = installed_versions()
    absent = [n for n in HEAVY if n not in versions]
    if absent:
        yield Line(
            "stack",
            LACK,
            f"not installed here: {', '.join(absent)}",
            MEND,
        )
        return
    yield from _pairs(sys.executable)
    name = installed_stack()
    if name == "current":
        pins = locked("reference")
        moved = [
            f"{n} {versions[n]} (reference {pins[n]})" for n in HEAVY if versions[n] != pins[n]
        ]
        mend = f"expected for a trial stack; else {MEND}"
        yield Line("stack", WARN, f"no committed stack: {'; '.join(moved)}", mend)
        return
    moved = [
        f"{n} {versions.get(n, 'absent')} (lock {wanted})"
        for n, wanted in locked(name).items()
        if versions.get(n, "").split("+")[0] != wanted
    ]
    if moved:
        mend = f"uv pip install --require-hashes -r {STACKS / name}.lock"
        yield Line("stack", LACK, f"{name}, but not its lock: {'; '.join(moved[:5])}", mend)
        return
    yield Line("stack", OK, f"this interpreter has the committed stack {name}")


def _own_python(now: Identified) -> Iterator[Line]:
    """What a user's own environment has of what is measured."""
    python = now.stack.source
    versions = versions_of(python)
    there = ", ".join(f"{name} {versions[name]}" for name in HEAVY if name in versions)
    yield Line("stack", OK, f"{now.label}: {there or 'nothing of what is measured'}")
    absent = [name for name in HEAVY if name not in versions]
    if absent:
        mend = "install them there; what needs them is reported as broken"
        yield Line("stack", WARN, f"it lacks {', '.join(absent)}", mend)
    yield from _pairs(python)


def _pairs(python: str) -> Iterator[Line]:
    """What is installed there and does not work together, as the packages' metadata have it.

    Another environment's metadata are read by its own Python."""
    sentences: Sequence[str] = ()
    if python == sys.executable:
        sentences = [pair.sentence for pair in mismatches()]
    else:
        answer, error = _ask("pairs", python=python)
        if error:
            mend = "build the stack again"
            yield Line("pairs", LACK, f"{python} cannot be asked ({error})", mend)
        sentences = answer.get("pairs", ())
    for sentence in sentences:
        yield Line("pairs", LACK, sentence, "vary the other one too, e.g. --stack NAME,A==…,B==…")


def _model() -> Line:
    model = os.environ.get("HARNESS_MODEL")
    if not model or is_stand_in(model):
        return Line("model", OK, model or f"{STAND_IN} (HARNESS_MODEL is not set)")
    if not path_of(model).is_dir():
        if model == "random-7b" or re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", model):
            return Line("model", OK, model)
        mend = "set it to a snapshot folder, org/name@<40 hex> or random-7b"
        return Line("model", LACK, f"HARNESS_MODEL={model} is no folder and no pinned id", mend)
    # The script runs in the repository; the name is the user's, from where the user is.
    answer, error = _ask("model", str(whole(path_of(model))))
    if error or "error" in answer:
        mend = "set HARNESS_MODEL to a whole snapshot"
        return Line("model", LACK, error or answer["error"], mend)
    if not answer["weights"]:
        mend = "add its *.safetensors for the rungs above images and labels"
        return Line("model", WARN, f"{model} has no weights", mend)
    return Line("model", OK, model)


def _ask(question: str, *words: str, python: str = sys.executable) -> tuple[dict[str, Any], str]:
    """The measuring world's JSON answer, from a process of its own, or its last line of error."""
    done = subprocess.run(
        [python, "-B", "-m", "harness.measuring.child.ask", question, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=import_root(),
    )
    if done.returncode:
        return {}, (done.stderr.strip().splitlines() or ["no output"])[-1]
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer, ""


def _cuda(required: bool) -> Line:
    state = NOT_HERE if required else WARN
    mend = "use a machine with an NVIDIA GPU and its driver"
    if not DRIVER.is_file():
        return Line("cuda", state, "no NVIDIA driver", mend)
    answer, error = _ask("cuda")
    if error:
        return Line("cuda", state, f"torch cannot be asked ({error})", MEND)
    if "device" not in answer:
        why = f"a driver, but torch (CUDA {answer['torch']}) sees no device"
        return Line("cuda", state, why, "check nvidia-smi and CUDA_VISIBLE_DEVICES")
    if "bitsandbytes" in answer:
        why = f"{answer['device']}, but bitsandbytes cannot quantise: {answer['bitsandbytes']}"
        return Line("cuda", state, why, "install the CUDA libraries of the stack's lock")
    return Line("cuda", OK, f"{answer['device']}, torch CUDA {answer['torch']}, bitsandbytes works")


def inspect(stack: str, *, require_cuda: bool) -> tuple[Line, ...]:
    """Everything worth knowing before a run, in the order in which it would fail."""
    lines = [_python(), _uv(), _disk(), *_stack(stack), _model(), _cuda(require_cuda)]
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        lines.append(Line("hub", WARN, "HF_HUB_OFFLINE=1: only cached models can be used"))
    stand_in = is_stand_in(os.environ.get("HARNESS_MODEL") or STAND_IN)
    if os.environ.get("HARNESS_LANE") == "gpu" and stand_in:
        lines.append(
            Line(
                "gpu model",
                NOT_HERE,
                "the gpu lane never uses a stand-in",
                "set HARNESS_MODEL to a snapshot, org/name@<40 hex> or random-7b",
            )
        )
    return tuple(lines)


def exit_code(lines: tuple[Line, ...]) -> int:
    """2 where something is missing, 3 where this machine cannot do it, else 0."""
    states = {line.state for line in lines}
    return 2 if LACK in states else 3 if NOT_HERE in states else 0
