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
from harness.records.record import Status, read_record, write_record

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


def out_of_memory(*words: Any, **named: Any) -> Any:
    raise MemoryError


def of_a_card(*words: Any, **named: Any) -> Any:
    import torch

    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


def of_a_cpu(*words: Any, **named: Any) -> Any:
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")


def of_a_device(*words: Any, **named: Any) -> Any:
    raise RuntimeError("CUDA error: device-side assert triggered")


# What fails, with what, and the rung that it is planted in: where it loads, in a forward, in a
# backward, where it saves; and a device that gives up.
PLANTED = {
    "load": ("harness.measuring.snapshots.loading.load_model", out_of_memory, "forward"),
    "forward": ("torch.nn.Linear.forward", of_a_card, "forward"),
    "backward": ("torch.Tensor.backward", of_a_cpu, "backward"),
    "save": ("peft.PeftModel.save_pretrained", out_of_memory, "trajectory"),
    "device": ("torch.nn.Linear.forward", of_a_device, "backward"),
}


@pytest.mark.parametrize("place", PLANTED)
def test_memory_that_ends_is_a_record_and_the_next_rung_is_measured(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Planted in the libraries under the real rungs; the next one is measured as ever."""
    what, error, rung = PLANTED[place]
    mine = replace(context, out=tmp_path, scale=replace(context.scale, max_steps=1))
    with monkeypatch.context() as patch:
        patch.setattr(what, error)
        record = job.measure(mine, rung)
    broken = [metric for metric in record.metrics if metric.status is Status.BROKEN]
    assert broken
    types = {"MemoryError", "OutOfMemoryError", "RuntimeError"}
    assert {metric.failure.type for metric in broken if metric.failure} & types
    assert read_record(write_record(record, tmp_path)).metrics == record.metrics
    after = job.measure(mine, "ids")
    assert {metric.status for metric in after.metrics} == {Status.OK}
