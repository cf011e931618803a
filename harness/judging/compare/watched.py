"""What a watch remembers from one night to the next: the last lock that was judged good."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.errors import BadInput
from harness.judging.compare.comparison import Comparison
from harness.judging.environments.newest import committed_lock
from harness.records.alone import LOCK_S
from harness.records.files import text_digest
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import build

# History: 1 (2026-11) first format.
WATCHED_SCHEMA = 1
MEND = "remove it, and the next watch begins from the committed lock"


@dataclass(frozen=True)
class Look:
    """One comparison of a lock with the good one. lock: its digest. day: ISO 8601, UTC. report: the
    folder of the comparison."""

    lock: str
    day: str
    exit_code: int
    headline: str
    report: str


@dataclass(frozen=True)
class Watched:
    """good: the text of the last known good lock. since: when it was judged, '' for the committed
    one. last: the last comparison, None where none was needed yet."""

    good: str
    since: str = ""
    last: Look | None = None
    schema: int = WATCHED_SCHEMA


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """One watch at a time has a state. Raises BadInput while another one does, or where the lock
    beside the state cannot be written."""
    from filelock import FileLock, Timeout

    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=LOCK_S):
            yield
    except Timeout as error:
        raise BadInput(
            f"Another watch has {path}; wait for it, or give another --state."
        ) from error


def read_watched(path: Path) -> Watched:
    """What the last watch left; where there is none yet, the committed lock of `latest` is good.

    Raises BadInput naming a file that is none of this, Damaged where it is not as it was written.
    """
    if not path.exists():
        return Watched(committed_lock())
    raw = read_sealed(path, MEND)
    if raw.get("schema") != WATCHED_SCHEMA:
        raise BadInput(f"{path} has watch schema {raw.get('schema')!r}; {MEND}.")
    try:
        return build(Watched, raw)
    except ValueError as error:
        raise BadInput(f"{path} is no whole state of a watch ({error}); {MEND}.") from error


def write_watched(watched: Watched, path: Path) -> None:
    """Write it in one step, sealed: a killed watch leaves what was there before."""
    write_sealed(path, asdict(watched))


def news(comparison: Comparison) -> Comparison:
    """What a comparison says of the newest lock: without what is broken on both, as the recipe's
    own calls are since years, and with names that a reader knows."""
    pairs = tuple(pair for pair in comparison.pairs if pair.broken != "both")
    return replace(comparison, pairs=pairs, old="last good lock", new="newest lock", given=("", ""))


def after(before: Watched, lock: str, exit_code: int, headline: str, report: Path) -> Watched:
    """The state after a comparison: a lock that nothing speaks against is the good one now."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    look = Look(text_digest(lock), now, exit_code, headline, str(report))
    if exit_code == 0:
        return Watched(lock, now, look)
    return replace(before, last=look)
