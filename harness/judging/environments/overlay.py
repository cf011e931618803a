"""A varied stack as a thin layer over a built one: only the packages that move are installed.

The layer is a folder put before the base environment's own packages on the path. It holds whole
distributions, so what is imported comes from it or from the base, never from both.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from harness.errors import BadInput, StackBroken
from harness.judging.environments import bound, stack
from harness.judging.environments import build as environments
from harness.judging.environments.releases import fits
from harness.records.files import write_json
from harness.records.folders import cache_root, import_root
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import build


@dataclass(frozen=True)
class Layer:
    """versions: what the layered stack has, by canonical name. moved: the layer's own packages
    but the one that was asked for. wheels: paths by name, for what comes from a wheel.
    relaxed: firm pins of the base that had to give way."""

    base: str
    asked: tuple[str, ...]
    versions: Mapping[str, str]
    moved: Mapping[str, str]
    wheels: Mapping[str, str]
    relaxed: tuple[str, ...] = ()

    @property
    def requirements(self) -> tuple[str, ...]:
        """What the layer installs."""
        names = sorted({*self.moved, *(name_of(r) for r in self.asked)})
        return tuple(self.wheels.get(n, f"{n}=={self.versions[n]}") for n in names)


def write_layer(path: Path, layer: Layer) -> None:
    """Keep a planned layer, sealed."""
    write_sealed(path, asdict(layer))


def read_layer(path: Path) -> Layer:
    """A planned layer as it was kept. Raises BadInput naming a file that is no layer, Damaged one
    that is not as it was written."""
    mend = "delete it and bisect again"
    try:
        return build(Layer, read_sealed(path, mend))
    except ValueError as error:
        raise BadInput(f"{path} is no complete layer ({error}); {mend}.") from error


def name_of(requirement: str) -> str:
    """Canonical distribution name of a requirement or a wheel's path."""
    if requirement.endswith(".whl"):
        return str(parse_wheel_filename(Path(requirement).name)[0])
    return str(canonicalize_name(Requirement(requirement).name))


def installed(python: Path) -> dict[str, str]:
    """Exact versions in an environment, by canonical name, as uv lists them: once as long as
    nothing was installed into it or removed."""
    folders = sorted(python.parent.parent.glob("lib/python*/site-packages"))
    changed = tuple((str(folder), folder.stat().st_mtime_ns) for folder in folders)
    return dict(_unchanged(python, changed) if changed else _listed(python))


@cache
def _unchanged(python: Path, changed: tuple[tuple[str, int], ...]) -> dict[str, str]:
    """changed: when something was last put into each of its folders of packages, or taken out."""
    return _listed(python)


