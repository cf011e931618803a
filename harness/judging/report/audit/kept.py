"""What has moved since an audit was kept, on the terminal and as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from harness.judging.audit.advice import shown
from harness.judging.audit.golden import GoldenJudgement, Move, Moved

# Lines of new checks that are named; the rest is counted.
_MOST_NEW = 5


def golden_lines(judgement: GoldenJudgement) -> list[str]:
    """The first says how it stands, each further one what moved and what may be why."""
    if judgement.apart:
        return [f"not comparable with {judgement.path}: {'; '.join(judgement.apart)}"]
    moved = [m for m in judgement.moved if m.move is not Move.NEW]
    new = [m.finding for m in judgement.moved if m.move is Move.NEW]
    count = f"{judgement.compared} checks"
    if not moved:
        lines = [f"as kept in {judgement.path}: {count}"]
    else:
        lines = [f"{len(moved)} of {count} moved since {judgement.path} was kept"]
        lines += [f"  ≠ {_line(m)}" for m in moved]
        lines += [f"  changed: {text}" for text in judgement.changed]
    if new:
        rest = f" and {len(new) - _MOST_NEW} more" if len(new) > _MOST_NEW else ""
        lines.append(f"  new since then: {', '.join(new[:_MOST_NEW])}{rest}")
    return lines


def _line(moved: Moved) -> str:
    if moved.move is Move.GONE:
        return f"{moved.finding} was {shown(moved.was, '1')}, is not measured any more"
    return f"{moved.finding} was {shown(moved.was, '1')}, is {shown(moved.is_now, '1')}"


def print_golden(judgement: GoldenJudgement, console: Console) -> None:
    """Print it below an audit."""
    console.print()
    for line in golden_lines(judgement):
        console.print(line, soft_wrap=True)


@dataclass(frozen=True)
class SinceKept:
    """A golden judgement as a document has it: its own fields and its exit code."""

    path: str
    compared: int
    exit_code: int
    apart: tuple[str, ...]
    changed: tuple[str, ...]
    moved: tuple[Moved, ...]


def since_kept(judgement: GoldenJudgement) -> SinceKept:
    """What `--json` says of it."""
    return SinceKept(
        str(judgement.path),
        judgement.compared,
        judgement.exit_code,
        judgement.apart,
        judgement.changed,
        judgement.moved,
    )
