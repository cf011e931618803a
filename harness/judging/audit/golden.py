"""An audit kept as the training's own golden, and what has moved since.

A later audit is held to what was kept: values that are exact exactly, measured ones within their
tolerance, seconds not at all. That is beside its truths: a training may be right and have moved.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from harness.errors import BadInput
from harness.judging.audit.judge import AuditJudgement, Judged, Standing
from harness.records.audit import Audit, Relation
from harness.records.seals import read_sealed, sealed
from harness.records.sets import alone_with, write_set
from harness.records.typed import Json, build

# History: 1 (2026-11) first format.
GOLDEN_SCHEMA = 1
# Units of what a clock tells; no two runs agree in them.
CLOCKED = frozenset({"s", "1/s", "share of time"})
# A measured number without a tolerance of its own: float32 rounds at 6e-8, sums of thousands of
# terms in another order at 1e-5, and a step of AdamW carries that on; half precision rounds at
# 2^-8, and a GPU's kernels add in no fixed order.
CPU_SHARE, GPU_SHARE = 1e-3, 2.0**-6
_MEND = "remove it and keep the audit again"


class Move(StrEnum):
    """How a check stands to what was kept."""

    MOVED = "moved"
    GONE = "gone"
    NEW = "new"


@dataclass(frozen=True)
class KeptCheck:
    """What is kept of a check. value, truth: as measured. standing: as judged then."""

    value: Json
    truth: Json
    standing: str
    relation: str
    tolerance: float
    unit: str


@dataclass(frozen=True)
class Reason:
    """Why an audit was kept. created: ISO 8601."""

    created: str
    text: str


@dataclass(frozen=True)
class AuditGolden:
    """A kept audit. conditions: what decides whether another one can be compared with it.
    digest: of the user's file then; versions: of the libraries; both may differ, and are said.
    reasons: of every time that it was kept, the first one first."""

    training: str
    digest: str
    versions: Mapping[str, str]
    conditions: Mapping[str, Json]
    checks: Mapping[str, KeptCheck]
    reasons: tuple[Reason, ...]
    schema: int = GOLDEN_SCHEMA


@dataclass(frozen=True)
class Moved:
    """A check that is not what it was. was, is_now: values, None of one that is not there."""

    finding: str
    move: Move
    was: Json = None
    is_now: Json = None


@dataclass(frozen=True)
class GoldenJudgement:
    """An audit against what was kept. apart: conditions that differ, so that nothing was compared.
    changed: what else differs and may be why: the file, releases."""

    path: Path
    moved: tuple[Moved, ...] = ()
    compared: int = 0
    apart: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 where something moved or is gone, 3 where nothing could be compared, else 0."""
        if any(moved.move is not Move.NEW for moved in self.moved):
            return 1
        return 3 if self.apart or not self.compared else 0


def golden_path(training: Path, function: str, folder: Path | None) -> Path:
    """`golden/audits/<name>.json` beside the user's file, or in the folder that was named."""
    name = f"{training.stem}.{function}" if function else training.stem
    return (folder or training.parent / "golden" / "audits") / f"{name}.json"


def conditions_of(audit: Audit) -> dict[str, Json]:
    """What an audit's numbers hold for: device, steps, and what it was opened as."""
    opened = audit.opened
    return {
        "device": opened.device.split(":")[0],
        "model": opened.model,
        "trainer": opened.trainer,
        "steps": audit.steps,
    }


def kept(audit: Audit, judgement: AuditJudgement, reasons: tuple[Reason, ...]) -> AuditGolden:
    """The audit as it is kept. Raises BadInput where a rung of it is missing."""
    if judgement.missing:
        raise BadInput(
            f"The audit is not kept: {', '.join(judgement.missing)} has no result; audit again."
        )
    return AuditGolden(
        training=Path(audit.training).name,
        digest=audit.digest,
        versions=dict(audit.opened.versions),
        conditions=conditions_of(audit),
        checks={i.check.finding_id: _kept(i) for i in judgement.items if _is_kept(i)},
        reasons=reasons,
    )


def _is_kept(item: Judged) -> bool:
    return item.check.unit not in CLOCKED


def _kept(item: Judged) -> KeptCheck:
    check = item.check
    return KeptCheck(
        check.value,
        check.truth,
        item.standing.value,
        check.relation.value,
        check.tolerance,
        check.unit,
    )


