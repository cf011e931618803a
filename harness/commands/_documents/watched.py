"""What `harness watch` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.commands._documents import FIRST
from harness.judging.environments.newest import Held, Moved


@dataclass(frozen=True)
class LockWatched:
    """`harness watch`. moved, held: what the index has. broken_by: by import that only the newest
    lock breaks its releases, or why none is named. report: the comparison's folder, '' without
    one."""

    headline: str
    exit_code: int
    moved: tuple[Moved, ...]
    held: tuple[Held, ...]
    broken_by: Mapping[str, str] = field(default_factory=dict)
    report: str = ""
    schema: int = FIRST
