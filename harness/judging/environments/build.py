"""A stack's environment: resolved and built with uv, or the one that was built before."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import HarnessError, OutOfSpace, StackBroken
from harness.judging.environments import bound
from harness.judging.environments.given import versions_of
from harness.judging.environments.identity import Identified, identified
from harness.judging.environments.installed import this_python
from harness.judging.environments.stack import (
    Stack,
    as_of,
    constraints,
    pins,
    preferred_lock,
)
from harness.records.files import json_digest, text_digest, write_json
from harness.records.folders import cache_root
from harness.records.scratch import Scratch

# One built environment: CUDA libraries included, hard-linked from uv's cache where it can.
NEEDED_BYTES = 7_000_000_000
# What the measuring processes import of their own, whatever they measure.
NEEDED = (
    "evaluate",
    "filelock",
    "numpy",
    "packaging",
    "pillow",
    "pyarrow",
    "qwen-vl-utils",
    "regex",
    "rich",
    "rouge-score",
    "sacrebleu",
    "safetensors",
    "tensorboard",
)
COMPILE = ("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-emit-index-url")
# As the lock says, whatever pyproject.toml has become since; the project itself is not installed.
EXPORT = ("--frozen", "--no-emit-workspace", "--no-header", "--format", "requirements.txt")
LOCK_TIMEOUT_S = 1800
_FINDING_UV = threading.Lock()


def uv_binary() -> str:
    """uv's path, from its package or PATH. Raises StackBroken where there is none."""
    try:
        from uv import find_uv_bin

        # It asks sysconfig, which gives a second thread half of its first answer.
        with _FINDING_UV:
            return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        program = shutil.which("uv")
    if program is None:
        raise StackBroken("uv is missing; install it with `pip install uv`.")
    return program


def environment_for(text: str) -> Path:
    """The Python of a stack's environment, built if need be.

    Raises StackBroken with uv's reason in one sentence, OutOfSpace before a build that cannot
    fit, BadInput for what cannot be parsed. Two builders wait for one another.
    """
    now = identified(text)
    if now.stack.name == "current":
        return this_python()
    if now.stack.name == "python":
        versions_of(now.stack.source)
        return Path(now.stack.source)
    stack = now.made_ready()
    root = cache_root() / "environments"
    root.mkdir(parents=True, exist_ok=True)
    if stack.source:
        return _built(root / f"{stack.name}-{_of_source(now)}", now.label, _build_given, stack)
    if stack.name == "newest":
        names = "\n".join(pin.name for pin in pins("latest"))
        wanted = resolve(names, "", stack.label, root)
    else:
        wanted = constraints(stack)
    preferred = preferred_lock(stack)
    folder = _address(stack, wanted, preferred, root)
    return _built(folder, now.label, _build, stack, wanted, preferred)


def _built(folder: Path, label: str, build: Callable[..., None], *words: object) -> Path:
    """The Python of a folder's environment, built there by `build(folder, *words)` unless it is."""
    python = folder / "bin" / "python"
    marker = folder / "harness.json"
    if marker.is_file():
        return python
    from filelock import FileLock, Timeout  # it brings asyncio, for nothing where all is built

    try:
        with FileLock(f"{folder}.lock", timeout=LOCK_TIMEOUT_S):
            if not marker.is_file():
                _refuse_full(folder)
                shutil.rmtree(folder, ignore_errors=True)
                build(folder, *words)
                write_json(marker, {"stack": label})
    except Timeout as error:
        raise StackBroken(
            f"Another process has been building {folder} for {LOCK_TIMEOUT_S // 60} minutes; "
            "wait for it or end it."
        ) from error
    return python


def is_built(text: str) -> bool:
    """Whether environment_for would build nothing. `newest` cannot know without resolving."""
    name = identified(text).stack.name
    if name in {"current", "newest", "python"}:
        return name != "newest"
    return (environment_place(text) / "harness.json").is_file()


