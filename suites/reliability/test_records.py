"""Records: killed writers, flipped bits, full disks, many writers at once."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from harness.errors import BadInput, Damaged, HarnessError, OutOfSpace
from harness.records.alone import alone
from harness.records.failure import Failure
from harness.records.files import TEMPORARY, read_json, remove_strays, write_json
from harness.records.record import Metric, Provenance, Record, Status, read_record, write_record
from harness.records.typed import Json
from suites.reliability.counts import count
from suites.reliability.damage import flip, half
from suites.reliability.killed import CONTEXT, kill_after

PROVENANCE = Provenance("reference", "stand-in", "catalogue", "cpu-x", "r", "s", {"torch": "2.4.0"})


def record(value: Json = 1.0, metrics: int = 20) -> Record:
    failure = Failure("ValueError", "two words", "a.py:1")
    values = [Metric("text", "made_up", f"case_{i}", [value, i, "a word"]) for i in range(metrics)]
    broken = Metric("text", "broken", status=Status.BROKEN, failure=failure)
    return Record("text", PROVENANCE, (*values, broken), 1.0)


@pytest.mark.slow
def test_a_killed_writer_leaves_a_whole_record_and_no_stray(tmp_path: Path, tried: Any) -> None:
    """The old record or the new one, whole; what it was about to write goes at the next start."""
    write_record(record(0), tmp_path)
    dice = random.Random(1)
    tried(count(20, 200))
    for _ in range(count(20, 200)):
        kill_after(lambda: write_record(record(dice.random()), tmp_path), dice.random() * 0.02)
        assert len(read_record(tmp_path / "text.json").metrics) == 21
    with alone(tmp_path):
        strays = [path for path in tmp_path.rglob("*") if path.name.endswith(TEMPORARY)]
    assert strays == []


def test_only_our_own_temporary_files_are_removed(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in (".hidden", "a.part", "text.json", ".gitignore")]
    for path in kept:
        path.write_text("mine")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / f".text.json.x{TEMPORARY}").write_text("half")
    (tmp_path / f".link{TEMPORARY}").symlink_to(kept[0])
    remove_strays(tmp_path)
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file() and not p.is_symlink()) == sorted(
        kept
    )


@pytest.mark.slow
def test_no_flipped_bit_of_a_record_goes_unnoticed(tmp_path: Path, tried: Any) -> None:
    """Refused, or it says the same: a bit of the layout between the values."""
    path = write_record(record(), tmp_path)
    whole, meant = path.read_bytes(), read_record(path)
    dice = random.Random(2)
    refused = 0
    tried(count(320, 1300))
    for place in dice.sample(range(len(whole)), count(300, 1000)):
        flip(path, place)
        try:
            assert read_record(path) == meant, place
        except BadInput as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is right
            refused += 1
        path.write_bytes(whole)
    assert refused > 100
    for _ in range(count(20, 300)):
        path.write_bytes(whole[: dice.randrange(len(whole) - 1)])
        with pytest.raises(BadInput, match=r"text\.json"):
            read_record(path)


def test_no_flipped_bit_of_a_records_tensors_goes_unnoticed(tmp_path: Path, tried: Any) -> None:
    tensors = tmp_path / "text.safetensors"
    tensors.write_bytes(save({"a": np.arange(64, dtype=np.float32)}))
    path = write_record(record(), tmp_path)
    whole = tensors.read_bytes()
    dice = random.Random(3)
    tried(count(50, 300))
    for _ in range(count(50, 300)):
        flip(tensors, dice.randrange(len(whole)))
        with pytest.raises(Damaged, match=r"text\.safetensors is not as it was written"):
            read_record(path)
        tensors.write_bytes(whole)
    half(tensors)
    with pytest.raises(Damaged, match=r"text\.safetensors"):
        read_record(path)


def test_an_edited_record_is_refused(tmp_path: Path) -> None:
    path = write_record(record(), tmp_path)
    raw = read_json(path)
    raw["metrics"][0]["value"][0] = 2.0
    path.write_text(json.dumps(raw))
    with pytest.raises(Damaged, match="its seal is broken"):
        read_record(path)
    del raw["seal"]
    path.write_text(json.dumps(raw))
    with pytest.raises(Damaged, match="carries no seal"):
        read_record(path)


ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES]


@pytest.mark.parametrize("code", ERRORS, ids=lambda code: errno.errorcode[code])
@pytest.mark.parametrize("call", ["mkstemp", "fdopen", "fsync", "chmod", "replace"])
def test_a_write_error_is_a_sentence_and_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    path = write_record(record(0), tmp_path)
    before = path.read_bytes()

    def failing(*arguments: Any, **options: Any) -> None:
        if call == "fdopen":
            os.close(arguments[0])
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        owner = "tempfile" if call == "mkstemp" else "os"
        patch.setattr(f"harness.records.files.{owner}.{call}", failing)
        with pytest.raises(HarnessError) as caught:
            write_record(record(1), tmp_path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, OutOfSpace) == (code in {errno.ENOSPC, errno.EDQUOT})
    assert "--resume" not in str(caught.value)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["text.json"]


def test_a_file_size_limit_is_a_sentence(tmp_path: Path) -> None:
    """RLIMIT_FSIZE in a process of its own; Python ignores the signal and gets EFBIG."""
    write_record(record(0), tmp_path)
    before = (tmp_path / "text.json").read_bytes()

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            write_record(record(1), tmp_path)
        except BadInput as error:
            os._exit(7 if "cannot be written" in str(error) else 8)
        os._exit(9)

    child = CONTEXT.Process(target=limited)
    child.start()
    child.join(30)
    assert child.exitcode == 7
    assert (tmp_path / "text.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["text.json"]


def _write_many(folder: Path, number: int, writes: int) -> None:
    for i in range(writes):
        write_record(record([number, i]), folder)
        write_json(folder / f"{number}-{i}.json", i)


@pytest.mark.slow
def test_eight_processes_on_one_folder_lose_nothing(tmp_path: Path, tried: Any) -> None:
    writes = count(25, 100)
    tried(8 * writes)
    arguments = [(tmp_path, number, writes) for number in range(8)]
    with multiprocessing.get_context("fork").Pool(8) as pool:
        pool.starmap(_write_many, arguments)
    assert len(read_record(tmp_path / "text.json").metrics) == 21
    for number in range(8):
        assert [read_json(tmp_path / f"{number}-{i}.json") for i in range(writes)] == [
            *range(writes)
        ]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
