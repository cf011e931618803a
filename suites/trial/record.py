"""What came of every fault and change: golden/power/trial.json, sealed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from harness.records.folders import GOLDEN
from harness.records.seals import read_sealed, write_sealed
from harness.records.trial import AFTER, MEND, TRIAL_SCHEMA
from harness.records.typed import build

PATH = GOLDEN / "power" / "trial.json"
PLANTED, WHEEL = "planted", "wheel"
BEFORE = "before"
MOST_HEADINGS = 3
# The commit whose harness/ is tried now: what was chosen for an earlier one is known.
ROUND = "feb68d7"


@dataclass(frozen=True)
class Tried:
    """One fault or change.

    kind: planted in the process, in a library's wheel, or a library's own release. half: whether it
    was chosen before or after the code was frozen. frozen: of the latter, the commit whose harness/
    judged it; later code has seen it and tries it again as one that is known.
    stack: NEW's, of a release OLD's too.
    says: the line of the source or what is planted; source: where it stands. expected: its rung.
    found: the first rung that was called wrong by the goldens and was right without it, of a
    release the first with a difference that no entry of the register explains, or, of those that
    were chosen whether it knows them or not, that is the change's own; '' where none was.
    moved: the first rung that differs from the same measurement without it. metrics: of `found`,
    some of what was found there. headings: on the front page; headings_frozen: by the frozen code,
    which put less together. lost: rungs that could not be measured.
    """

    kind: str
    half: str
    name: str
    library: str
    stack: str
    says: str
    source: str
    expected: str
    found: str
    moved: str
    metrics: tuple[str, ...]
    headings: int
    headings_frozen: int
    rungs: tuple[str, ...]
    lost: tuple[str, ...] = ()
    frozen: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """No other has it."""
        return self.kind, self.frozen, self.stack, f"{self.expected}: {self.name}"

    @property
    def at_own(self) -> bool:
        """Found where it belongs."""
        return self.found == self.expected


@dataclass(frozen=True)
class Trial:
    """All of them."""

    device_key: str
    tried: tuple[Tried, ...]
    schema: int = TRIAL_SCHEMA


def read() -> Trial:
    """As it is kept."""
    return build(Trial, read_sealed(PATH, MEND))


def merged(old: Sequence[Tried], new: Iterable[Tried]) -> tuple[Tried, ...]:
    """One of each, the newer; of the half that was chosen for frozen code, what that made of it
    stays, and only the headings are today's."""
    kept = {one.key: one for one in old}
    for one in new:
        was = kept.get(one.key, one)
        if one.half == AFTER:
            kept[one.key] = replace(was, headings=one.headings)
        else:
            kept[one.key] = replace(one, headings_frozen=was.headings_frozen)
    return tuple(kept.values())


def write(trial: Trial) -> None:
    """Sealed, in the order of the ladder's kinds and names."""
    ordered = sorted(trial.tried, key=lambda one: (one.half != BEFORE, one.key))
    write_sealed(PATH, asdict(Trial(trial.device_key, tuple(ordered))))
