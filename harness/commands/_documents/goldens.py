"""What `harness golden` prints."""

from __future__ import annotations

from dataclasses import dataclass

from harness.commands._documents import FIRST, JUDGED
from harness.commands._documents.verdict import Verdict
from harness.judging.goldens.listing import Listed, Stray


@dataclass(frozen=True, kw_only=True)
class Checked(Verdict):
    """`harness golden check`."""

    schema: int = JUDGED


@dataclass(frozen=True)
class GoldensListed:
    """`harness golden list`."""

    goldens: tuple[Listed, ...]
    stray: tuple[Stray, ...]
    schema: int = FIRST


@dataclass(frozen=True)
class GoldensWritten:
    """`harness golden update` and `calibrate`. written: paths."""

    written: tuple[str, ...]
    schema: int = FIRST
