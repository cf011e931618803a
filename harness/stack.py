"""Read a stack; build or reuse its environment with uv.

A stack is `NAME[,REQ…]`: a committed one (`harness/stacks/NAME.in` and its lock), `current` (this
interpreter, nothing built) or `newest` (resolved now), varied by PEP 508 requirements or wheels.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from harness.errors import BadInput, OutOfSpace, StackBroken
from harness.record import json_digest, text_digest, write_json

STACKS = Path(__file__).resolve().parent / "stacks"
# One built environment: CUDA libraries included, hard-linked from uv's cache where it can.
NEEDED_BYTES = 7_000_000_000
LOCK_TIMEOUT_S = 1800


@dataclass(frozen=True)
class Pin:
    """One line of a stack's file. origin: `recipe`, `ours`, … and why, as the comment says."""

    requirement: str
    origin: str

    @property
    def name(self) -> str:
        """Canonical distribution name."""
        return canonicalize_name(Requirement(self.requirement).name)


@dataclass(frozen=True)
class Stack:
    """A parsed stack. requirements: what varies it, in order; wheels as absolute paths."""

    name: str
    requirements: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How it is written."""
        return ",".join(
            (self.name, *(Path(r).name if r.endswith(".whl") else r for r in self.requirements))
        )


def committed() -> tuple[str, ...]:
    """Names of the stacks found in harness/stacks."""
    return tuple(sorted(path.stem for path in STACKS.glob("*.in")))


def parse(text: str) -> Stack:
    """Parse `NAME[,REQ…]`. Raises BadInput for an unknown name, requirement or wheel."""
    name, *rest = text.split(",")
    if name not in {*committed(), "current", "newest"}:
        raise BadInput(
            f"There is no stack {name!r}; choose from {', '.join(committed())}, current, newest."
        )
    if rest and name == "current":
        raise BadInput("`current` is used as it is; vary a committed stack instead.")
    return Stack(name, tuple(_requirement(item.strip()) for item in rest))


def _requirement(text: str) -> str:
    if text.endswith(".whl"):
        path = Path(text).expanduser().resolve()
        if not path.is_file():
            raise BadInput(f"There is no wheel {text}.")
        try:
            *_, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename as error:
            raise BadInput(f"{path.name} is not a wheel's file name ({error}).") from error
        here = f"cp{sys.version_info.major}{sys.version_info.minor}"
        if not any(t.interpreter in {here, "py3", "py2.py3"} or t.abi == "abi3" for t in tags):
            wanted = ", ".join(sorted({t.interpreter for t in tags}))
            raise BadInput(f"{path.name} is for {wanted}, this Python is {here}.")
        return str(path)
    try:
        return str(Requirement(text))
    except InvalidRequirement as error:
        raise BadInput(f"{text!r} is no requirement ({error}); write e.g. peft==0.14.0.") from error


def pins(name: str) -> tuple[Pin, ...]:
    """The lines of a committed stack's file, with their origin comments."""
    path = STACKS / f"{name}.in"
    if not path.is_file():
        raise BadInput(f"There is no stack {name!r}; choose from {', '.join(committed())}.")
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        requirement, _, comment = line.partition("#")
        if requirement.strip():
            found.append(Pin(requirement.strip(), comment.strip()))
    return tuple(found)


def locked(name: str) -> dict[str, str]:
    """Exact versions of a lock by canonical name (one Python's markers ignored)."""
    path = STACKS / f"{name}.lock"
    if not path.is_file():
        raise BadInput(f"The stack {name!r} has no lock; run `tox -e lock`.")
    text = path.read_text(encoding="utf-8")
    return {
        str(canonicalize_name(found[1])): found[2]
        for found in re.finditer(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.M)
    }


def cache_root() -> Path:
    """Where environments are kept: HARNESS_CACHE, else the user's cache folder."""
    override = os.environ.get("HARNESS_CACHE")
    if override:
        return Path(override).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "vlm-qlora-harness"


def uv_binary() -> str:
    """uv's path, from its package or PATH. Raises StackBroken where there is none."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise StackBroken("uv is missing; install it with `pip install uv`.")
    return found


def constraints(stack: Stack) -> str:
    """What uv is asked to install, as a requirements file's text.

    An unvaried stack installs its lock with hashes. A varied one keeps every locked version
    except those of the packages that the variation names and may have to move: the lock's exact
    pins become the declared ones of the .in file plus the variation, resolved together.
    """
    if not stack.requirements:
        return (STACKS / f"{stack.name}.lock").read_text(encoding="utf-8")
    varied = {_distribution(r) for r in stack.requirements}
    kept = [pin.requirement for pin in pins(stack.name) if pin.name not in varied]
    return "\n".join([*kept, *stack.requirements]) + "\n"


def _distribution(requirement: str) -> str:
    if requirement.endswith(".whl"):
        return str(parse_wheel_filename(Path(requirement).name)[0])
    return str(canonicalize_name(Requirement(requirement).name))


def environment_for(text: str) -> Path:
    """The Python of a stack's environment, built if need be.

    Raises StackBroken with uv's reason in one sentence, OutOfSpace before a build that cannot
    fit, BadInput for what cannot be parsed. Two builders wait for one another.
    """
    stack = parse(text)
    if stack.name == "current":
        return Path(sys.executable)
    if stack.name == "newest":
        stack = Stack("latest", tuple(pin.name for pin in pins("latest")))
    wanted = constraints(stack)
    wheels = [text_digest(Path(r).read_bytes()) for r in stack.requirements if r.endswith(".whl")]
    key = json_digest([wanted, wheels, sys.version_info[:2], sys.platform])
    folder = cache_root() / "environments" / f"{stack.name}-{key}"
    python = folder / "bin" / "python"
    marker = folder / "harness.json"
    if marker.is_file():
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{folder}.lock", timeout=LOCK_TIMEOUT_S):
            if not marker.is_file():
                _build(stack, wanted, folder, python)
                write_json(marker, {"stack": stack.label, "requirements": wanted.splitlines()[:40]})
    except Timeout as error:
        raise StackBroken(f"Another process has been building {folder} for too long.") from error
    return python


def _build(stack: Stack, wanted: str, folder: Path, python: Path) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < NEEDED_BYTES:
        raise OutOfSpace(
            f"An environment needs {NEEDED_BYTES / 1e9:.0f} GB, {folder.parent} has "
            f"{free / 1e9:.1f} GB free; set HARNESS_CACHE to a larger disk."
        )
    shutil.rmtree(folder, ignore_errors=True)
    requirements = folder.parent / f"{folder.name}.requirements.txt"
    requirements.write_text(wanted, encoding="utf-8")
    _uv("venv", "--quiet", "--python", sys.executable, str(folder), what=stack.label)
    hashes = [] if stack.requirements else ["--require-hashes"]
    _uv(
        "pip", "install", "--quiet", "--python", str(python), *hashes, "-r", str(requirements),
        what=stack.label,
    )  # fmt: skip


def _uv(*words: str, what: str) -> None:
    done = subprocess.run([uv_binary(), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackBroken(f"The stack {what} cannot be installed: {reason(done.stderr)}")


def reason(stderr: str) -> str:
    """uv's explanation in one sentence: its `Because …` clause, else its last line."""
    text = " ".join(line.strip(" │╰─▶×") for line in stderr.splitlines() if line.strip())
    found = re.search(r"(Because .*?)(?: hint:|$)", text)
    return (found[1] if found else text)[:600]
