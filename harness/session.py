"""One session's facts: which stack this is, which device, where results go, which scale."""

from __future__ import annotations

import datetime
import os
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.context import Context, Scale
from harness.errors import BadInput, NotRunnable
from harness.recipe import REFERENCE, Recipe
from harness.record import text_digest

REPORTS = Path(__file__).resolve().parent.parent / "reports"
STACKS = Path(__file__).resolve().parent / "stacks"
# Recognising an installed stack by these is enough: they are what the recipe pins.
IDENTIFYING = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "datasets")


def path_of(text: str) -> Path:
    """A path as a shell takes it: `~` is a home, and `~nobody` a folder of that name."""
    return Path(os.path.expanduser(text))


def installed_stack(stacks: Path = STACKS) -> str:
    """The committed stack that this interpreter has installed, else `current`."""
    for path in sorted(stacks.glob("*.lock")):
        pins = dict(re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", path.read_text("utf-8"), re.M))
        try:
            if all(version(name).split("+")[0] == pins.get(name) for name in IDENTIFYING):
                return path.stem
        except PackageNotFoundError:
            continue
    return "current"


def new_run(reports: Path = REPORTS) -> Path:
    """Path of a new run, `<UTC time>-<digest>`; the digest keeps two of one second apart.

    The first file written makes the folder: a refused command leaves none.
    """
    now = datetime.datetime.now(datetime.UTC)
    name = f"{now:%Y%m%dT%H%M%SZ}-{text_digest(f'{now.isoformat()}{os.getpid()}')[:8]}"
    return reports / name


def output_folder(given: Path | None) -> Path:
    """The folder of a command's results: the one given, else a new run's.

    Raises BadInput where it cannot be made: asked before anything is built for it.
    """
    path = new_run() if given is None else given.resolve()
    place = path
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise BadInput(f"{path} cannot be written ({place} is no folder).")
    if not os.access(place, os.W_OK | os.X_OK):
        raise BadInput(f"{path} cannot be written ({place} is shut to you); give another --out.")
    return path


def existing_run(identity: str, reports: Path = REPORTS) -> Path:
    """The folder of an earlier run, by its name or path. Raises BadInput where there is none."""
    path = Path(identity) if "/" in identity else reports / identity
    if not path.is_dir():
        raise BadInput(f"There is no run {identity} in {reports}; `ls {reports}` lists them.")
    return path


def check_data_and_model(model: str, data: str) -> None:
    """Refuse a pairing that measures nothing: real weights need a real dataset or say so."""
    if data != "catalogue" and model == "stand-in":
        raise BadInput(
            "The stand-in only knows the catalogue's pictures; give --model as well as --data."
        )


def build_context(
    *,
    stack: str,
    model: str,
    data: str,
    out: Path,
    snapshot: Path,
    has_weights: bool,
    model_digest: str,
    vocabulary: str,
    device: str = "auto",
    scale: Scale | None = None,
    recipe: Recipe = REFERENCE,
    threads: int | None = None,
    faults: tuple[str, ...] = (),
) -> Context:
    """The frozen context of one run."""
    if (
        device.startswith("cuda")
        and model == "stand-in"
        and os.environ.get("HARNESS_LANE") == "gpu"
    ):
        raise NotRunnable("The gpu lane never falls back to the stand-in; set HARNESS_MODEL.")
    return Context(
        stack=stack,
        model=model,
        data=data,
        snapshot=snapshot,
        has_weights=has_weights,
        out=out,
        device=device,
        scale=scale or Scale(),
        recipe=recipe,
        threads=threads or min(2, os.cpu_count() or 1),
        model_digest=model_digest,
        vocabulary=vocabulary,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        faults=faults,
    )
