"""Read a stack: its pins, its lock, what it declares.

A stack is `NAME[,REQ…]`: one of `harness/stacks/NAME.in` (with its lock where it is committed),
`current` (this interpreter, nothing built) or `newest` (`latest` resolved now), varied by PEP 508
requirements, wheels, source checkouts (`./trl`) or git references (`trl @ git+https://…@main`). Or
it is a user's own: `requirements:FILE`, `lock:FILE`, `python:PATH`.

What may change under its name carries a digest of its content in records: `latest,/src/trl#0a1b…`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from harness.errors import BadInput
from harness.judging.environments.checkout import distribution_of, is_checkout
from harness.judging.environments.given import KINDS, exact_pins, source_of
from harness.records.folders import STACKS, path_of, whole

# `trl @ …` and `trl[vlm] @ …`.
# As PEP 508 has it; packaging takes any word.
_DISTRIBUTION = re.compile(r"[a-z0-9]|[a-z0-9][a-z0-9._-]*[a-z0-9]")
_AT_ADDRESS = re.compile(r"\s*[\w.-]+(\[[^\]]*\])?\s*@")
# What identifies a content, as records have it behind what may change.
DIGEST = re.compile(r"#[0-9a-f]{16}$")


@cache
def _named(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


@dataclass(frozen=True)
class Pin:
    """One line of a stack's file. origin: `recipe`, `ours`, … and why, as the comment says."""

    requirement: str
    origin: str

    @property
    def name(self) -> str:
        """Canonical distribution name."""
        return _named(self.requirement)

    @property
    def is_firm(self) -> bool:
        """Whether a variation of the stack must keep it: not what we added around it."""
        return not self.origin.startswith(("ours", "recipe, unpinned"))


@dataclass(frozen=True)
class Stack:
    """A parsed stack. requirements: what varies it, in order; wheels as absolute paths, checkouts
    as `name @ file:///…`. source: the path of a user's own, whose kind is the name."""

    name: str
    requirements: tuple[str, ...] = ()
    source: str = ""

    @property
    def label(self) -> str:
        """How it is written."""
        if self.source:
            return f"{self.name}:{self.source}"
        return ",".join(
            (self.name, *(Path(r).name if r.endswith(".whl") else r for r in self.requirements))
        )


def listed() -> tuple[str, ...]:
    """Names of the stacks found in harness/stacks, locked or not."""
    return tuple(sorted(path.stem for path in STACKS.glob("*.in")))


def parse(text: str) -> Stack:
    """Parse a stack, a digest of its content left out. Raises BadInput for an unknown name,
    requirement, wheel, checkout or file."""
    kind, colon, source = text.partition(":")
    if colon and kind in KINDS:
        if re.search(r",\s*[\w.-]+\s*([<>=!~@]|$)", source):
            raise BadInput(f"`{kind}:` is used as it is; vary a stack of harness/stacks instead.")
        return Stack(kind, (), source_of(kind, DIGEST.sub("", source)))
    # A comma inside a requirement (`peft>=0.13,<0.14`) is followed by an operator.
    name, *rest = re.split(r",(?!\s*[<>=!~])", text)
    if name not in {*listed(), "current", "newest"}:
        if name.startswith((".", "/", "~")) and is_checkout(path_of(name)):
            raise BadInput(f"{name} is a checkout; put it on top of a stack: latest,{name}")
        raise BadInput(
            f"There is no stack {name!r}; choose from {', '.join(listed())}, current, newest, or "
            f"give {', '.join(f'{kind}:PATH' for kind in KINDS)}."
        )
    if rest and name in {"current", "newest"}:
        raise BadInput(f"`{name}` is used as it is; vary a stack of harness/stacks instead.")
    return Stack(name, tuple(_requirement(item.strip()) for item in rest))


def _requirement(text: str) -> str:
    text = DIGEST.sub("", text)
    if folder := _folder(text):
        named = text.partition("@")[0].strip() if _AT_ADDRESS.match(text) else ""
        return f"{named or distribution_of(folder)} @ {folder.resolve().as_uri()}"
    if text.endswith(".whl"):
        path = whole(path_of(text.partition("file://")[2] or text))
        if not path.is_file():
            raise BadInput(f"There is no wheel {text}.")
        try:
            distribution, *_, tags = parse_wheel_filename(path.name)
            if not _DISTRIBUTION.fullmatch(distribution):
                raise InvalidWheelFilename(f"no distribution is called {distribution!r}")
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


def _folder(text: str) -> Path | None:
    """The folder that a requirement names, by a path or as `name @ file:///…`; None for others."""
    if _AT_ADDRESS.match(text):
        text = text.partition("@")[2].strip()
    if text.startswith("file:"):
        text = unquote(urlsplit(text).path)
    if not text.startswith((".", "/", "~")) or text.endswith(".whl"):
        return None
    path = path_of(text)
    if path.is_file():
        raise BadInput(f"{text} is neither a wheel nor a folder; unpack it and give its folder.")
    if not path.is_dir():
        raise BadInput(f"There is no checkout {text}; give the folder of a package's sources.")
    return path


def pins(name: str) -> tuple[Pin, ...]:
    """The lines of a committed stack's file, with their origin comments."""
    path = STACKS / f"{name}.in"
    if not path.is_file():
        raise BadInput(f"There is no stack {name!r}; choose from {', '.join(listed())}.")
    pinned = []
    for line in path.read_text(encoding="utf-8").splitlines():
        requirement, _, comment = line.partition("#")
        if requirement.strip():
            pinned.append(Pin(requirement.strip(), comment.strip()))
    return tuple(pinned)


def locked(name: str) -> dict[str, str]:
    """Exact versions of a lock by canonical name, as its markers hold for this interpreter."""
    path = STACKS / f"{name}.lock"
    if not path.is_file():
        raise BadInput(f"The stack {name!r} has no lock; run `tox -e lock`.")
    return dict(_versions(path.read_text(encoding="utf-8")))


@cache
def _versions(lock: str) -> Mapping[str, str]:
    versions: dict[str, str] = {}
    for line in lock.splitlines():
        if not line or line[0] in " #":
            continue
        wish = Requirement(line.rstrip("\\ "))
        if wish.marker is None or wish.marker.evaluate():
            versions[str(canonicalize_name(wish.name))] = next(iter(wish.specifier)).version
    return versions


def declared(stack: Stack) -> dict[str, str]:
    """Exact versions that a stack promises, by canonical name.

    A committed stack promises its lock; a varied one the exact pins of its file and of its
    variation, the rest may move. A user's requirements promise their exact pins; a lock is
    installed as it is, and an environment is what it is. Raises BadInput for `current` and
    `newest`, which promise none.
    """
    if stack.source:
        return exact_pins(Path(stack.source)) if stack.name == "requirements" else {}
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
    date = re.match(r"# As of (\d{4}-\d{2}-\d{2}):", first)
    return date[1] if date else ""


def constraints(stack: Stack) -> str:
    """What uv is asked to install, as a requirements file's text.

    An unvaried stack with a lock installs that, hashes checked. A varied one keeps the pins of
    its file that are the recipe's (or, in `latest`, the newest) and not varied, and names the
    rest: those stay where the lock has them unless the variation forces them to move.
    """
    if not stack.requirements and preferred_lock(stack):
        return preferred_lock(stack)
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


def preferred_lock(stack: Stack) -> str:
    """The text of the stack's committed lock, '' where it has none."""
    lock = STACKS / f"{stack.name}.lock"
    return lock.read_text(encoding="utf-8") if lock.is_file() else ""
