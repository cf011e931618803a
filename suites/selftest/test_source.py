"""Snapshots on disk: what is accepted, and each thing wrong named in one sentence."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from harness.errors import BadInput, NotRunnable
from harness.measuring.snapshots import source, weights
from suites.selftest import snapshots

Files = dict[str, bytes]
INDEX = "model.safetensors.index.json"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_LANE", raising=False)


def refused(model: str | Path) -> str:
    """The sentence with which a model is refused: one line, ending in what to do."""
    with pytest.raises(BadInput) as caught:
        source.resolve(str(model))
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_the_stand_in_is_whole() -> None:
    model = source.resolve("stand-in")
    assert (model.name, model.has_weights, model.vocabulary) == ("stand-in", True, "stand-in")
    assert "model.safetensors" in model.digests


def test_the_gpu_lane_refuses_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_LANE", "gpu")
    with pytest.raises(NotRunnable, match="never falls back to a stand-in"):
        source.resolve("stand-in")


def test_random_7b_is_known_but_not_runnable_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(NotRunnable, match="needs a CUDA device; use the stand-in, a snapshot"):
        source.resolve("random-7b")


@pytest.mark.parametrize("shards", [0, 1, 3])
def test_a_folder_is_a_snapshot(tmp_path: Path, shards: int) -> None:
    folder = snapshots.write(tmp_path / "mine", snapshots.files(shards=shards))
    model = source.resolve(str(folder))
    assert (model.name, model.snapshot) == ("snapshot:mine", folder)
    assert (model.has_weights, model.vocabulary) == (True, "other")
    assert sum(n.endswith(".safetensors") for n in model.digests) == max(1, shards)


def test_a_relative_folder_is_a_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = snapshots.write(tmp_path / "mine", snapshots.files())
    monkeypatch.chdir(tmp_path)
    assert source.resolve("mine").snapshot == folder


@pytest.mark.parametrize("shards", [0, 2])
def test_a_folder_without_weights_is_one(tmp_path: Path, shards: int) -> None:
    files = snapshots.files(shards=shards)
    bare = {n: d for n, d in files.items() if not n.endswith(".safetensors")}
    model = source.resolve(str(snapshots.write(tmp_path / "mine", bare)))
    assert model.has_weights is False


def test_the_published_ids_make_the_vocabulary_real(tmp_path: Path) -> None:
    # From the published tokenizer_config.json of Qwen2-VL.
    ids = {
        151643: "<|endoftext|>",
        151644: "<|im_start|>",
        151645: "<|im_end|>",
        151652: "<|vision_start|>",
        151653: "<|vision_end|>",
        151654: "<|vision_pad|>",
        151655: "<|image_pad|>",
        151656: "<|video_pad|>",
    }
    files = snapshots.files()

    def vocabulary(tokens: dict[int, str], name: str) -> str:
        config = {"added_tokens_decoder": {str(i): {"content": t} for i, t in tokens.items()}}
        files["tokenizer_config.json"] = json.dumps(config).encode()
        return source.resolve(str(snapshots.write(tmp_path / name, files))).vocabulary

    assert vocabulary(ids, "real") == "real"
    assert vocabulary({**ids, 151655: "<|other|>"}, "other") == "other"


def test_every_byte_of_the_weights_counts_in_the_digest(tmp_path: Path) -> None:
    files = snapshots.files()
    first = source.resolve(str(snapshots.write(tmp_path / "a" / "same", files)))
    data = bytearray(files["model.safetensors"])
    data[-1] ^= 1
    files["model.safetensors"] = bytes(data)
    second = source.resolve(str(snapshots.write(tmp_path / "b" / "same", files)))
    assert first.name == second.name
    assert first.digest != second.digest


def test_a_large_file_is_hashed_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "LARGE", 4)
    path = tmp_path / "large"
    path.write_bytes(b"12345")
    first = weights.sha256(path)
    real = weights._hash
    monkeypatch.setattr(weights, "_hash", lambda path: pytest.fail("hashed again"))
    assert weights.sha256(path) == first
    monkeypatch.setattr(weights, "_hash", real)
    before = path.stat()
    path.write_bytes(b"12346")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert weights.sha256(path) != first


NAMES = [
    ("no-such-model", "There is no model 'no-such-model'"),
    ("/no/such/folder", "/no/such/folder does not exist"),
    ("./no/such/folder", "does not exist"),
    ("org/name", "names no revision"),
    ("org/name@main", "no pinned revision"),
    ("org/name@" + "0" * 39, "no pinned revision"),
    ("org/name@" + "0" * 41, "no pinned revision"),
    ("org/name@" + "A" * 40, "no pinned revision"),
    ("org/name@" + "0" * 40 + "\n", "no pinned revision"),
    ("../name@" + "0" * 40, "does not exist"),
    ("", "There is no model ''"),
]


@pytest.mark.parametrize(("name", "words"), NAMES)
def test_a_name_that_is_no_model_is_refused(name: str, words: str) -> None:
    assert words in refused(name)


def test_a_file_is_no_snapshot(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "is a file" in refused(tmp_path / "model.safetensors")


def without(name: str) -> Callable[[Files], Files]:
    return lambda files: {n: d for n, d in files.items() if n != name}


def replaced(name: str, data: bytes) -> Callable[[Files], Files]:
    return lambda files: {**files, name: data}


def edited(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Files], Files]:
    return lambda files: {**files, name: edit(files[name])}


def another_architecture(raw: bytes) -> bytes:
    return json.dumps({**json.loads(raw), "model_type": "llava"}).encode()


def more_layers(raw: bytes) -> bytes:
    config = json.loads(raw)
    return json.dumps({**config, "num_hidden_layers": config["num_hidden_layers"] + 2}).encode()


def header(value: object, body: bytes = b"") -> bytes:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<Q", len(raw)) + raw + body


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
FILE = "model.safetensors"
BROKEN: list[tuple[str, Callable[[Files], Files], str]] = [
    ("nothing in it", lambda files: {}, "lacks config.json"),
    ("no config", without("config.json"), "lacks config.json"),
    ("no image processor", without("preprocessor_config.json"), "lacks preprocessor_config.json"),
    ("no tokenizer", without("tokenizer_config.json"), "lacks tokenizer_config.json"),
    ("no vocabulary", without("vocab.json"), "lacks vocab.json"),
    ("no merges", without("merges.txt"), "lacks merges.txt"),
    ("config cut", edited("config.json", lambda raw: raw[:50]), "config.json is not readable"),
    ("config a list", replaced("config.json", b"[]"), "config.json holds no JSON object"),
    ("config in Latin-1", replaced("config.json", b'{"a": "\xe9"}'), "config.json is not readable"),
    ("vocabulary cut", edited("vocab.json", lambda raw: raw[:50]), "vocab.json is not readable"),
    ("another architecture", edited("config.json", another_architecture), "'llava'"),
    ("weights cut", edited(FILE, lambda raw: raw[:-1]), "its header says"),
    ("weights too long", edited(FILE, lambda raw: raw + b"\0"), "its header says"),
    ("weights empty", replaced(FILE, b""), "no whole safetensors file"),
    ("weights seven bytes", replaced(FILE, b"1234567"), "no whole safetensors file"),
    ("a page of HTML", replaced(FILE, b"<!DOCTYPE html><title>404</title>"), "no whole safet"),
    ("a pointer file", replaced(FILE, b"version https://git-lfs\noid sha256:0\n"), "no whole safe"),
    ("header cut", edited(FILE, lambda raw: raw[:100]), "header is longer than the file"),
    ("header no JSON", replaced(FILE, header(b"{no json")), "no whole safetensors file"),
    ("header a list", replaced(FILE, header([])), "no whole safetensors file"),
    ("entry a number", replaced(FILE, header({"a": 1})), "no whole safetensors file"),
    ("offsets missing", replaced(FILE, header({"a": {}})), "no whole safetensors file"),
    ("overlap", replaced(FILE, header({"a": ENTRY, "b": ENTRY}, bytes(8))), "no whole safetens"),
    ("wrong size", replaced(FILE, header({"a": {**ENTRY, "shape": [3]}}, bytes(8))), "no whole sa"),
    ("no tensors", replaced(FILE, save({})), "lack layers 0, 1, 2, 3 of the 4"),
    ("layers missing", edited("config.json", more_layers), "lack layers 4, 5 of the 6"),
    ("pickles only", lambda f: {**without(FILE)(f), "pytorch_model.bin": b"\x80"}, "run code when"),
]


@pytest.mark.parametrize(("change", "words"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_what_is_wrong_with_a_folder_is_named(
    tmp_path: Path, change: Callable[[Files], Files], words: str
) -> None:
    folder = snapshots.write(tmp_path / "mine", change(snapshots.files()))
    sentence = refused(folder)
    assert words in sentence
    assert str(folder) in sentence


def test_the_embedding_must_be_there(tmp_path: Path) -> None:
    files = snapshots.files()
    weights = snapshots.tensors(json.loads(files["config.json"]))
    del weights["model.embed_tokens.weight"]
    folder = snapshots.write(tmp_path / "mine", {**files, FILE: save(weights)})
    assert "lack the embedding" in refused(folder)


def test_every_missing_shard_is_named(tmp_path: Path) -> None:
    files = snapshots.files(shards=4)
    gone = ["model-00002-of-00004.safetensors", "model-00004-of-00004.safetensors"]
    kept = {n: d for n, d in files.items() if n not in gone}
    sentence = refused(snapshots.write(tmp_path / "indexed", kept))
    assert all(name in sentence for name in gone)
    # A shard's own name says how many there must be, even where the index went missing too.
    del kept[INDEX]
    sentence = refused(snapshots.write(tmp_path / "bare", kept))
    assert all(name in sentence for name in gone)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (b"{}", "no weight_map"),
        (b'{"weight_map": ["a"]}', "no weight_map"),
        (b'{"weight_map": {"a": 1}}', "no weight_map"),
        (b'{"weight_map": {"a": "../../else.safetensors"}}', "outside its folder"),
        (b"{", "not readable JSON"),
    ],
)
def test_a_broken_index_is_refused(tmp_path: Path, index: bytes, words: str) -> None:
    files = {**snapshots.files(shards=2), INDEX: index}
    assert words in refused(snapshots.write(tmp_path / "mine", files))


def test_pickles_beside_safetensors_are_ignored(tmp_path: Path) -> None:
    files = {**snapshots.files(), "pytorch_model.bin": b"\x80"}
    model = source.resolve(str(snapshots.write(tmp_path / "mine", files)))
    assert "pytorch_model.bin" not in model.digests


def test_tensors_of_the_newer_layout_are_recognised(tmp_path: Path) -> None:
    # transformers from 4.52 on may save `model.language_model.layers…` and `model.visual.blocks…`.
    files = snapshots.files()
    weights = {
        name.replace("model.", "model.language_model.", 1)
        if name.startswith("model.")
        else f"model.{name}": np.asarray(value)
        for name, value in snapshots.tensors(json.loads(files["config.json"])).items()
    }
    folder = snapshots.write(tmp_path / "mine", {**files, FILE: save(weights)})
    assert source.resolve(str(folder)).has_weights
