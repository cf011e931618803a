"""Seal the files of golden/ that people write themselves: `python -m suites.write_seals`.

Expected findings and bands are edited by hand and read in a review; the lane's oldest records were
measured before they had seals. Each is written as it was, with a seal over what it says; a file
whose seal holds is left alone. Truths and observed goldens are sealed where they are written, never
here: who edits one of those has made another golden.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.errors import Damaged
from harness.records.files import read_object
from harness.records.folders import GOLDEN
from harness.records.seals import KEY, unsealed, write_sealed

BY_HAND = ("expected", "bands", "lane")
MEND = "mend it"


def renewed(root: Path = GOLDEN) -> Iterator[Path]:
    """Seal what has no seal that holds; the files that were written."""
    for path in sorted(path for name in BY_HAND for path in (root / name).rglob("*.json")):
        raw = read_object(path, MEND)
        try:
            unsealed(raw, path, MEND)
        except Damaged:
            write_sealed(path, {name: value for name, value in raw.items() if name != KEY})
            yield path


if __name__ == "__main__":
    for written in renewed():
        print(f"sealed {written}")