def environment_place(text: str) -> Path:
    """The folder where a stack's environment is or would be built; all that decides what is in it
    is in its name. Not of `newest`, which resolves anew, nor of an interpreter used as it is."""
    now = identified(text)
    root = cache_root() / "environments"
    if now.stack.source:
        return root / f"{now.stack.name}-{_of_source(now)}"
    return _address(now.stack, constraints(now.stack), preferred_lock(now.stack), root)


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
    with Scratch(folder / "resolving") as work:
        asked, answer = work / "asked.in", work / "answer.txt"
        asked.write_text(wanted, encoding="utf-8")
        answer.write_text(preferred, encoding="utf-8")
        _uv(
            *COMPILE,
            "--python",
            sys.executable,
            *(["--exclude-newer", day] if day else []),
            *extra,
            str(asked),
            "-o",
            str(answer),
            what=what,
        )
        return answer.read_text(encoding="utf-8")


def _of_source(now: Identified) -> str:
    """Everything that decides what is in the environment of a user's own file."""
    return json_digest([now.digest, sys.version_info[:2], sys.platform])


def _refuse_full(folder: Path) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < NEEDED_BYTES:
        raise OutOfSpace(
            f"An environment needs {NEEDED_BYTES / 1e9:.0f} GB, {folder.parent} has "
            f"{free / 1e9:.1f} GB free; set HARNESS_CACHE to a larger disk."
        )


def _build(folder: Path, stack: Stack, wanted: str, preferred: str) -> None:
    exact = wanted
    if wanted != preferred and stack.name != "newest":
        day = "" if stack.requirements else as_of(stack.name)
        exact = resolve(wanted, preferred, stack.label, folder.parent, day)
    _uv("venv", "--quiet", "--python", sys.executable, str(folder), what=stack.label)
    _install(folder, exact, stack.label)


def _install(folder: Path, exact: str, what: str, *words: str) -> None:
    """Install a requirements file's text into the environment. words: further ones for uv."""
    requirements = folder / "requirements.txt"
    requirements.write_text(exact, encoding="utf-8")
    hashes = ["--require-hashes"] if "--hash=" in exact else []
    python = str(folder / "bin" / "python")
    install = ("pip", "install", "--quiet", "--python", python)
    _uv(*install, *hashes, *words, "-r", str(requirements), what=what)


def _build_given(folder: Path, stack: Stack) -> None:
    """An environment of a user's requirements or lock, and beside it what measuring needs, without
    moving anything of it."""
    source, what = Path(stack.source), stack.label
    _uv("venv", "--quiet", "--python", sys.executable, str(folder), what=what)
    python = str(folder / "bin" / "python")
    if stack.name == "requirements":
        exact = folder / "exact.txt"
        _uv(*COMPILE, "--python", sys.executable, str(source), "-o", str(exact), what=what)
        _install(folder, exact.read_text(encoding="utf-8"), what)
    elif source.name == "uv.lock":
        exact = folder / "exact.txt"
        project = ("--project", str(source.parent), "--python", sys.executable)
        _uv("export", "--quiet", *project, *EXPORT, "-o", str(exact), what=what)
        _install(folder, exact.read_text(encoding="utf-8"), what)
    else:
        _uv("pip", "install", "--quiet", "--python", python, "-r", str(source), what=what)
    pinned = "".join(f"{name}=={version}\n" for name, version in versions_of(python).items())
    constraints_file = folder / "kept.txt"
    constraints_file.write_text(pinned, encoding="utf-8")
    needed = "\n".join(NEEDED) + "\n"
    _install(folder, needed, f"{what} with what measuring needs", "-c", str(constraints_file))


def _uv(*words: str, what: str) -> None:
    done = bound.run([uv_binary(), *words])
    if done.returncode:
        raise refusal(done.stderr, f"The stack {what}")


def refusal(stderr: str, what: str) -> HarnessError:
    """Why uv could not install: a full disk says nothing about what was to be installed."""
    if "No space left on device" in stderr:
        return OutOfSpace(
            f"The disk filled up while {what[0].lower()}{what[1:]} was installed; free some space "
            "or set HARNESS_CACHE to a larger disk."
        )
    sentence = f"{what} cannot be installed: {reason(stderr)}"
    if os.environ.get("UV_OFFLINE"):
        sentence += " Nothing was downloaded (--offline): once without it fills uv's cache."
    return StackBroken(sentence)


def reason(stderr: str) -> str:
    """uv's explanation in one sentence: its `Because …` clause, else its last line."""
    text = " ".join(line.strip(" │╰─▶×") for line in stderr.splitlines() if line.strip())
    because = re.search(r"(Because .*?)(?: hint:|$)", text)
    return (because[1] if because else text)[:600]
