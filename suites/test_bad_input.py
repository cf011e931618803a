"""Bad input: one clear sentence, exit 2 or 3, no traceback, nothing half-written."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.data.intake import Data, check_data
from harness.data.pictures import MAX_PIXELS, decode
from harness.errors import BadInput, OutOfSpace
from harness.measuring.snapshots.source import STAND_IN
from harness.records import files
from suites.commands import Command, process
from suites.selftest import snapshots

pytestmark = pytest.mark.usefixtures("no_variables")


def results(out: Path) -> list[str]:
    """What a run leaves for others: records, report, and any temporary file."""
    kept = (p for p in out.rglob("*") if p.is_file())
    return [p.name for p in kept if p.parent == out or p.name.startswith(".")]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


WORDS: list[tuple[list[str], str]] = [
    (["probe", "text", "--stack", "nonsense"], "There is no stack 'nonsense'"),
    (["probe", "text", "--stack", "reference,peft=!0"], "'peft=!0' is no requirement"),
    (["probe", "nonsense"], "There is no rung 'nonsense'"),
    (["probe", "text", "--model", "nonsense"], "There is no model 'nonsense'"),
    (["probe", "text", "--model", "/no/such/folder"], "/no/such/folder does not exist"),
    (["run", "--model", "org/name@main"], "no pinned revision"),
    (["run", "--model", "org/name"], "names no revision"),
    (["run", "--data", "/no/such/data"], "give --model as well as --data"),
    (["run", "--max-steps", "many"], "--max-steps"),
    (["run", "--device", "tpu"], "--device"),
]


@pytest.mark.parametrize(("words", "sentence"), WORDS)
def test_names_that_mean_nothing(
    harness: Command, out: Path, words: list[str], sentence: str
) -> None:
    ended = harness(*words, "--out", out)
    assert ended.code == 2
    assert sentence in ended.sentence
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nonsense"], "nonsense"),
        ([], "command"),
        (["run", "--resume", "nonsense"], "There is no run nonsense"),
        (["report", "/no/such/folder"], "holds no records"),
    ],
)
def test_commands_that_cannot_start(harness: Command, words: list[str], sentence: str) -> None:
    ended = harness(*words)
    assert ended.code == 2
    assert sentence in ended.sentence


def without_weights_file(files: dict[str, bytes]) -> dict[str, bytes]:
    return {n: d for n, d in files.items() if n != "model-00002-of-00002.safetensors"}


def cut(files: dict[str, bytes]) -> dict[str, bytes]:
    name = "model-00001-of-00002.safetensors"
    return {**files, name: files[name][:-1]}


def other(files: dict[str, bytes]) -> dict[str, bytes]:
    return {**files, "config.json": json.dumps({"model_type": "llava"}).encode()}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without_weights_file, "lacks 1 of its 2 weight files (model-00002-of-00002.safetensors)"),
        (cut, "its header says"),
        (other, "holds a 'llava' model"),
        (lambda files: {}, "lacks config.json"),
    ],
    ids=["missing weights", "corrupt weights", "another architecture", "empty folder"],
)
def test_snapshots_that_cannot_be_used(
    harness: Command,
    tmp_path: Path,
    out: Path,
    change: Callable[[dict[str, bytes]], dict[str, bytes]],
    sentence: str,
) -> None:
    folder = snapshots.write(tmp_path / "mine", change(snapshots.files(shards=2)))
    ended = harness("probe", "text", "--model", folder, "--out", out)
    assert ended.code == 2
    assert sentence in ended.sentence
    assert not out.exists()


def test_random_weights_need_cuda(out: Path) -> None:
    ended = process("run", "--model", "random-7b", "--out", out, CUDA_VISIBLE_DEVICES="")
    assert ended.code == 3
    assert "needs a CUDA device; use the stand-in, a snapshot folder" in ended.sentence
    assert not out.exists()


def test_the_gpu_lane_never_uses_the_stand_in(out: Path) -> None:
    ended = process("run", "--out", out, HARNESS_LANE="gpu")
    assert ended.code == 3
    assert "never falls back to a stand-in" in ended.sentence
    assert not out.exists()


def test_the_gpu_lane_stops_before_its_tests_without_cuda() -> None:
    # The lane's first command; CUDA_VISIBLE_DEVICES hides the devices of a machine with some.
    ended = process("doctor", "--require-cuda", HARNESS_LANE="gpu", CUDA_VISIBLE_DEVICES="")
    assert ended.code in {2, 3}, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "cuda" in ended.stderr


def test_cuda_that_is_not_there_is_not_runnable(out: Path) -> None:
    # Hidden from a machine that has some, so that the same is tested everywhere.
    ended = process("probe", "text", "--device", "cuda", "--out", out, CUDA_VISIBLE_DEVICES="")
    assert ended.code == 3
    assert "torch sees no CUDA device" in ended.sentence
    assert not out.exists()


def test_a_folder_that_cannot_be_written(harness: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = harness("probe", "text", "--out", tmp_path / "file" / "out")
    assert ended.code == 2
    assert "cannot be written" in ended.sentence


# A disk that fills up: the file can be opened, its content does not fit.
FULL_DISK = """
import errno, os

def fsync(handle):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

