"""Download a pinned revision with huggingface_hub, and make sure it is what it says it is.

Measuring world: huggingface_hub lives in the stack's environment (0.25 to 2.4).
"""

from __future__ import annotations

import errno
import hashlib
import re
from pathlib import Path
from typing import Any

from harness.errors import BadInput, OutOfSpace
from harness.measuring.snapshots.weights import first_line, json_object, remember, sha256
from harness.records.folders import cache_root

# No pickles, no code, no subfolders: only what the harness and the libraries read.
PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.jinja"]
SUBFOLDERS = ["*/*"]
FULL = {errno.ENOSPC, errno.EDQUOT}


def download(repository: str, revision: str) -> Path:
    """The local snapshot folder of `repository` at the commit `revision`.

    Interrupted downloads resume (the library's own behaviour). Every file is checked against
    the checksum that the hub gave for it and against the digests recorded at the first
    download. Raises BadInput or OutOfSpace in one sentence.
    """
    folder = _fetch(repository, revision)
    _check_against_hub(folder)
    ledger = cache_root() / "digests" / f"{repository.replace('/', '--')}@{revision}.json"
    if ledger.is_file():
        _check_against_ledger(folder, ledger)
        return folder
    if not any(folder.glob("*.safetensors")):
        _check_has_none(repository, revision)
    remember(ledger, _digests(folder))
    return folder


def _fetch(repository: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = f"{repository}@{revision}"
    # requests.HTTPError below huggingface_hub 1, the root of httpx's errors from there on, whose
    # broken connections are no OSErrors.
    transport = HfHubHTTPError.__bases__[0]
    try:
        return Path(
            snapshot_download(
                repository, revision=revision, allow_patterns=PATTERNS, ignore_patterns=SUBFOLDERS
            )
        )
    except HFValidationError as error:
        raise BadInput(f"{repository!r} is no name of the hub; write org/name@<40 hex>.") from error
    except GatedRepoError as error:
        raise BadInput(f"{repository} is gated; accept its terms and log in to the hub.") from error
    except RevisionNotFoundError as error:
        raise BadInput(f"{repository} has no revision {revision}; check the 40 digits.") from error
    except RepositoryNotFoundError as error:
        raise BadInput(
            f"The hub has no model {repository}, or it is private; check the name or log in."
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise BadInput(
            f"{name} is not wholly in the local cache and the hub cannot be asked "
            f"({type(error.__cause__ or error).__name__}); connect once, or give a snapshot folder."
        ) from error
    except (OSError, transport) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise OutOfSpace(f"No room left on the disk for {name}; free some space.") from error
        # Wrong sizes, refusals and broken connections.
        raise BadInput(
            f"Downloading {name} failed ({first_line(error)}); run the same command again, "
            "it goes on where it stopped."
        ) from error


def _check_against_hub(folder: Path) -> None:
    """Compare each file with the checksum that the hub gave. Raises BadInput.

    The library checks sizes only. Its cache names a file's content by the hub's ETag: the
    SHA-256 of a large file, the git object id (SHA-1) of a small one. What does not match is
    removed, so that nothing else uses it and the next run fetches it again.
    """
    for link in sorted(folder.iterdir()):
        content = link.resolve()
        if re.fullmatch(r"[0-9a-f]{64}", content.name):
            right = sha256(content) == content.name
        elif re.fullmatch(r"[0-9a-f]{40}", content.name):
            right = _git_object(content) == content.name
        else:
            # A file system without symbolic links: only the recorded digests protect.
            continue
        if not right:
            link.unlink()
            content.unlink()
            raise BadInput(
                f"{link.name} of {folder.name} is not what the hub says it is (checksum "
                f"{content.name[:12]}…) and was removed; run the same command again."
            )


def _git_object(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}


def _check_against_ledger(folder: Path, ledger: Path) -> None:
    """Refuse files that differ from, or are missing since, the first download."""
    before: dict[str, Any] = json_object(ledger)
    now = _digests(folder)
    absent = sorted(set(before) - set(now))
    if absent:
        raise BadInput(
            f"{folder} lacks {', '.join(absent)} of the first download; connect and run again."
        )
    changed = sorted(name for name in before if before[name] != now[name])
    if changed:
        raise BadInput(
            f"{', '.join(changed)} in {folder} differs from the first download of this revision; "
            f"delete {ledger} if you trust the new content."
        )


def _check_has_none(repository: str, revision: str) -> None:
    """A snapshot without weights is one only where the hub lists none. Raises BadInput."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    name = f"{repository}@{revision}"
    try:
        listed = HfApi().list_repo_files(repository, revision=revision)
    except (OSError, HfHubHTTPError.__bases__[0]) as error:
        raise BadInput(
            f"The local cache holds no weights of {name} and the hub cannot be asked "
            f"({type(error).__name__}); connect once, or give a snapshot folder."
        ) from error
    top = [file for file in listed if "/" not in file]
    if any(file.endswith(".safetensors") for file in top):
        raise BadInput(f"The download of {name} is incomplete; run the same command again.")
    pickled = [file for file in top if file.endswith((".bin", ".pt", ".pth", ".ckpt"))]
    if pickled:
        raise BadInput(
            f"{name} has pickled weights only ({pickled[0]}), which run code when loaded; "
            "choose a revision with safetensors."
        )
