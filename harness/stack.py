"""Read a stack; build or reuse its environment with uv.

A stack is `NAME[,REQ…]`: one of `harness/stacks/NAME.in` (with its lock where it is committed),
`current` (this interpreter, nothing built) or `newest` (`latest` resolved now), varied by PEP 508
requirements or wheels.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from harness.errors import BadInput, HarnessError, OutOfSpace, StackBroken
from harness.record import json_digest, text_digest, write_json

STACKS = Path(__file__).resolve().parent / "stacks"
# One built environment: CUDA libraries included, hard-linked from uv's cache where it can.
NEEDED_BYTES = 7_000_000_000
LOCK_TIMEOUT_S = 1800
_FINDING_UV = threading.Lock()


@dataclass(frozen=True)
class Pin:
    """One line of a stack's file. origin: `recipe`, `ours`, … and why, as the comment says."""

    requirement: str
    origin: str

    @property
    def name(self) -> str:
        """Canonical distribution name."""
        return canonicalize_name(Requirement(self.requirement).name)

    @property
    def is_firm(self) -> bool:
        """Whether a variation of the stack must keep it: not what we added around it."""
        return not self.origin.startswith(("ours", "recipe, unpinned"))


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


def listed() -> tuple[str, ...]:
    """Names of the stacks found in harness/stacks, locked or not."""
    return tuple(sorted(path.stem for path in STACKS.glob("*.in")))


def parse(text: str) -> Stack:
    """Parse `NAME[,REQ…]`. Raises BadInput for an unknown name, requirement or wheel."""
    # A comma inside a requirement (`peft>=0.13,<0.14`) is followed by an operator.
    name, *rest = re.split(r",(?!\s*[<>=!~])", text)
    if name not in {*listed(), "current", "newest"}:
        raise BadInput(
            f"There is no stack {name!r}; choose from {', '.join(listed())}, current, newest."
        )
    if rest and name in {"current", "newest"}:
        raise BadInput(f"`{name}` is used as it is; vary a stack of harness/stacks instead.")
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
        why = str(error).splitlines()[0].rstrip(": ")
        raise BadInput(f"{text!r} is no requirement ({why}); write e.g. peft==0.14.0.") from error


def pins(name: str) -> tuple[Pin, ...]:
    """The lines of a committed stack's file, with their origin comments."""
    path = STACKS / f"{name}.in"
    if not path.is_file():
        raise BadInput(f"There is no stack {name!r}; choose from {', '.join(listed())}.")
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        requirement, _, comment = line.partition("#")
        if requirement.strip():
            found.append(Pin(requirement.strip(), comment.strip()))
    return tuple(found)


def locked(name: str) -> dict[str, str]:
    """Exact versions of a lock by canonical name, as its markers hold for this interpreter."""
    path = STACKS / f"{name}.lock"
    if not path.is_file():
        raise BadInput(f"The stack {name!r} has no lock; run `tox -e lock`.")
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line[0] in " #":
            continue
        wish = Requirement(line.rstrip("\\ "))
        if wish.marker is None or wish.marker.evaluate():
            found[str(canonicalize_name(wish.name))] = next(iter(wish.specifier)).version
    return found


def declared(stack: Stack) -> dict[str, str]:
    """Exact versions that a stack promises, by canonical name.

    A committed stack promises its lock; a varied one the exact pins of its file and of its
    variation, the rest may move. Raises BadInput for `current` and `newest`, which promise none.
    """
    if stack.name not in listed():
        raise BadInput(
            f"The stack {stack.label} declares no versions; name one of {', '.join(listed())}."
        )
    if not stack.requirements and (STACKS / f"{stack.name}.lock").is_file():
        return locked(stack.name)
    promised: dict[str, str] = {}
    for line in constraints(stack).splitlines():
        if line.endswith(".whl"):
            distribution, version, *_ = parse_wheel_filename(Path(line).name)
            promised[str(distribution)] = str(version)
            continue
        wish = Requirement(line)
        exact = [s.version for s in wish.specifier if s.operator == "==" and "*" not in s.version]
        if exact:
            promised[str(canonicalize_name(wish.name))] = exact[0]
    return promised


def as_of(name: str) -> str:
    """The date in a dated stack's first line (`# As of 2025-02-28: …`), '' where there is none.

    Such a stack has no lock: what its lines leave open is resolved as it was on that day.
    """
    first = (STACKS / f"{name}.in").read_text(encoding="utf-8").splitlines()[0]
    found = re.match(r"# As of (\d{4}-\d{2}-\d{2}):", first)
    return found[1] if found else ""


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

        # It asks sysconfig, which gives a second thread half of its first answer.
        with _FINDING_UV:
            return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise StackBroken("uv is missing; install it with `pip install uv`.")
    return found


