"""Files, links and references that must not be read: refused at once, in one sentence, and nothing
is opened for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.data.dataset import load_rows
from harness.measuring.snapshots.source import resolve
from suites.reliability.memory import cost
from suites.reliability.rows import product, write
from suites.selftest import snapshots


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def loop(path: Path) -> None:
    path.symlink_to(path)


def nowhere(path: Path) -> None:
    path.symlink_to(path.parent / "gone")


def device(name: str) -> Any:
    return lambda path: path.symlink_to(name)


def outside(path: Path) -> None:
    data = next(folder for folder in path.parents if folder.name == "data")
    path.symlink_to(write(data.parent / "outside.txt", product(), product()))


FILES = {
    "fifo": (fifo, "no regular file"),
    "folder": (folder, "no regular file"),
    "loop": (loop, "cannot be read"),
    "nowhere": (nowhere, "cannot be read"),
    "zero": (device("/dev/zero"), "outside"),
    "urandom": (device("/dev/urandom"), "outside"),
    "stdin": (device("/dev/stdin"), "outside"),
    "passwd": (device("/etc/passwd"), "outside"),
    "proc": (device("/proc/self/environ"), "outside"),
    "outside": (outside, "outside"),
}


@pytest.mark.parametrize("name", ["a.jsonl", "train-0.jsonl", "sub/a.jsonl", "a.parquet"])
@pytest.mark.parametrize(("make", "reason"), FILES.values(), ids=FILES)
def test_files_that_must_not_be_read_are_refused_at_once(
    tmp_path: Path, make: Any, reason: str, name: str
) -> None:
    path = tmp_path / "data" / name
    path.parent.mkdir(parents=True)
    make(path)
    took = cost(lambda: load_rows(str(tmp_path / "data"), "train"))
    assert reason in took.refusal
    assert name in took.refusal
    assert took.seconds < 2


def test_a_link_within_the_folder_and_one_into_the_hubs_blobs_are_read(tmp_path: Path) -> None:
    real = write(tmp_path / "data" / "rows.txt", product(), product(), product())
    (tmp_path / "data" / "a.jsonl").symlink_to(real)
    assert len(load_rows(str(tmp_path / "data"), "train")) == 2
    repository = tmp_path / "datasets--org--name"
    blob = write(repository / "blobs" / "0a", product(), product(), product())
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "a.jsonl").symlink_to(blob)
    assert len(load_rows(str(snapshot), "train")) == 2


REFERENCES = [
    f"{scheme}{host}/x.png"
    for scheme in ("http://", "https://", "ftp://", "file://", "data:image/png;base64,", "//", "")
    for host in ("example.invalid", "127.0.0.1:9", "/etc/passwd", "[::1]", "../../x", "~", "a\0b")
]


@pytest.mark.parametrize("place", ["bare", "path", "bytes"])
def test_references_open_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, tried: Any
) -> None:
    """49 references in three places; a socket or a file opened for one would be seen."""
    import socket

    def opened(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", opened)
    tried(len(REFERENCES))
    for text in REFERENCES:
        image = {"bare": text, "path": {"bytes": None, "path": text}, "bytes": {"bytes": text}}
        write(tmp_path / "a.jsonl", product(image=image[place]), product())
        took = cost(lambda: load_rows(str(tmp_path), "train"))
        assert any(word in took.refusal for word in ("URL", "path", "base64", "missing")), text


READ = ("model.safetensors", "extra.safetensors", "config.json", "tokenizer.json", "merges.txt")
READ += ("chat_template.jinja", "model.safetensors.index.json", "added_tokens.json")
ODD = {"fifo": fifo, "folder": folder, "loop": loop, "nowhere": nowhere}
ODD |= {"zero": device("/dev/zero"), "stdin": device("/dev/stdin")}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_a_snapshots_file_that_must_not_be_read_is_refused_at_once(
    tmp_path: Path, make: Any, name: str
) -> None:
    """Of weights that no index names, and of files that a snapshot need not have, too."""
    place = snapshots.write(tmp_path / "model", snapshots.files())
    (place / name).unlink(missing_ok=True)
    make(place / name)
    took = cost(lambda: resolve(str(place)))
    assert name in took.refusal
    assert "no regular file" in took.refusal
    assert took.seconds < 2


@pytest.mark.parametrize("name", ["chat_template.jinja", "vocab.json", "config.json"])
def test_a_snapshots_text_from_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """It would stand in the report: a template, a token. Numbers are read wherever they lie."""
    files = {**snapshots.files(), "chat_template.jinja": b"{{ messages }}"}
    place = snapshots.write(tmp_path / "model", files)
    (tmp_path / "outside").write_bytes(files[name])
    (place / name).unlink()
    (place / name).symlink_to(tmp_path / "outside")
    took = cost(lambda: resolve(str(place)))
    assert name in took.refusal
    assert "outside" in took.refusal


def test_links_within_a_snapshot_into_the_hubs_blobs_and_to_weights_are_read(
    tmp_path: Path,
) -> None:
    files = snapshots.files()
    place = snapshots.write(tmp_path / "model", files)
    (place / "vocab.json").rename(place / "words")
    (place / "vocab.json").symlink_to("words")
    (place / "model.safetensors").rename(tmp_path / "weights")
    (place / "model.safetensors").symlink_to(tmp_path / "weights")
    assert resolve(str(place)).has_weights
    blobs = tmp_path / "models--org--name" / "blobs"
    cached = blobs.parent / "snapshots" / ("0" * 40)
    cached.mkdir(parents=True)
    blobs.mkdir()
    for number, (name, data) in enumerate(files.items()):
        (blobs / str(number)).write_bytes(data)
        (cached / name).symlink_to(f"../../blobs/{number}")
    assert resolve(str(cached)).has_weights
