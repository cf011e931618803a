"""The files of a data source: which there are, that they are safe to read, whose split each is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.data.catalogue import Split
from harness.errors import BadInput
from harness.records.files import regular

# Rows are held encoded, and read once more for each question about them.
MAX_BYTES = 2 * 1024**3
FORMATS = ("jsonl", "json", "csv", "parquet", "arrow")
# What libraries write beside rows: descriptions of them, and what `datasets` has cached.
_BESIDE = re.compile(r"(dataset_infos?|dataset_dict|state)\.json|cache-.*\.arrow")
# What the hub's datasets call their splits; https://huggingface.co/docs/hub/datasets-file-names-and-splits
_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "heldout"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "heldout"), "heldout"),
}
_NAME = re.compile(rf"(?<![a-z])({'|'.join(sorted(_NAMES, key=len, reverse=True))})(?![a-z])")
# `train-00000-of-00004`, and what save_to_disk calls every split's files: `data-00000-of-00004`.
_SHARD = re.compile(r"-\d+(-of-\d+)?$")


@dataclass(frozen=True)
class DataFile:
    """path: as found. split: the one its name says, None for none. root: what its rows' own paths
    may lead into. called: every name that `--split` may call it by, its own first."""

    path: Path
    split: Split | None
    root: Path = Path()
    called: tuple[str, ...] = ()


def data_files(source: Path, splits: Sequence[str] = ()) -> list[DataFile]:
    """The files of a folder, in order of their names, or that one file.

    splits: names, as `--split` gives them: the one to train on, and the one held out; files of
    neither are left out. Raises BadInput for a folder without any, of two formats, of files with
    and without a split's name, for a split that is not there, and for a file that must not be read.
    """
    folder = source.parent if source.is_file() else source
    if not folder.is_dir():
        raise BadInput(
            f"There is no data {source}; give catalogue, a folder, a file, or "
            "org/name@<40 hex digits>."
        )
    paths = [source] if source.is_file() else _rows_below(folder)
    if source.is_file() and _format(source) not in FORMATS:
        raise BadInput(f"{source} is none of {_listed()}; give a file of rows, or its folder.")
    if not paths:
        raise BadInput(f"{folder} holds neither {_listed()}; put the dataset there.")
    kinds = list(dict.fromkeys(map(_format, paths)))
    if len(kinds) > 1:
        raise BadInput(
            f"{folder} holds both *.{kinds[0]} and *.{kinds[1]}; keep the rows in one format, or "
            "give the file itself."
        )
    total = sum(_size(path, folder) for path in paths)
    if total > MAX_BYTES:
        raise BadInput(
            f"{folder} holds {total:,} bytes of rows, the limit is {MAX_BYTES:,}; "
            "give a part of it."
        )
    files = [_file(path, folder) for path in paths]
    return _asked(source, files, splits) if splits else _by_name(files)


def _rows_below(folder: Path) -> list[Path]:
    """Files of rows below a folder, each format's in order of their names; none that is hidden."""
    listed: list[Path] = []
    for kind in FORMATS:
        paths = sorted(folder.glob(f"**/*.{kind}"))
        listed += [
            path
            for path in paths
            if not _BESIDE.fullmatch(path.name)
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        ]
    return listed


def _format(path: Path) -> str:
    return path.suffix.removeprefix(".").lower()


def _listed() -> str:
    return ", ".join(f"*.{kind}" for kind in FORMATS[:-1]) + f" nor *.{FORMATS[-1]}"


def _file(path: Path, folder: Path) -> DataFile:
    within = path.relative_to(folder)
    own = _SHARD.sub("", path.stem)
    names = (own, *(parent.name for parent in within.parents if parent.name))
    return DataFile(path, _split(within), root_of(folder), names)


def _by_name(files: list[DataFile]) -> list[DataFile]:
    """The files as they are. Raises BadInput where one names a split and another none."""
    named = [file for file in files if file.split is not None]
    if named and len(named) < len(files):
        other = next(file for file in files if file.split is None)
        raise BadInput(
            f"{other.path} names no split beside {named[0].path.name}, so nobody knows whether it "
            "is trained on; call it train-… or test-…, or say --split."
        )
    return files


def _asked(source: Path, files: list[DataFile], splits: Sequence[str]) -> list[DataFile]:
    """The files of the splits that were asked for: the first trained on, the second held out.

    A name is a file's or a folder's own; only where there is none of it a word in their names.
    """
    parts: tuple[Split | None, ...] = ("train", "heldout") if len(splits) > 1 else (None,)
    chosen: list[DataFile] = []
    for name, part in zip(splits, parts, strict=True):
        exact = [file for file in files if name in file.called]
        wanted = exact or [file for file in files if name in _words(file)]
        if not wanted:
            there = sorted({file.called[0] for file in files})
            raise BadInput(
                f"{source} has no split {name!r}; its files are called {', '.join(there[:8])}."
            )
        chosen += [replace(file, split=part) for file in wanted]
    twice = [file for file in chosen if sum(file.path == other.path for other in chosen) > 1]
    if twice:
        raise BadInput(
            f"{twice[0].path} would be trained on and held out; name two different splits."
        )
    return chosen


def _words(file: DataFile) -> set[str]:
    return {word for name in file.called for word in _NAME.findall(name.lower())}


def _size(path: Path, folder: Path) -> int:
    """Bytes of a file that is regular and lies below the folder. Raises BadInput naming it."""
    try:
        target = path.resolve(strict=True)
        if not target.is_relative_to(root_of(folder)):
            raise BadInput(
                f"{path} is a link to {target}, outside the data's folder; "
                "put the file itself there."
            )
        return regular(target).stat().st_size
    except ValueError as error:
        raise BadInput(f"{path} cannot be read ({error}); put the rows there.") from error
    except RuntimeError as error:  # a link that leads to itself, until Python 3.12
        raise BadInput(f"{path} cannot be read (it is a link to itself).") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).") from error


def root_of(folder: Path) -> Path:
    """What the links of a folder that is read may lead into: itself, and for one in the hub's cache
    the repository's, whose snapshots are links to its blobs."""
    folder = folder.resolve()
    repository = folder.parent.parent
    is_cached = folder.parent.name == "snapshots" and (repository / "blobs").is_dir()
    return repository if is_cached else folder


def _split(path: Path) -> Split | None:
    """The split of a path within a source: its file's name decides, then the folders above.

    Raises BadInput for a name of two splits.
    """
    for part in (path.stem, *(folder.name for folder in path.parents)):
        splits = {_NAMES[name] for name in _NAME.findall(part.lower())}
        if len(splits) > 1:
            raise BadInput(f"{path} names two splits; call it train-… or test-….")
        if splits:
            return splits.pop()
    return None
