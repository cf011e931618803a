"""An audit of a user's own training: what was checked, against what, and what a row looks like.

A check holds a value and the truth that it must agree with, both as numbers; it never says
whether they agree (harness.judging.audit does) and holds no sentence for people but the names of
what to look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import BadInput, Lack
from harness.records import seals
from harness.records.beside import Token
from harness.records.failure import Failure
from harness.records.record import RUNGS, How, Status
from harness.records.typed import Json, build, finite

# History: 1 (2026-11) first format.
AUDIT_SCHEMA = 1
# The rungs that an audit walks; the environment and the interface are the user's own.
AUDITED = tuple(rung for rung in RUNGS if rung not in {"environment", "interface", "generation"})


class Basis(StrEnum):
    """Where a truth comes from."""

    ARITHMETIC = "arithmetic"  # of the batch, the model or the settings at hand
    ORACLE = "oracle"  # the family's own, independent of the libraries
    IDENTITY = "identity"  # two computations that must agree
    DECLARED = "declared"  # what the training's own settings say


class Relation(StrEnum):
    """How a value must stand to its truth. RECORDED: shown, not judged."""

    EQUAL = "equal"
    AT_MOST = "at most"
    AT_LEAST = "at least"
    RECORDED = "recorded"


@dataclass(frozen=True)
class Check:
    """One value of a training and what it must be.

    name: snake_case without the rung. case: names one of several. tolerance: absolute, in the
    value's unit; numbers in lists are held to it one by one. evidence: what to look at (rows,
    parameters, tokens), shortened by whoever writes it to at most `MOST_EVIDENCE`. setting: the
    argument of the user's file that decides it, '' where none does. lack, reason: of NOT_RUN.
    """

    rung: str
    name: str
    case: str | None = None
    value: Json = None
    truth: Json = None
    basis: Basis = Basis.ARITHMETIC
    relation: Relation = Relation.EQUAL
    tolerance: float = 0.0
    unit: str = "1"
    how: How = How.MEASURED
    status: Status = Status.OK
    failure: Failure | None = None
    reason: str = ""
    lack: Lack | None = None
    evidence: tuple[str, ...] = ()
    setting: str = ""

    @property
    def metric_id(self) -> str:
        """`<rung>.<name>`: what its advice is filed under."""
        return f"{self.rung}.{self.name}"

    @property
    def finding_id(self) -> str:
        """`<rung>.<name>[.<case>]`."""
        return self.metric_id if self.case is None else f"{self.metric_id}.{self.case}"

    @property
    def is_volatile(self) -> bool:
        """Whether it differs between two runs, or two stacks, by nature: a time, a rate, a share of
        time; a gap that is only shown, which is rounding."""
        if self.unit in {"s", "share of time"} or self.unit.endswith("/s"):
            return True
        return self.relation is Relation.RECORDED and self.name.endswith("_gap")


MOST_EVIDENCE = 12


@dataclass(frozen=True)
class DrawnRow:
    """A training row token by token. row: its number in the captured batches. sample: a few words
    of it. pictures: (width, height) px of those that it was made from."""

    row: int
    sample: str
    tokens: tuple[Token, ...]
    pictures: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class ComponentRow:
    """What of a component trains and how it is stored. parameters, trainable: elements, of 4-bit
    weights those that they stand for. bytes: stored. dtypes, trained_dtypes: elements by dtype;
    4-bit ones as `nf4` or `fp4`. adapted: Linears with an adapter, of linears."""

    component: str
    parameters: int
    trainable: int
    bytes: int
    dtypes: Mapping[str, int]
    trained_dtypes: Mapping[str, int]
    linears: int
    adapted: int


@dataclass(frozen=True)
class RungChecks:
    """What one rung of an audit left. seconds: wall time."""

    rung: str
    checks: tuple[Check, ...]
    seconds: float = 0.0
    rows: tuple[DrawnRow, ...] = ()
    components: tuple[ComponentRow, ...] = ()
    schema: int = AUDIT_SCHEMA


@dataclass(frozen=True)
class Opened:
    """The training as its process found it.

    way: `function`, `intercepted` (Trainer.train), `loop` (an accelerate loop without Trainer) or
    `parts` (model, data, collator and arguments). trainer, model: class names. model_type: of its
    config. family: title of the family whose oracle judges it, '' without one. declared: its
    settings that the checks hold it to, as text by name. changed: what the harness put out of
    action for the audit.
    """

    way: str
    trainer: str
    model: str
    model_type: str
    family: str
    device: str
    rows: int
    declared: Mapping[str, Json]
    changed: tuple[str, ...]
    versions: Mapping[str, str]
    python: str
    platform: str
    seconds: float = 0.0
    schema: int = AUDIT_SCHEMA


@dataclass(frozen=True)
class Audit:
    """A whole audit. source: the user's file, so that its lines can be named later. stack: as
    asked. rungs: those with a result, in ladder order."""

    training: str
    function: str
    digest: str
    source: str
    stack: str
    commit: str
    created: str
    steps: int
    opened: Opened
    rungs: tuple[RungChecks, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    schema: int = AUDIT_SCHEMA

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every check in ladder order."""
        return tuple(check for rung in self.rungs for check in rung.checks)


def audit_folder(out: Path) -> Path:
    """Where an audit's process leaves its files."""
    return out / "work" / "audit"


def rung_path(out: Path, rung: str) -> Path:
    """Where it leaves a rung as soon as it is measured."""
    return audit_folder(out) / f"{rung}.json"


def opened_path(out: Path) -> Path:
    """Where it says what it found in the user's file."""
    return audit_folder(out) / "opened.json"


def audit_path(out: Path) -> Path:
    """The whole audit."""
    return out / "audit.json"


def write_audit(document: Audit | Opened | RungChecks, path: Path) -> Path:
    """Write one of an audit's files atomically, sealed. Raises ValueError on a number that is not
    finite, naming the check."""
    rungs = document.rungs if isinstance(document, Audit) else (document,)
    for rung in rungs:
        for check in rung.checks if isinstance(rung, RungChecks) else ():
            finite(check.value, check.finding_id)
            finite(check.truth, check.finding_id)
    seals.write_sealed(path, asdict(document))
    return path


def read_rung(path: Path) -> RungChecks:
    """One rung's file. Raises BadInput naming it, Damaged where it is not as it was written."""
    return _read(RungChecks, path)


def read_opened(path: Path) -> Opened:
    """What was found in the user's file. Raises as read_rung."""
    return _read(Opened, path)


def read_audit(path: Path) -> Audit:
    """A whole audit. Raises as read_rung."""
    return _read(Audit, path)


def _read(kind: Any, path: Path) -> Any:
    mend = "audit again"
    raw = seals.read_sealed(path, mend)
    if raw.get("schema") != AUDIT_SCHEMA:
        raise BadInput(f"{path} has audit schema {raw.get('schema')!r}; {mend}.")
    try:
        return build(kind, raw)
    except ValueError as error:
        raise BadInput(f"{path} is not a complete audit ({error}); {mend}.") from error