def _listed(python: Path) -> dict[str, str]:
    done = subprocess.run(
        [environments.uv_binary(), "pip", "list", "--format=json", "--python", str(python)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StackBroken(f"{python} cannot be read: {environments.reason(done.stderr)}")
    import json

    return {str(canonicalize_name(p["name"])): str(p["version"]) for p in json.loads(done.stdout)}


def requires(python: Path, package: str) -> frozenset[str]:
    """What an installed package declares it needs, by canonical name; empty where it is absent."""
    done = subprocess.run(
        [environments.uv_binary(), "pip", "show", "--python", str(python), package],
        capture_output=True,
        text=True,
        check=False,
    )
    listed = re.search(r"^Requires:(.*)$", done.stdout, re.M)
    names = listed[1].split(",") if listed else []
    return frozenset(str(canonicalize_name(n.strip())) for n in names if n.strip())


def plan(
    base: str,
    python: Path,
    asked: Sequence[str],
    wheels: Path | None = None,
    companions: Sequence[str] = (),
) -> Layer:
    """What has to move when `asked` is taken into the base: the smallest change uv finds.

    First every firm pin of the base is kept; if that does not resolve, one of them may give way
    (each is tried), then all. wheels: resolve from this folder alone. Raises StackBroken with
    uv's reason where nothing resolves. companions: what `asked` needs without declaring it.
    """
    have = installed(python)
    names = {name_of(r) for r in asked}
    together = (*asked, *companions)
    free = {name_of(r) for r in together}
    # The base as it stands is preferred; its firm pins are required.
    preferred = "".join(f"{n}=={v}\n" for n, v in sorted(have.items()) if n not in free)
    firm = [p.name for p in _pins(base) if p.is_firm and p.name not in free and p.name in have]
    attempts = [(), *((name,) for name in firm), tuple(firm)]
    first: StackBroken | None = None
    for relaxed in attempts:
        try:
            versions = _resolved(base, have, together, relaxed, preferred, wheels)
        except StackBroken as error:
            first = first or error
            continue
        moved = {n: v for n, v in versions.items() if have.get(n) != v and n not in names}
        if "torch" in {*moved, *names}:
            # torch looks for CUDA's libraries beside itself, so the same ones come along.
            moved |= {n: v for n, v in versions.items() if n.startswith("nvidia-")}
        local = {name_of(r): r for r in asked if r.endswith(".whl")}
        if wheels is not None:
            local |= _in_folder(wheels, {**moved, **{n: versions[n] for n in names}})
        return Layer(base, tuple(asked), {**have, **versions}, moved, local, relaxed)
    assert first is not None
    raise first


def _pins(base: str) -> tuple[stack.Pin, ...]:
    name = stack.parse(base).name
    return stack.pins(name) if name in stack.listed() else ()


def _resolved(
    base: str,
    have: Mapping[str, str],
    asked: Sequence[str],
    relaxed: Sequence[str],
    preferred: str,
    wheels: Path | None,
) -> dict[str, str]:
    names = {name_of(r) for r in asked}
    firm = {p.name for p in _pins(base) if p.is_firm} - set(relaxed)
    others = sorted({p.name for p in _pins(base) if p.name in have} - names)
    what = ",".join([base, *asked])

    def lines(loose: str) -> str:
        kept = [f"{n}=={have[n]}" if n in firm else loose.format(n, have[n]) for n in others]
        return "\n".join([*kept, *asked]) + "\n"

    # What must move moves up, to the lowest version that fits; only where that is impossible
    # may it move anywhere. uv keeps the preferred version of all that need not move.
    lowest = ("--resolution", "lowest-direct", *_offline(wheels))
    try:
        text = environments.resolve(lines("{}>={}"), preferred, what, cache_root(), extra=lowest)
    except StackBroken:
        text = environments.resolve(
            lines("{}"), preferred, what, cache_root(), extra=_offline(wheels)
        )
    versions = {}
    for line in text.splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", line)
        if match:
            versions[str(canonicalize_name(match[1]))] = match[2]
    for wheel in (r for r in asked if r.endswith(".whl")):
        versions[name_of(wheel)] = str(parse_wheel_filename(Path(wheel).name)[1])
    return versions


def _offline(wheels: Path | None) -> tuple[str, ...]:
    return () if wheels is None else ("--no-index", "--find-links", str(wheels), "--offline")


def _in_folder(wheels: Path, versions: Mapping[str, str]) -> dict[str, str]:
    local = {}
    for path in sorted(wheels.glob("*.whl")):
        if not fits(None, path.name):
            continue
        name, version, *_ = parse_wheel_filename(path.name)
        if versions.get(str(name)) == str(version):
            local[str(name)] = str(path.resolve())
    return local


def install(layer: Layer, python: Path, folder: Path, wheels: Path | None = None) -> None:
    """Install the layer's packages into the folder, without their dependencies: all or nothing.

    Raises StackBroken with uv's reason, OutOfSpace where the disk is full.
    """
    half = folder.with_name(folder.name + ".part")
    shutil.rmtree(half, ignore_errors=True)
    done = bound.run(
        [
            environments.uv_binary(),
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--python",
            str(python),
            "--target",
            str(half),
            *_offline(wheels),
            *layer.requirements,
        ]
    )
    if done.returncode:
        shutil.rmtree(half, ignore_errors=True)
        raise environments.refusal(done.stderr, ", ".join(layer.asked))
    write_json(half / "harness-layer.json", {"requirements": list(layer.requirements)})
    shutil.rmtree(folder, ignore_errors=True)
    half.rename(folder)


def variables(folder: Path) -> dict[str, str]:
    """Environment of a child that runs on the base with the layer before it."""
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(import_root())])}
