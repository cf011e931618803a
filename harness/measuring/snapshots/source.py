"""Where the model comes from: a snapshot folder, the hub at a pinned revision, or a stand-in."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.data.sources import root_of
from harness.errors import BadInput, Lack, NotRunnable
from harness.measuring.instruments.device import sees_cuda
from harness.measuring.models import Family, family, of_recipe, of_snapshot
from harness.measuring.snapshots import tiny
from harness.measuring.snapshots.weights import (
    INDEX,
    check_weights,
    json_object,
    sha256,
    weight_files,
)
from harness.records import seals
from harness.records.context import is_stand_in
from harness.records.files import json_digest
from harness.records.folders import PACKAGE, path_of

STAND_INS = PACKAGE / "measuring" / "stand_in"
STAND_IN = STAND_INS / of_recipe()[0]
HUB = re.compile(r"(?P<id>\w[\w.-]*/\w[\w.-]*)@(?P<revision>.*)", re.DOTALL)
REVISION = re.compile(r"[0-9a-f]{40}")
NEEDED = ("config.json", "preprocessor_config.json", "tokenizer_config.json")
# Formats whose loading runs code that the file brings along.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
TEXTS = (".json", ".txt", ".jinja")
# How the stand-in was made, and what a tiny model's files were built as: no library reads them, so
# they decide no result.
BESIDE = ("PROVENANCE.json", seals.NAME)
# Of random-7b's weights.
SEED = 42
Vocabulary = Literal["real", "stand-in", "other"]


@dataclass(frozen=True)
class Source:
    """A resolved and checked model.

    name: what records say (`stand-in[:FAMILY]`, `org/name@<sha>`, `snapshot:<folder>`). family: by
    its config's model_type. files: everything in the snapshot that decides a result.
    """

    name: str
    snapshot: Path
    family: str
    has_weights: bool
    vocabulary: Vocabulary
    files: tuple[Path, ...]

    @property
    def digests(self) -> Mapping[str, str]:
        """SHA-256 by file name; reads every file, the large ones once (see weights.py)."""
        return {path.name: sha256(path) for path in self.files}

    @property
    def digest(self) -> str:
        """One digest over all files."""
        return json_digest(dict(self.digests))


def resolve(model: str) -> Source:
    """Find, download or refuse a model.

    Raises BadInput for a name, folder or file that cannot be used, NotRunnable for what this
    machine or lane cannot run. The hub is asked only for `org/name@<40 hex>`.
    """
    if is_stand_in(model):
        if os.environ.get("HARNESS_LANE") == "gpu":
            raise NotRunnable(
                "The gpu lane never falls back to a stand-in; set HARNESS_MODEL to a snapshot "
                "folder or org/name@<40 hex>."
            )
        short, _, name = model.partition(":")
        # The recipe's family's has one name, whichever it is called by.
        own = name in ("", of_recipe()[0])
        return inspect(STAND_IN if own else stand_in_folder(name), short if own else model)
    if model == "random-7b":
        return _random_7b()
    if model.startswith(tiny.PREFIX):
        return inspect(tiny.snapshot(model), model)
    if not model:
        raise BadInput(_unknown(model))
    path = path_of(model)
    if path.is_dir():
        return inspect(path.resolve(), f"snapshot:{path.resolve().name}")
    if path.exists():
        raise BadInput(f"The model {model} is a file; give the folder that holds the snapshot.")
    named = HUB.fullmatch(model)
    if named is None:
        raise BadInput(_unknown(model))
    if not REVISION.fullmatch(named["revision"]):
        raise BadInput(
            f"{named['revision']!r} in {named['id']}@… is no pinned revision; give the commit's "
            "40 hex digits, because branches and tags move."
        )
    # huggingface_hub lives in the stack's environment only.
    from harness.measuring.snapshots.hub import download

    return inspect(download(named["id"], named["revision"]), model)


def stand_ins() -> tuple[str, ...]:
    """Families that have a stand-in, or one to be trained: each has a folder of that name."""
    return tuple(sorted(path.parent.name for path in STAND_INS.glob("*/config.json")))


def stand_in_folder(name: str) -> Path:
    """Of a family's stand-in. Raises BadInput naming the families that have one."""
    if name not in stand_ins():
        raise BadInput(f"There is no stand-in of {name!r}; there are {', '.join(stand_ins())}.")
    return STAND_INS / name


