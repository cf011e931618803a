"""Several JSON files written as one set: a kill at any moment leaves all of them or none.

They go into a journal first, in one step; whoever looks at them next finishes what it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import BadInput
from harness.records.files import read_object, remove_strays, write_json
from harness.records.seals import sealed, unsealed

JOURNAL = ".update.json"
MEND = "delete it"


def write_set(root: Path, files: Mapping[str, Mapping[str, object]]) -> None:
    """Write JSON objects, by path below `root`. Raises BadInput for a path outside it."""
    for name in files:
        _inside(root, name)
    finish_set(root)
    remove_strays(root)
    write_json(root / JOURNAL, sealed({"files": dict(files)}))
    finish_set(root)


def finish_set(root: Path) -> None:
    """Write what an interrupted set had still to write; nothing where there was none."""
    journal = root / JOURNAL
    if not journal.is_file():
        return
    files = unsealed(read_object(journal, MEND), journal, MEND)["files"]
    for name, content in files.items():
        write_json(_inside(root, name), content)
    journal.unlink(missing_ok=True)


def _inside(root: Path, name: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise BadInput(f"{path} lies outside {root}; nothing is written there.")
    return path
