"""A bisect's answer: frozen types with a versioned JSON form, `bisect.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.judging.bisect.question import Kind
from harness.judging.bisect.search import Answer, Outcome
from harness.judging.goldens.golden import Band
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import Json, build

# History: 1 (2026-11) first format. 2 (2026-11) an edge's cause is one of three words with a note
# beside it, an evaluated release says its `reason`, every answer names its package and every field
# is there. 3 (2026-11) sealed.
BISECT_SCHEMA = 3
READ = (2, BISECT_SCHEMA)
BISECT = "bisect.json"


class Cause(StrEnum):
    """What made the difference at a boundary: the package's own release, what moved with it, or
    neither is established."""

    PACKAGE = "package"
    COMPANIONS = "companions"
    OPEN = "not established"


@dataclass(frozen=True)
class Shown:
    """What a release shows: State without a tensor's data."""

    kind: Kind
    value: Json = None
    reason: str = ""


@dataclass(frozen=True)
class Edge:
    """Where a finding's answer changes: from release `before` to release `after` of `package`.

    skipped: why the releases between could not be decided. companions: versions before and after
    of what moved with it, '' where absent. requirements: what each side was measured with.
    """

    package: str
    before: str
    after: str
    old: Answer
    new: Answer
    skipped: Mapping[str, str]
    shows: tuple[Shown, Shown]
    companions: Mapping[str, tuple[str, str]]
    cause: Cause
    cause_note: str
    requirements: tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Responsible:
    """Which packages make a finding's difference between two stacks.

    causes: the smallest sets that do, each by itself. undecided: why sets could not be tried.
    through: packages that only took a cause along, by name that cause. problem: why there is none.
    """

    causes: tuple[tuple[str, ...], ...] = ()
    interaction: bool = False
    undecided: Mapping[str, str] = field(default_factory=dict)
    through: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def is_open(self) -> bool:
        """Whether another cause may hide where nothing could be tried."""
        return bool(self.problem or self.undecided)


@dataclass(frozen=True)
class FindingAnswer:
    """What is known of one finding.

    package: whose releases were searched. evaluated: by release. assumed: first and last of
    stretches that were not looked into. repeated: whether both sides of every change were measured
    twice. problem: why there is no boundary, in words.
    """

    package: str
    boundaries: tuple[Edge, ...] = ()
    evaluated: Mapping[str, Outcome] = field(default_factory=dict)
    assumed: tuple[tuple[str, str], ...] = ()
    by_verdict: bool = False
    band: Band | None = None
    monotonic: bool = True
    exact: bool = False
    repeated: bool = False
    problem: str = ""
    blame: Responsible | None = None


@dataclass(frozen=True)
class Bisection:
    """The whole answer.

    good, bad: the ends, two releases or two stacks. from_compare: the folder of the comparison, ''
    without one. wheels: the folder of wheels, ''. options: the words that make `harness probe`
    measure the same. environments: how many were built, for_companions of them only for what moves
    with a release. seconds: of the whole bisect.
    """

    package: str
    good: str
    bad: str
    base: str
    findings: Mapping[str, FindingAnswer]
    options: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    from_compare: str = ""
    wheels: str = ""
    environments: int = 0
    for_companions: int = 0
    seconds: float = 0.0
    schema: int = BISECT_SCHEMA

    @property
    def exit_code(self) -> int:
        """0 every finding has its release exactly, 3 where some could not be decided."""
        return 0 if all(answer.exact for answer in self.findings.values()) else 3


def to_json(bisection: Bisection) -> dict[str, Any]:
    """The document of `bisect.json`: the type's own fields, findings by id."""
    return asdict(bisection)


def write_bisection(bisection: Bisection, folder: Path) -> None:
    """Write `bisect.json`, sealed."""
    write_sealed(folder / BISECT, to_json(bisection))


def read_bisection(folder: Path) -> Bisection:
    """Read `bisect.json` back. Raises BadInput naming the file: another schema, or not complete;
    Damaged where it is not as it was written."""
    path = folder / BISECT
    raw = read_sealed(path, "bisect again", unsealed_schemas=READ[:1])
    if raw.get("schema") not in READ:
        raise BadInput(f"{path} has schema {raw.get('schema')!r}; bisect again.")
    try:
        return build(Bisection, raw)
    except ValueError as error:
        raise BadInput(f"{path} is not a complete bisect ({error}); bisect again.") from error
