"""A disk that is really full, and memory that really ends."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.measuring.child import job
from harness.records.context import Context
from harness.records.record import PROBE, Provenance, Record, Status

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

# Runs in a mount namespace of its own, on a tmpfs of 64 KiB.
FULL = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from harness.errors import OutOfSpace
from harness.judging.goldens.golden import read_goldens, write_goldens
from harness.records.record import read_record, write_record
from harness.records.seals import check_seal, seal
from suites.reliability.test_goldens import write_set
from suites.reliability.test_records import record

disk = Path(sys.argv[1])
write_record(record(0, 10), disk)
write_set(disk / "golden", 0, files=2)
seal(disk, ["text.json"])
written = 0
try:
    while True:
        (disk / f"filler{written}").write_bytes(b"x" * 1024)
        written += 1
except OSError:
    pass
refused = 0
for write in (
    lambda: write_record(record(1, 100), disk),
    lambda: write_set(disk / "golden", 1, files=2),
    lambda: seal(disk, ["text.json"] + [f"filler{i}" for i in range(written)]),
):
    try:
        write()
    except OutOfSpace as error:
        assert "No room left on the disk" in str(error), error
        refused += 1
assert refused == 3, refused
assert read_record(disk / "text.json").metrics[0].value[0] == 0
assert {golden.cases[""] for golden in read_goldens(disk / "golden")} == {0}
check_seal(disk, ["text.json"], "mend")
assert not [path for path in disk.rglob("*.part")]
print("whole")
"""


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    script = tmp_path / "full.py"
    script.write_text(FULL)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=64k tmpfs {disk}"
    words = ["unshare", "-rm", "sh", "-c"]
    asked = subprocess.run([*words, mount], capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip(f"NOT_RUN: a file system of our own cannot be mounted here ({asked.stderr})")
    command = f"{mount} && {sys.executable} {script} {disk} {ROOT}"
    done = subprocess.run([*words, command], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "whole", done.stderr


@pytest.mark.parametrize("place", ["load", "forward", "backward", "save", "device"])
def test_memory_that_ends_is_a_record_and_the_next_rung_is_measured(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    import torch

    errors = {
        "load": MemoryError(),
        "forward": torch.cuda.OutOfMemoryError("CUDA out of memory"),
        "backward": RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        "save": OSError(5, "Input/output error"),
        "device": RuntimeError("CUDA error: device-side assert triggered"),
    }

    def probe(rung: str) -> Any:
        def run(given: Context) -> Record:
            if rung == "forward":
                raise errors[place]
            return Record(rung, Provenance("s", "m", "d", "k", "r", "i"), ())

        return run

    monkeypatch.setattr("harness.measuring.probes.probe", probe)
    mine = replace(context, out=tmp_path)
    record = job.measure(mine, "forward")
    metric = record.find(PROBE)
    assert metric.status is Status.BROKEN
    assert metric.failure is not None
    assert metric.failure.type == type(errors[place]).__name__
    assert job.measure(mine, "backward").metrics == ()