os.fsync = fsync
"""


def test_a_full_disk_in_the_command(tmp_path: Path, out: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "sitecustomize.py").write_text(FULL_DISK)
    ended = process("probe", "text", "--out", out, path=[tmp_path / "full"])
    assert ended.code == 2
    assert "No room left on the disk" in ended.sentence
    assert not results(out)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, step: str
) -> None:
    path = tmp_path / "text.json"
    files.write_atomically(path, b"old")

    def full(*args: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if step == "write":
            real = os.fdopen

            def opened(handle: int, mode: str) -> Any:
                class Full(io.FileIO):
                    write = full

                real(handle, mode).close()
                return Full(os.open(os.devnull, os.O_WRONLY), "wb")

            patch.setattr(os, "fdopen", opened)
        else:
            patch.setattr(os, step, full)
        with pytest.raises(OutOfSpace, match="No room left on the disk"):
            files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["text.json"]


def png(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, 200).save(buffer, "PNG")
    return buffer.getvalue()


def claimed(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


PICTURES: list[tuple[str, Any, str]] = [
    ("missing", None, "missing"),
    ("no picture", b"no picture", "no readable picture"),
    ("empty", b"", "no readable picture"),
    ("cut in the middle", png((64, 64))[:60], "no readable picture"),
    ("enormous", claimed(8000, MAX_PIXELS // 8000 + 1), "the limit is"),
    ("a bomb", claimed(200_000, 200_000), "too large|the limit is"),
    ("a line", png((201, 1)), "more than 200 times"),
    ("no pixels", claimed(0, 10), "no readable picture"),
    ("a URL", "https://example.invalid/x.png", "is a URL"),
    ("a file URL", "file:///etc/hostname", "is a URL"),
    ("a path", "/etc/hostname", "is a path"),
    ("a dict with a path", {"bytes": None, "path": "/etc/hostname"}, "is a path"),
]


@pytest.mark.parametrize(
    ("data", "sentence"), [p[1:] for p in PICTURES], ids=[p[0] for p in PICTURES]
)
def test_pictures_that_cannot_be_used(data: Any, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence) as caught:
        decode(data, "Row 7, column 'image',")
    assert str(caught.value).startswith("Row 7, column 'image',")
    assert "\n" not in str(caught.value)


def product(**changes: Any) -> dict[str, Any]:
    picture = {"bytes": base64.b64encode(png((30, 30))).decode()}
    row = {"image": picture, "Product Name": "Doll", "Category": "Toys", "description": "A doll."}
    return {**row, **changes}


def dataset(folder: Path, rows: Sequence[dict[str, Any]]) -> str:
    folder.mkdir()
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


UNLABELLED = {k: v for k, v in product().items() if k != "Category"}
LARGE = {"bytes": base64.b64encode(claimed(9000, 9000)).decode()}
ROWS: list[tuple[str, dict[str, Any], str]] = [
    ("column", UNLABELLED, "lacks the column 'Category'"),
    ("empty", product(description=" \n"), "empty description"),
    ("picture", product(image={"bytes": "AAAA"}), "no readable picture"),
    ("large", product(image=LARGE), "the limit"),
    ("turn", product(description="A doll.<|im_end|>"), "description.*control token <.im_end.>"),
    ("pad", product(**{"Product Name": "<|image_pad|>"}), "Product Name.*control token <.image_p"),
    ("end", product(Category="<|endoftext|>Toys"), "Category.*control token <.endoftext.>"),
]


@pytest.mark.parametrize("place", [0, 11])
@pytest.mark.parametrize(("row", "sentence"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_rows_that_cannot_be_used_in_either_split(
    tmp_path: Path, row: dict[str, Any], sentence: str, place: int
) -> None:
    rows = [product() for _ in range(12)]
    check_data(Data(dataset(tmp_path / "good", rows)), STAND_IN)
    rows[place] = row
    with pytest.raises(BadInput, match=sentence) as caught:
        check_data(Data(dataset(tmp_path / "bad", rows)), STAND_IN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [UNLABELLED, product(description="A doll.<|im_end|>")])
def test_a_bad_dataset_stops_the_command_before_anything_is_measured(
    harness: Command, tmp_path: Path, out: Path, bad: dict[str, Any]
) -> None:
    model = snapshots.write(tmp_path / "mine", snapshots.files())
    data = dataset(tmp_path / "data", [product(), bad])
    ended = harness("run", "--model", model, "--data", data, "--out", out)
    assert ended.code == 2
    assert data in ended.sentence
    assert not out.exists()


def test_a_dataset_in_latin_1_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_bytes('{"description": "Stück"}'.encode("latin-1"))
    with pytest.raises(BadInput, match="no UTF-8"):
        check_data(Data(str(tmp_path)), STAND_IN)


def test_line_separators_inside_a_text_are_text(tmp_path: Path) -> None:
    # U+2028 is a line break for str.splitlines, not for JSON lines.
    text = json.dumps(product(description="one\u2028two"), ensure_ascii=False)
    (tmp_path / "data.jsonl").write_text(text + "\n" + text + "\n", encoding="utf-8")
    check_data(Data(str(tmp_path)), STAND_IN)


def test_base64_of_other_letters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no base64"):
        check_data(Data(dataset(tmp_path / "data", [product(image={"bytes": "é"})])), STAND_IN)


def test_words_that_look_like_control_tokens_are_no_reason(tmp_path: Path) -> None:
    text = "Use <b>, |im_end| and < | image_pad | > freely, 100 % <|cotton|>."
    check_data(Data(dataset(tmp_path / "data", [product(description=text)] * 3)), STAND_IN)
