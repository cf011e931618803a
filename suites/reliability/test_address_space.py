"""Memory that really ends, by RLIMIT_AS in processes of their own: what passes needs no more than
it may, and what lacks memory says so instead of blaming the data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.data.pictures import BYTES_PER_PIXEL, MAX_BYTES
from suites.reliability.counts import LARGE
from suites.reliability.killed import ROOT
from suites.reliability.test_pictures import BOMBS, IDS, encoded

pytestmark = pytest.mark.slow

# Limits the address space to what is mapped now and so many megabytes, decodes a file, and lets the
# limit go again: prints the first bytes of the outcomes.
CODE = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from harness.data.pictures import decode
from harness.errors import HarnessError
import numpy, PIL.Image, PIL.ImageOps
PIL.Image.init()
data = Path(sys.argv[2]).read_bytes()
decode(Path(sys.argv[3]).read_bytes())  # what is loaded with the first picture is loaded
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
_, most = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (mapped + int(sys.argv[4]) * 1_000_000, most))
try:
    outcome = list(decode(data, "Row 1").size)
except HarnessError as error:
    outcome = f"{error.exit_code} {error}"
resource.setrlimit(resource.RLIMIT_AS, (most, most))
print(json.dumps([outcome, list(decode(data, "Row 1").size)]))
"""


def limited(tmp_path: Path, data: bytes, small: bytes, megabytes: int) -> tuple[Any, Any]:
    """(what comes of a picture where so much memory is left, what comes of it again without)."""
    (tmp_path / "data").write_bytes(data)
    (tmp_path / "small").write_bytes(small)
    words = [str(ROOT), str(tmp_path / "data"), str(tmp_path / "small"), str(megabytes)]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, again = json.loads(done.stdout)
    return first, again


@pytest.mark.parametrize(("kind", "mode", "options"), BOMBS if LARGE else BOMBS[:1])
def test_the_largest_picture_that_passes_needs_no_more(
    tmp_path: Path, kind: str, mode: str, options: dict[str, Any], tried: Callable[[int], None]
) -> None:
    """300 MB, and the address space that an allocator reserves beside."""
    side = int((MAX_BYTES / BYTES_PER_PIXEL.get(kind, 8)) ** 0.5)
    data, small = (encoded((n, n), kind, mode, options) for n in (side, 64))
    assert limited(tmp_path, data, small, 400) == ([side, side], [side, side])
    tried(1)


@pytest.mark.parametrize(("kind", "mode", "options"), BOMBS, ids=IDS)
def test_a_picture_for_which_there_is_no_memory_is_not_blamed(
    tmp_path: Path, kind: str, mode: str, options: dict[str, Any], tried: Callable[[int], None]
) -> None:
    """And the next one is decoded."""
    data, small = (encoded((n, n), kind, mode, options) for n in (2400, 64))
    first, again = limited(tmp_path, data, small, 4)
    assert again == [2400, 2400]
    assert isinstance(first, str), first
    # Pillow's reader of WebP says the same of a file that is none.
    of_webp = kind == "WEBP" and "could not create decoder object" in first
    assert of_webp or first.startswith("3 Row 1 "), first
    assert of_webp or "no memory is left" in first
    tried(1)
