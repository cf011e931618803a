"""Download a pinned revision with huggingface_hub, and make sure it is what it says it is.

Measuring world: huggingface_hub lives in the stack's environment (0.25 to 2.4).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from harness.errors import BadInput, OutOfSpace
from harness.record import read_json, write_json
from harness.stack import cache_root

# No pickles, no code: only what the harness and the libraries read.
PATTERNS = ["*.safetensors", "*.json", "*.txt"]


def download(repository: str, revision: str) -> Path:
    """The local snapshot folder of `repository` at the commit `revision`.

    Interrupted downloads resume (the library's own behaviour). File digests are recorded at the
    first download; files that differ from them later are refused. Raises BadInput or OutOfSpace
    in one sentence.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.utils import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = f"{repository}@{revision}"
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=PATTERNS))
    except GatedRepoError as error:
        raise BadInput(f"{repository} is gated; accept its terms and log in to the hub.") from error
    except RevisionNotFoundError as error:
        raise BadInput(f"{repository} has no revision {revision}; check the 40 digits.") from error
    except RepositoryNotFoundError as error:
        raise BadInput(
            f"The hub has no model {repository}, or it is private; check the name or log in."
        ) from error
    except LocalEntryNotFoundError as error:
        raise BadInput(
            f"{name} is not in the local cache and the hub cannot be reached; "
            "connect once, or give a snapshot folder."
        ) from error
    except HfHubHTTPError as error:
        raise BadInput(
            f"The hub refused {name} ({_first_line(error)}); try again later."
        ) from error
    except OSError as error:
        if error.errno in {28, 122}:
            raise OutOfSpace(f"No room left on the disk for {name}; free some space.") from error
        # Consistency errors (size or checksum of a file) and broken connections are OSErrors.
        raise BadInput(
            f"Downloading {name} failed ({_first_line(error)}); run the same command again, "
            "it goes on where it stopped."
        ) from error
    _same_as_before(folder, repository, revision)
    return folder


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _same_as_before(folder: Path, repository: str, revision: str) -> None:
    """Record every file's SHA-256 once, compare ever after. Raises BadInput on a difference."""
    ledger = cache_root() / "digests" / f"{repository.replace('/', '--')}@{revision}.json"
    now = {p.name: _sha256(p) for p in sorted(folder.iterdir()) if p.is_file()}
    if not ledger.is_file():
        write_json(ledger, now)
        return
    before = read_json(ledger)
    changed = sorted(name for name in before if name in now and before[name] != now[name])
    if changed:
        raise BadInput(
            f"{changed[0]} of {repository}@{revision} differs from the first download; "
            f"delete {folder} and {ledger} if you trust the new content."
        )
    if set(now) - set(before):
        write_json(ledger, {**before, **now})


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
