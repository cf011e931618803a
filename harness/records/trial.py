"""Faults and changes of libraries that were chosen for frozen code: golden/power/trial.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput
from harness.records.folders import GOLDEN
from harness.records.seals import read_sealed
from harness.records.typed import Rules, build

# History: 1 (2026-11) first format. 2 (2026-11) each says which code it was chosen for.
TRIAL_SCHEMA = 2
MEND = "try again with `python -m suites.trial`"
RELEASE = "release"
AFTER = "after"


@dataclass(frozen=True)
class Outcome:
    """Of one fault or change: its kind, the half that it was chosen in, the stack it was tried on,
    the rung where it belongs and the one that called it, '' where none did."""

    kind: str
    half: str
    stack: str
    expected: str
    found: str


@dataclass(frozen=True)
class Trial:
    """All of them, of every round; the newest code has seen what was chosen for an earlier one."""

    tried: tuple[Outcome, ...]
    schema: int

    def stacks(self) -> list[str]:
        """Those that faults were planted on unseen."""
        return sorted({o.stack for o in self.tried if o.half == AFTER and o.kind != RELEASE})

    def share(self, *, releases: bool) -> tuple[int, int, int]:
        """Of the faults planted unseen, or of the libraries' own changes: how many were found at
        their own rung, how many at any, and of how many."""
        unseen = [
            one for one in self.tried if one.half == AFTER and (one.kind == RELEASE) is releases
        ]
        own = sum(one.found == one.expected for one in unseen)
        return own, sum(bool(one.found) for one in unseen), len(unseen)


def read_trial(root: Path = GOLDEN) -> Trial | None:
    """As it is kept; None where none is. Raises BadInput where it is malformed, Damaged where it
    was edited."""
    path = root / "power" / "trial.json"
    if not path.is_file():
        return None
    raw = read_sealed(path, MEND)
    if raw.get("schema") != TRIAL_SCHEMA:
        raise BadInput(f"{path} is no trial of schema {TRIAL_SCHEMA}; {MEND}.")
    try:
        return build(Trial, raw, Rules(more=True))
    except ValueError as error:
        raise BadInput(f"{path} is malformed: {error}; {MEND}.") from error