def keep(audit: Audit, judgement: AuditJudgement, path: Path, reason: str) -> Path:
    """Write the audit's golden, sealed, with the reasons of those that it replaces.

    Raises BadInput where there is one and no reason is given, where a rung is missing, or while
    another process is keeping one there.
    """
    with alone_with(path.parent):
        before: tuple[Reason, ...] = ()
        if path.is_file():
            if not reason:
                raise already_kept(path)
            before = read(path).reasons
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        document = kept(audit, judgement, (*before, Reason(now, reason or "first kept")))
        write_set(path.parent, {path.name: sealed(asdict(document))})
    return path


def already_kept(path: Path) -> BadInput:
    """What is said to who gives no reason."""
    return BadInput(f"{path} is kept already; say why it changes with --reason TEXT.")


def read(path: Path) -> AuditGolden:
    """A kept audit. Raises BadInput naming it, Damaged where it is not as it was written."""
    raw = read_sealed(path, _MEND)
    if raw.get("schema") != GOLDEN_SCHEMA:
        raise BadInput(f"{path} has golden schema {raw.get('schema')!r}; {_MEND}.")
    try:
        golden: AuditGolden = build(AuditGolden, raw)
    except ValueError as error:
        raise BadInput(f"{path} is not a whole golden ({error}); {_MEND}.") from error
    return golden


def compare(audit: Audit, judgement: AuditJudgement, path: Path) -> GoldenJudgement:
    """The audit against its golden. Raises as `read`."""
    golden = read(path)
    now = conditions_of(audit)
    names = sorted({*golden.conditions, *now})
    apart = tuple(
        f"{name} was {golden.conditions.get(name)}, is {now.get(name)}"
        for name in names
        if golden.conditions.get(name) != now.get(name)
    )
    changed = tuple(_changed(golden, audit))
    if apart:
        return GoldenJudgement(path, apart=apart, changed=changed)
    share = CPU_SHARE if now["device"] == "cpu" else GPU_SHARE
    items = {i.check.finding_id: _kept(i) for i in judgement.items if _is_kept(i)}
    moved = [
        Moved(name, Move.MOVED, was.value, items[name].value)
        for name, was in golden.checks.items()
        if name in items and not _is_same(was, items[name], share)
    ]
    gone = [Moved(n, Move.GONE, w.value) for n, w in golden.checks.items() if n not in items]
    new = [Moved(n, Move.NEW, None, i.value) for n, i in items.items() if n not in golden.checks]
    both = len(golden.checks) - len(gone)
    return GoldenJudgement(path, (*moved, *gone, *new), both, changed=changed)


def _changed(golden: AuditGolden, audit: Audit) -> list[str]:
    """The user's file and the releases, where they are others."""
    lines = [] if golden.digest == audit.digest else [f"{golden.training} was edited"]
    now = audit.opened.versions
    return lines + [
        f"{name} {golden.versions.get(name, 'absent')} → {now.get(name, 'absent')}"
        for name in sorted({*golden.versions, *now})
        if golden.versions.get(name) != now.get(name)
    ]


def _is_same(was: KeptCheck, now: KeptCheck, share: float) -> bool:
    """Whether a check is what it was: its standing, and its value within what it may differ.

    One that has a bound only is the same while it stands the same: below it, noise is free. One
    that must equal its truth may lie on either side of it. What broke or was not judged has no
    value.
    """
    if was.standing != now.standing:
        return False
    if was.standing in {Standing.BROKEN, Standing.NOT_JUDGED}:
        return True
    if now.relation in {Relation.AT_MOST, Relation.AT_LEAST}:
        return True
    judged = now.relation != Relation.RECORDED
    tolerance = 2 * max(was.tolerance, now.tolerance) if judged else 0.0
    if judged and not _near(was.truth, now.truth, tolerance, share):
        return False
    return _near(was.value, now.value, tolerance, share)


def _near(one: Json, other: Json, tolerance: float, share: float) -> bool:
    """Equal; of numbers with a fraction within the tolerance or the share of the larger."""
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_near(a, b, tolerance, share) for a, b in pairs)
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(
            _near(one[name], other[name], tolerance, share) for name in one
        )
    if isinstance(one, float) or isinstance(other, float):
        if not isinstance(one, int | float) or not isinstance(other, int | float):
            return False
        return abs(one - other) <= max(tolerance, share * max(abs(one), abs(other)))
    return one == other
