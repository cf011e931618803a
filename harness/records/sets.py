"""Several JSON files written as one set: a kill at any moment leaves all of them or none.

They go into a journal first, in one step; whoever looks at them next finishes what it says. One
process at a time does either: the folder itself is locked, so that nothing is left in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.errors import BadInput
from harness.records.files import remove_strays, write_json
from harness.records.seals import read_sealed, write_sealed

JOURNAL = ".update.json"
MEND = "delete it"
# A set takes milliseconds; who holds the folder longer has stopped.
LOCK_S = 10.0
ASKED_EVERY_S = 0.02


@contextlib.contextmanager
def alone_with(root: Path, wait_s: float = LOCK_S) -> Iterator[None]:
    """One process reads and rewrites the set; what an interrupted one left is finished first.

    Raises BadInput while another process is there.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(folder, root, wait_s)
        _finish(root)
        yield
    finally:
        os.close(folder)


def _lock(folder: int, root: Path, wait_s: float) -> None:
    begun = time.monotonic()
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() - begun > wait_s:
                raise BadInput(
                    f"Another process is writing into {root}; give the command again when it is "
                    "done."
                ) from error
            time.sleep(ASKED_EVERY_S)
        else:
            return


def write_set(root: Path, files: Mapping[str, Mapping[str, object]]) -> None:
    """Write JSON objects, by path below `root`, which the caller is alone with. Raises BadInput for
    a path outside it."""
    for name in files:
        _inside(root, name)
    remove_strays(root)
    write_sealed(root / JOURNAL, {"files": dict(files)})
    _finish(root)


def finish_set(root: Path) -> None:
    """Write what an interrupted set had still to write; nothing where there was none."""
    if (root / JOURNAL).is_file():
        with alone_with(root):
            pass


def _finish(root: Path) -> None:
    journal = root / JOURNAL
    if not journal.is_file():
        return
    files = read_sealed(journal, MEND)["files"]
    for name, content in files.items():
        write_json(_inside(root, name), content)
    journal.unlink(missing_ok=True)


def _inside(root: Path, name: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise BadInput(f"{path} lies outside {root}; nothing is written there.")
    return path
