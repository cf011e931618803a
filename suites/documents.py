"""Documents held against their committed schemas, by a library that does not know the harness."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.judging.environments.build import uv_binary
from harness.records.files import read_json
from harness.records.folders import SCHEMAS
from harness.records.record import RUNGS

# By the name that a run, a comparison, a bisect or an audit gives it.
KINDS = {
    **{f"{rung}.json": "files/record" for rung in RUNGS},
    "audit.json": "files/audit",
    "bisect.json": "files/bisect",
    "comparison.json": "files/comparison",
    "context.json": "files/context",
    "matrix.json": "files/matrix",
    "generations.json": "files/generations",
    "opened.json": "files/audit-opened",
    "plan.json": "files/plan",
    "seal.json": "files/seal",
    "supervision.json": "files/supervision",
    "truths.json": "files/truths",
}
# Runs in an environment of its own, which uv makes: no stack has this library.
LIBRARY = "jsonschema==4.25.1"
_VALIDATE = """
import json, sys
from jsonschema import Draft202012Validator as Draft
errors = []
drafts = {}
for name, path, document in json.load(sys.stdin):
    if path not in drafts:
        schema = json.load(open(path, encoding="utf-8"))
        Draft.check_schema(schema)
        drafts[path] = Draft(schema)
    for error in drafts[path].iter_errors(document):
        errors.append(f"{name}: {error.json_path} {error.message[:200]}")
print(json.dumps(errors))
"""


def schema_of(kind: str) -> Path:
    """The newest committed schema of a kind, `files/record` or `printed/compare`."""
    folder, _, name = kind.partition("/")
    by_version = {
        int(path.stem.rpartition("-")[2]): path
        for path in (SCHEMAS / folder).glob(f"{name}-*.json")
        if path.stem.rpartition("-")[0] == name
    }
    return by_version[max(by_version)]


def files_in(folder: Path) -> Iterator[tuple[str, str, Any]]:
    """(name, kind, document) of every file that a command has left in a folder, by its name."""
    for path in sorted(folder.rglob("*.json")):
        place = path.relative_to(folder)
        if place.parts[0] == "work" and path.name in KINDS and path.parent.name == "audit":
            kind = "files/audit-opened" if path.stem == "opened" else "files/audit-rung"
            yield str(place), kind, read_json(path)
        elif path.name in KINDS and not {"given", "adapter", "job"} & set(place.parts):
            yield str(place), KINDS[path.name], read_json(path)
        elif place == Path("run.json"):
            yield str(place), "files/run", read_json(path)


def invalid(documents: Iterable[tuple[str, str, Any]]) -> list[str]:
    """What the schemas say against these (name, kind, document), a line each."""
    asked = [(name, str(schema_of(kind)), document) for name, kind, document in documents]
    words = ["run", "--quiet", "--isolated", "--no-project", "--python", sys.executable]
    words += ["--with", LIBRARY, "python", "-c", _VALIDATE]
    for offline in (["--offline"], []):
        done = subprocess.run(
            [uv_binary(), *offline, *words],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            errors: list[str] = json.loads(done.stdout)
            return errors
    raise AssertionError(done.stderr)


def printed(stdout: str, verb: str) -> tuple[str, str, Mapping[str, Any]]:
    """The one document that a command printed."""
    return f"harness {verb}", f"printed/{verb}", json.loads(stdout)
