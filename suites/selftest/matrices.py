"""A matrix as large as a real one, without any measurement."""

from __future__ import annotations

from harness.judging.matrix.kept import State
from harness.judging.matrix.table import CellEntry, Moved, Table, Wrong
from harness.records.record import Verdict

FAMILIES = ("gemma3", "gemma4", "idefics3", "qwen2_5_vl", "qwen2_vl", "qwen3_5", "qwen3_vl")
MINORS = ("4.45.1", "4.46.3", "4.47.1", "4.48.3", "4.49.0", "4.50.3", "4.51.3", "4.52.4")
MINORS += ("4.53.3", "4.54.1", "4.55.4", "4.56.2", "4.57.6", "5.0.0", "5.1.0", "5.2.0", "5.3.0")
MINORS += ("5.5.1", "5.8.1", "5.10.1", "5.12.0", "5.15.2", "5.18.0", "5.20.1", "5.23.0")


def wrong(rung: str, *, known: bool = False, name: str = "positions.left") -> Wrong:
    return Wrong(
        f"{rung}.{name}", rung, Verdict.CHANGED, [0, 1, 2], [0, 0, 1], "", "M-RoPE counts.", known
    )


def moved(rung: str, *changes: str) -> Moved:
    return Moved(
        f"{rung}.plain_loss.none",
        rung,
        Verdict.CHANGED,
        "",
        changes,
        "wrong training" if changes else "unknown",
        1.25,
        1.5,
        red=True,
    )


def entry(stack: str, model: str, number: int, left: str) -> CellEntry:
    """One cell of the matrix: right, wrong, moved or not run, by its number."""
    plain = CellEntry(
        stack,
        f"tiny:{model}",
        "reference",
        "cpu",
        f"{number:016x}",
        State.MEASURED,
        right=120,
        left=left,
        same=400,
        measured="2026-11-29",
        device_key="cpu-x86_64-avx512",
        versions={"transformers": stack.rpartition("==")[2]},
    )
    given = {**vars(plain)}
    if number % 11 == 3:
        given |= {"wrong": (wrong("inputs", known=number % 2 == 0), wrong("forward", name="loss"))}
    if number % 7 == 2 and left:
        changes = ("transformers-counts-positions",) if number % 2 else ()
        given |= {"moved": (moved("forward", *changes), moved("trajectory")), "calls": ("a", "b")}
    if number % 13 == 6:
        given |= {"moved": (), "wrong": (), "right": 0, "state": State.NOT_RUN}
        given |= {"reason": "The family needs transformers>=5.2.0."}
    if number == 40:
        given |= {"state": State.DIED, "reason": "signal 9, 3 times; last line: <b>&", "right": 0}
    return CellEntry(**given)


def matrix(stacks: tuple[str, ...] = MINORS, families: tuple[str, ...] = FAMILIES) -> Table:
    """25 stacks of 7 families."""
    labels = tuple(f"reference,transformers=={version}" for version in stacks)
    cells = tuple(
        entry(label, family, i * len(families) + j, labels[i - 1] if i else "")
        for i, label in enumerate(labels)
        for j, family in enumerate(families)
    )
    return Table(
        stacks=labels,
        models=tuple(f"tiny:{family}" for family in families),
        recipes=("reference",),
        devices=("cpu",),
        rungs=("text", "inputs", "forward", "trajectory"),
        cells=cells,
        harness="0123456789abcdef",
    )
