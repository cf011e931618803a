"""The files of a data source: which there are, that they are safe to read, whose split each is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.data.catalogue import Split
from harness.errors import BadInput
from harness.records.files import regular

# Rows are held encoded, and read once more for each question about them.
MAX_BYTES = 2 * 1024**3
FORMATS = ("jsonl", "parquet")
# What the hub's datasets call their splits; https://huggingface.co/docs/hub/datasets-file-names-and-splits
_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "heldout"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "heldout"), "heldout"),
}
_NAME = re.compile(rf"(?<![a-z])({'|'.join(sorted(_NAMES, key=len, reverse=True))})(?![a-z])")


@dataclass(frozen=True)
class DataFile:
    """path: as found, below the source's folder. split: the one its name says, None for none."""

    path: Path
    split: Split | None


def data_files(folder: Path) -> list[DataFile]:
    """The source's files in order of their names. Raises BadInput for a folder without any, of two
    formats, of files with and without a split's name, and for a file that must not be read."""
    if not folder.is_dir():
        raise BadInput(
            f"There is no data {folder}; give catalogue, a folder, or org/name@<40 hex digits>."
        )
    by_format = {kind: sorted(folder.glob(f"**/*.{kind}")) for kind in FORMATS}
    paths = [path for kind in FORMATS for path in by_format[kind]]
    if not paths:
        raise BadInput(f"{folder} holds neither *.jsonl nor *.parquet; put the dataset there.")
    if all(by_format.values()):
        raise BadInput(f"{folder} holds both *.jsonl and *.parquet; keep the rows in one format.")
    total = sum(_size(path, folder) for path in paths)
    if total > MAX_BYTES:
        raise BadInput(
            f"{folder} holds {total:,} bytes of rows, the limit is {MAX_BYTES:,}; "
            "give a part of it."
        )
    files = [DataFile(path, _split(path.relative_to(folder))) for path in paths]
    named = [file for file in files if file.split is not None]
    if named and len(named) < len(files):
        other = next(file for file in files if file.split is None)
        raise BadInput(
            f"{other.path} names no split beside {named[0].path.name}, so nobody knows whether it "
            "is trained on; call it train-… or test-…."
        )
    return files


def _size(path: Path, folder: Path) -> int:
    """Bytes of a file that is regular and lies below the folder. Raises BadInput naming it."""
    try:
        target = path.resolve(strict=True)
        if not target.is_relative_to(_root(folder)):
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


def _root(folder: Path) -> Path:
    """What a source's links may lead into: its own folder, and for one in the hub's cache the
    repository's, whose snapshots are links to its blobs."""
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
