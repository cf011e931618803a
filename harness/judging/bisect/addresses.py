"""The address of a bisect's record: everything that decides its numbers, as one digest.

A record is kept for as long as its address is asked for; what is not in the address must change no
number.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from harness.judging.environments import overlay
from harness.records import machine
from harness.records.context import Context
from harness.records.files import json_digest, text_digest
from harness.records.folders import PACKAGE
from harness.records.recipes import recipe_digest
from harness.records.typed import Json

# What runs inside a measuring process; a change of the judging world leaves the records kept.
MEASURING = ("measuring", "records", "recipe", "data")


def measuring_files() -> list[Path]:
    """The sources that decide a record's numbers."""
    return sorted(path for room in MEASURING for path in (PACKAGE / room).rglob("*.py"))


@cache
def sources() -> str:
    """Digest of the code that measures: a record of other probes is not this question's."""
    return json_digest([text_digest(path.read_bytes()) for path in measuring_files()])


def address(base: str, python: Path, layer: overlay.Layer, context: Context) -> str:
    """Digest of what is installed, on which device, of the model, the data and our code."""
    wheels = {n: text_digest(Path(w).read_bytes()) for n, w in layer.wheels.items()}
    c = context
    return json_digest(
        [
            base,
            str(python),
            list(layer.requirements),
            sorted(layer.versions.items()),
            wheels,
            c.model_digest,
            c.model,
            c.data,
            data_state(c.data),
            c.data_digest,
            recipe_digest(c.recipe),
            device_state(c.device),
            c.threads,
            c.seed,
            c.exchange,
            sources(),
        ]
    )


def data_state(data: str) -> Json:
    """The files of data in a folder, or of one file, by name, size and time of change; nothing
    for a name.

    Their content is not read: a large dataset would take longer than a release.
    """
    folder = Path(data).expanduser()
    if data == "catalogue" or not folder.exists():
        return []
    files: list[Json] = []
    for path in sorted(p for p in (folder, *folder.rglob("*")) if p.is_file()):
        stat = path.stat()
        files.append([str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns])
    return files


def device_state(device: str) -> Json:
    """The device that `auto` finds here, with what tells one machine's from another's."""
    cards = list(machine.graphics())
    if device == "cpu" or (device == "auto" and not cards):
        return ["cpu", machine.cpu_key()]
    return [device, machine.cpu_key(), *cards]