def _random_7b() -> Source:
    """Build it once, or find it. HARNESS_PROCESSOR: the snapshot folder that lends its tokenizer
    and preprocessor, by default the stand-in's."""
    from harness.measuring.snapshots import random_weights

    if not sees_cuda():
        raise NotRunnable(
            "random-7b, 16.6 GB of random weights for cost runs, needs a CUDA device; "
            "use the stand-in, a snapshot folder or org/name@<40 hex>.",
            Lack.CUDA,
        )
    lender = Path(os.environ.get("HARNESS_PROCESSOR") or STAND_IN).expanduser()
    if not (lender / "tokenizer_config.json").is_file():
        raise BadInput(f"HARNESS_PROCESSOR names {lender}, which holds no tokenizer_config.json.")
    name, size = of_recipe()
    config = random_weights.fitted(family(name).PUBLISHED[size].config, lender)
    folder = random_weights.cache_folder(SEED, "cuda", config)
    if not (folder / INDEX).is_file():
        for line in random_weights.write_snapshot(folder, config, lender, device="cuda"):
            print(f"random-7b: {line} in {folder}", file=sys.stderr, flush=True)
    return inspect(folder, "random-7b")


def _unknown(model: str) -> str:
    if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", model):
        return (
            f"The model {model} is no folder and names no revision; give {model}@<40 hex digits>, "
            "so that everyone measures the same files."
        )
    if os.sep in model:
        return f"The model folder {model} does not exist; give a snapshot folder."
    return (
        f"There is no model {model!r}; give a snapshot folder, org/name@<40 hex>, stand-in, "
        f"stand-in:FAMILY or {tiny.PREFIX}FAMILY."
    )


def inspect(folder: Path, name: str) -> Source:
    """Check a snapshot folder's files; weights by their headers. Raises BadInput."""
    if not folder.is_dir():
        raise BadInput(f"There is no snapshot folder {str(folder)!r}; give one.")
    _check_kinds(folder)
    needed = (NEEDED[0], _of_pictures(folder), NEEDED[2])
    for file in needed:
        if not (folder / file).is_file():
            raise BadInput(f"{folder} lacks {file}; give the folder of a whole snapshot.")
    config, pictures, tokenizer = (json_object(folder / name) for name in needed)
    for file, content in zip(needed, (config, pictures, tokenizer), strict=True):
        if content.get("auto_map"):
            raise BadInput(
                f"{folder / file} wants code of its own (auto_map), which is never run here; "
                "give a snapshot that the libraries load by themselves."
            )
    kind = of_snapshot(folder)
    _check_vocabulary_files(folder)
    weights = weight_files(folder)
    pickled = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES)
    if pickled and not weights:
        raise BadInput(
            f"{folder} holds pickled weights ({pickled[0]}), which run code when loaded; "
            "give a snapshot with safetensors."
        )
    check_weights(weights, config, family(kind))
    texts = tuple(
        path
        for path in sorted(folder.iterdir())
        if path.suffix in TEXTS and path.name not in BESIDE and path.is_file()
    )
    vocabulary = _vocabulary(tokenizer, name, family(kind))
    return Source(name, folder, kind, bool(weights), vocabulary, (*texts, *weights))


def _check_kinds(folder: Path) -> None:
    """Refuse what would be read and is a pipe, a device, a folder or a link to nothing: a library
    would wait for it, read it without an end, or pass it over. Of texts a link to elsewhere too:
    what they say stands in reports."""
    root = root_of(folder)
    for path in sorted(folder.iterdir()):
        if path.suffix in {*TEXTS, ".safetensors"} and not path.is_file():
            raise BadInput(
                f"{path} is no regular file; give the folder of a whole snapshot, or download it "
                "again."
            )
        if path.suffix in TEXTS and not path.resolve().is_relative_to(root):
            raise BadInput(
                f"{path} is a link to {path.resolve()}, outside the snapshot; put the file itself "
                "there."
            )


def _of_pictures(folder: Path) -> str:
    """The file with the image processor's settings: since transformers 5 they may lie in the
    processor's own."""
    other = folder / "processor_config.json"
    if (folder / NEEDED[1]).is_file() or not other.is_file():
        return NEEDED[1]
    return other.name if "image_processor" in json_object(other) else NEEDED[1]


def _check_vocabulary_files(folder: Path) -> None:
    if (folder / "tokenizer.json").is_file():
        json_object(folder / "tokenizer.json")
        return
    for file in ("vocab.json", "merges.txt"):
        if not (folder / file).is_file():
            raise BadInput(
                f"{folder} lacks {file} (and tokenizer.json); download the snapshot again."
            )
    json_object(folder / "vocab.json")


def _vocabulary(tokenizer: Mapping[str, Any], name: str, loader: Family) -> Vocabulary:
    added = tokenizer.get("added_tokens_decoder") or {}
    if not isinstance(added, Mapping):
        raise BadInput(
            "tokenizer_config.json has no table added_tokens_decoder; download it again."
        )
    ids = {str(e.get("content")): i for i, e in added.items() if isinstance(e, dict)}
    for published in loader.PUBLISHED.values():
        if all(ids.get(token) == str(i) for token, i in published.control_ids.items()):
            return "real"
    return "stand-in" if is_stand_in(name) else "other"
