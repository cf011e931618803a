"""The address of a bisect's record: everything that decides its numbers, as one digest.

A record is kept for as long as its address is asked for; what is not in the address must change no
number.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from harness.judging.environments import overlay
from harness.records import machine
from harness.records.context import Context, recipe_digest
from harness.records.files import json_digest, text_digest
from harness.records.folders import PACKAGE
from harness.records.typed import Json

# Modules that decide no number: a change of theirs leaves the records kept.
JUDGING = frozenset(
    {
        "report",
        "accepted.py",
        "addresses.py",
        "bands.py",
        "bisect.py",
        "bisect_command.py",
        "bisect_compare.py",
        "bisect_evidence.py",
        "bisect_findings.py",
        "children.py",
        "cli.py",
        "commands.py",
        "compare.py",
        "compare_command.py",
        "comparison.py",
        "comparison_file.py",
        "comparison_plan.py",
        "doctor.py",
        "environments.py",
        "evaluation.py",
        "explaining.py",
        "failures.py",
        "golden.py",
        "golden_command.py",
        "golden_list.py",
        "judgement.py",
        "ladder.py",
        "layers.py",
        "noisy.py",
        "observe.py",
        "overlay.py",
        "pairs.py",
        "pytest_plugin.py",
        "question.py",
        "register.py",
        "releases.py",
        "report_command.py",
        "runner.py",
        "screen.py",
        "swap.py",
        "typed.py",
        "upgrade.py",
        "values.py",
        "watch.py",
    }
)


@cache
def sources() -> str:
    """Digest of the code that measures: a record of other probes is not this question's."""
    package = PACKAGE
    files = sorted(
        p for p in package.rglob("*.py") if JUDGING.isdisjoint(p.relative_to(package).parts)
    )
    return json_digest([text_digest(p.read_bytes()) for p in files])


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
    found: list[Json] = []
    for path in sorted(p for p in (folder, *folder.rglob("*")) if p.is_file()):
        seen = path.stat()
        found.append([str(path.relative_to(folder)), seen.st_size, seen.st_mtime_ns])
    return found


def device_state(device: str) -> Json:
    """The device that `auto` finds here, with what tells one machine's from another's."""
    cards = list(machine.graphics())
    if device == "cpu" or (device == "auto" and not cards):
        return ["cpu", machine.cpu_key()]
    return [device, machine.cpu_key(), *cards]
