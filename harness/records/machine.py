"""The measuring interpreter's snapshot: python, versions, hardware, our commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

from harness.records.folders import PROJECT

# The distributions whose versions decide results; all others are in the stack's lock.
RELEVANT = (
    "torch",
    "torchvision",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "evaluate",
    "bitsandbytes",
    "trl",
    "peft",
    "qwen-vl-utils",
    "pillow",
    "numpy",
    "safetensors",
    "huggingface-hub",
    "rich",
    "tensorboard",
)

FIELDS = re.compile(r"^(Name|Version):[ \t]*(\S+)[ \t]*$", re.MULTILINE)

# NVIDIA's driver and what it says of each card.
DRIVER = Path("/dev/nvidiactl")
CARDS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Snapshot:
    """versions: by distribution name, lower case. commit: short hash, `+` where dirty, or ''."""

    python: str
    platform: str
    versions: Mapping[str, str]
    commit: str
    cpu: str
    cores: int


@cache
def _installed() -> Mapping[str, str]:
    versions: dict[str, str] = {}
    for distribution in distributions():
        name, version = name_and_version(distribution)
        if name:
            versions.setdefault(name.lower().replace("_", "-"), version)
    return versions


def name_and_version(distribution: Distribution) -> tuple[str, str]:
    """A distribution's name and version, '' for none.

    By the head of its metadata: below it stands a README, and the library's own `version` parses
    all of it a second time.
    """
    head = (distribution.read_text("METADATA") or "").partition("\n\n")[0]
    fields = dict(FIELDS.findall(head))
    if len(fields) == 2:
        return fields["Name"], fields["Version"]
    return distribution.metadata["Name"] or "", distribution.version


def installed_versions() -> dict[str, str]:
    """Every installed distribution's version by normalised name, as this process first found them:
    what it has imported is of these."""
    return dict(_installed())


def cpu_model() -> str:
    """The processor's name as Linux gives it."""
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def cpu_capability() -> str:
    """The widest vector extension that PyTorch's CPU kernels choose by: avx512, avx2, default."""
    path = Path("/proc/cpuinfo")
    flags: set[str] = set()
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("flags"):
                flags = set(line.split(":", 1)[1].split())
                break
    if {"avx512f", "avx512dq", "avx512vl", "avx512bw"} <= flags:
        return "avx512"
    return "avx2" if "avx2" in flags else "default"


def graphics() -> tuple[str, ...]:
    """What decides whether and which card torch will find, without importing it: the variable
    that hides cards, and the cards' names. Empty where it will find none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not DRIVER.exists() or visible in {"", "-1"}:
        return ()
    told = [path.read_text(errors="replace") for path in sorted(CARDS.glob("*/information"))]
    names = [
        x.split(":", 1)[1].strip()
        for text in told
        for x in text.splitlines()
        if x.startswith("Model:")
    ]
    return (f"visible: {visible or 'all'}", *names)


def visible_gpus() -> tuple[str, ...]:
    """NVIDIA's cards as CUDA_VISIBLE_DEVICES names them, those that it hides apart."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not DRIVER.exists() or visible in {"", "-1"}:
        return ()
    if visible:
        return tuple(name.strip() for name in visible.split(","))
    return tuple(str(i) for i in range(len(list(CARDS.glob("*/information")))))


def cpu_key() -> str:
    """Key of this processor's goldens: `cpu-x86_64-avx512`."""
    return f"cpu-{platform.machine()}-{cpu_capability()}"


def commit(repository: Path) -> str:
    """Short commit of the harness, with `+` for uncommitted changes; '' outside git.

    A folder inside another project's checkout, as an installed package is, has none of its own.
    """

    def git(*words: str) -> str:
        try:
            done = subprocess.run(
                ["git", *words], cwd=repository, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    # A repository without a commit has no HEAD: then git fails and says nothing here.
    top, _, head = git("rev-parse", "--show-toplevel", "--short=12", "HEAD").rpartition("\n")
    if top != str(repository.resolve()):
        return ""
    return head + ("+" if git("status", "--porcelain", "--", ":!golden") else "")


def snapshot() -> Snapshot:
    """Describe this interpreter; imports none of the libraries."""
    versions = installed_versions()
    return Snapshot(
        python=platform.python_version(),
        platform=f"{sys.platform}-{platform.machine()}-{platform.libc_ver()[1]}",
        versions={name: versions[name] for name in RELEVANT if name in versions},
        # An exported tree on a borrowed machine has no git: whoever exports it says its commit.
        commit=os.environ.get("HARNESS_COMMIT") or commit(PROJECT),
        cpu=cpu_model(),
        cores=os.cpu_count() or 1,
    )