def constraints(stack: Stack) -> str:
    """What uv is asked to install, as a requirements file's text.

    An unvaried stack with a lock installs that, hashes checked. A varied one keeps the pins of
    its file that are the recipe's (or, in `latest`, the newest) and not varied, and names the
    rest: those stay where the lock has them unless the variation forces them to move.
    """
    if not stack.requirements and _preferred(stack):
        return _preferred(stack)
    varied = {_distribution(r) for r in stack.requirements}
    # Every torchvision belongs to one torch.
    loose = {"torchvision"} if "torch" in varied else set()
    kept = [
        pin.requirement if not varied or (pin.is_firm and pin.name not in loose) else pin.name
        for pin in pins(stack.name)
        if pin.name not in varied
    ]
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
    root = cache_root() / "environments"
    root.mkdir(parents=True, exist_ok=True)
    if stack.name == "newest":
        names = "\n".join(pin.name for pin in pins("latest"))
        wanted = resolve(names, "", stack.label, root)
    else:
        wanted = constraints(stack)
    preferred = _preferred(stack)
    folder = _address(stack, wanted, preferred, root)
    python = folder / "bin" / "python"
    marker = folder / "harness.json"
    if marker.is_file():
        return python
    try:
        with FileLock(f"{folder}.lock", timeout=LOCK_TIMEOUT_S):
            if not marker.is_file():
                _build(stack, wanted, preferred, folder)
                write_json(marker, {"stack": stack.label})
    except Timeout as error:
        raise StackBroken(
            f"Another process has been building {folder} for {LOCK_TIMEOUT_S // 60} minutes; "
            "wait for it or end it."
        ) from error
    return python


def is_built(text: str) -> bool:
    """Whether environment_for would build nothing. `newest` cannot know without resolving."""
    stack = parse(text)
    if stack.name in {"current", "newest"}:
        return stack.name == "current"
    root = cache_root() / "environments"
    folder = _address(stack, constraints(stack), _preferred(stack), root)
    return (folder / "harness.json").is_file()


def _preferred(stack: Stack) -> str:
    lock = STACKS / f"{stack.name}.lock"
    return lock.read_text(encoding="utf-8") if lock.is_file() else ""


def _address(stack: Stack, wanted: str, preferred: str, root: Path) -> Path:
    """The environment's folder: everything that decides what is in it is in its name."""
    wheels = [text_digest(Path(r).read_bytes()) for r in stack.requirements if r.endswith(".whl")]
    key = json_digest([wanted, preferred, wheels, sys.version_info[:2], sys.platform])
    return root / f"{stack.name}-{key}"


def resolve(
    wanted: str, preferred: str, what: str, folder: Path, day: str = "", extra: Sequence[str] = ()
) -> str:
    """Exact versions for the requirements, those of `preferred` kept where they can be.

    day: ignore what was published after it. extra: further words for uv. Raises StackBroken with
    uv's reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        asked, answer = Path(work, "asked.in"), Path(work, "answer.txt")
        asked.write_text(wanted, encoding="utf-8")
        answer.write_text(preferred, encoding="utf-8")
        _uv(
            "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-emit-index-url",
            "--python", sys.executable, *(["--exclude-newer", day] if day else []),
            *extra, str(asked), "-o", str(answer), what=what,
        )  # fmt: skip
        return answer.read_text(encoding="utf-8")


def _build(stack: Stack, wanted: str, preferred: str, folder: Path) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < NEEDED_BYTES:
        raise OutOfSpace(
            f"An environment needs {NEEDED_BYTES / 1e9:.0f} GB, {folder.parent} has "
            f"{free / 1e9:.1f} GB free; set HARNESS_CACHE to a larger disk."
        )
    shutil.rmtree(folder, ignore_errors=True)
    exact = wanted
    if wanted != preferred and stack.name != "newest":
        day = "" if stack.requirements else as_of(stack.name)
        exact = resolve(wanted, preferred, stack.label, folder.parent, day)
    _uv("venv", "--quiet", "--python", sys.executable, str(folder), what=stack.label)
    requirements = folder / "requirements.txt"
    requirements.write_text(exact, encoding="utf-8")
    hashes = ["--require-hashes"] if "--hash=" in exact else []
    _uv(
        "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *hashes,
        "-r", str(requirements), what=stack.label,
    )  # fmt: skip


def _uv(*words: str, what: str) -> None:
    done = subprocess.run([uv_binary(), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise refusal(done.stderr, f"The stack {what}")


def refusal(stderr: str, what: str) -> HarnessError:
    """Why uv could not install: a full disk says nothing about what was to be installed."""
    if "No space left on device" in stderr:
        return OutOfSpace(
            f"The disk filled up while {what[0].lower()}{what[1:]} was installed; free some space "
            "or set HARNESS_CACHE to a larger disk."
        )
    said = f"{what} cannot be installed: {reason(stderr)}"
    if os.environ.get("UV_OFFLINE"):
        said += " Nothing was downloaded (--offline): once without it fills uv's cache."
    return StackBroken(said)


def reason(stderr: str) -> str:
    """uv's explanation in one sentence: its `Because …` clause, else its last line."""
    text = " ".join(line.strip(" │╰─▶×") for line in stderr.splitlines() if line.strip())
    found = re.search(r"(Because .*?)(?: hint:|$)", text)
    return (found[1] if found else text)[:600]
