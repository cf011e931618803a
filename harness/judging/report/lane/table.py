"""golden/lane/README.md, from the records beside it: `harness lane table [--write]`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import BadInput
from harness.judging.environments.stack import locked
from harness.judging.report.lane import contest, frontier, roofline, whole
from harness.judging.report.lane.alone import (
    AUDITED,
    LANE,
    alone,
    audited,
    broken,
    gigabytes,
    ladders,
    lane_once,
    memory,
    reference,
    several,
    trainer,
)
from harness.judging.report.lane.published import (
    FOLDER,
    MEMORY_TOKENS,
    PACKAGES,
    RECIPE_SAMPLES,
    REFERENCE,
    SPEED_TOKENS,
    Pair,
    fastest,
    leanest,
    not_run,
    pairs,
    read,
    unmeasured,
)

PATH = FOLDER / "README.md"
SHOWN = "golden/lane/README.md"
HEAD = """# What a training step costs on a GPU

Written by `harness lane table --write` from the records in this folder; a test keeps it so.
"""
WIDTH = 100
# What the fastest and the leanest were meant to reach (ratio, share of the matmul rate, share of
# the recipe's peak).
WANTED_SPEED, WANTED_MFU, WANTED_MEMORY = 1.5, 0.45, 0.5
# Cases whose own lines name the libraries that they ran with.
OWN_LIBRARIES = (
    *("ladder", "several", contest.CASE, contest.PROBE, whole.CASE, roofline.CASE, roofline.ALONE),
    LANE,
    AUDITED,
)
Records = Mapping[str, Mapping[str, Any]]


def _safety(pair: Pair) -> str:
    if pair.grouped:
        return "no: other batches"
    return "yes" if pair.safe else "**no**"


def row(pair: Pair) -> str:
    """One line of the table."""
    return (
        f"| `{pair.name}`: {pair.what} | {pair.tokens} | {pair.samples} | "
        f"{pair.ratio:.2f} ({pair.low:.2f}–{pair.high:.2f}) | {pair.loss_gap:.1e} | "
        f"{pair.cosine:.5f} | {gigabytes(pair.peaks[0])} → {gigabytes(pair.peaks[1])} | "
        f"{pair.mfu:.3f} | {_safety(pair)} |"
    )


def table(measured: Sequence[Pair]) -> str:
    """Variants by length, the fastest first."""
    head = (
        "| variant | tokens | samples a step | times the lane's `recipe` (95 %) | loss gap "
        "| cosine | peak GB | MFU | safe |"
    )
    return "\n".join([head, "|---|---|---|---|---|---|---|---|---|", *map(row, measured)])


def superseded(measured: Sequence[Pair]) -> str:
    """What an earlier code of a variant gave, and why it no longer counts."""
    lines = [
        f"- `{p.name}` at {p.tokens} tokens, {p.superseded}: {p.ratio:.2f} "
        f"({p.low:.2f}–{p.high:.2f}), loss gap {p.loss_gap:.1e}, "
        f"{'safe' if p.safe else '**not safe**'}."
        for p in measured
    ]
    return "\n".join(["Superseded:", "", *lines]) if lines else ""


def reached(value: float, wanted: float, *, low: bool = False) -> str:
    """Whether a target was met, said plainly."""
    good = value <= wanted if low else value >= wanted
    return "reached" if good else "**not reached**"


def winners(measured: Sequence[Pair]) -> str:
    """The fastest and the leanest safe combination with both numbers."""
    quick, lean = fastest(measured), leanest(measured)
    lines = []
    if quick is not None:
        lines.append(
            f"- Fastest safe combination at {SPEED_TOKENS} tokens: `{quick.name}`, "
            f"{quick.ratio:.2f}× the recipe's speed (wanted {WANTED_SPEED}×: "
            f"{reached(quick.ratio, WANTED_SPEED)}) at {quick.memory:.2f} of its peak; MFU "
            f"{quick.mfu:.3f} (wanted {WANTED_MFU}: {reached(quick.mfu, WANTED_MFU)})."
        )
    if lean is not None:
        lines.append(
            f"- Leanest safe combination at {MEMORY_TOKENS} tokens: `{lean.name}`, "
            f"{lean.memory:.2f} of the recipe's peak (wanted {WANTED_MEMORY}: "
            f"{reached(lean.memory, WANTED_MEMORY, low=True)}) at {lean.ratio:.2f}× its speed."
        )
        # The smallest peak may cost speed; then the best that costs none belongs beside it.
        free = [
            p
            for p in measured
            if p.safe
            and not p.superseded
            and p.tokens == MEMORY_TOKENS
            and p.low >= 1
            and p.memory < 1
        ]
        cheap = min(free, key=lambda p: p.peaks[1], default=None)
        if cheap is not None and cheap.name != lean.name:
            lines.append(
                f"- Leanest that is no slower: `{cheap.name}`, {cheap.memory:.2f} of the recipe's "
                f"peak at {cheap.ratio:.2f}× its speed."
            )
    return "\n".join(lines)


def provenance(records: Records) -> str:
    """Date, device, versions: which are the reference's, which substituted."""
    # These name their own libraries, and so does the line on the reference's.
    lane = [
        raw
        for name, raw in records.items()
        if raw["case"] not in OWN_LIBRARIES and not name.startswith(f"{REFERENCE}/")
    ]
    one = lane[0]
    for raw in lane:
        if raw["versions"] != one["versions"] or raw["device_key"] != one["device_key"]:
            raise BadInput(
                f"{raw['case']}-{raw['tokens']} was measured with other versions or elsewhere "
                f"than {one['case']}-{one['tokens']}; keep each machine's files in its own folder."
            )
    days = sorted({str(raw["created"])[:10] for raw in lane})
    commits = sorted({str(raw["commit"])[:12] for raw in lane})
    pins = locked("reference")
    kept = [n for n in PACKAGES if one["versions"].get(n) == pins[n]]
    moved = [
        f"{n} {one['versions'].get(n, 'absent')} (reference {pins[n]})"
        for n in PACKAGES
        if n not in kept
    ]
    return (
        f"Measured {' and '.join(days)} on `{one['device_key']}`, {one['platform']}, Python "
        f"{one['python']}, model `random-7b` (the 7B's shapes, random values), commits "
        f"{', '.join(commits)}, on the machine's own torch. Substituted: {'; '.join(moved)}. "
        f"The reference's own: {', '.join(kept) or 'none'}."
    )


def missing(records: Records) -> str:
    """One sentence on everything that was run on none of the devices; empty if there is nothing."""
    left = [
        f"at {tokens} tokens {', '.join(f'`{name}`' for name in names)}"
        for tokens, names in not_run(records).items()
    ]
    lacks = [*unmeasured(records), *left]
    return f"*Not run* on any device: {'; '.join(lacks)}." if lacks else ""


def wrapped(part: str) -> str:
    """Sentences and list items at the README's width; a table as it is."""
    if part.startswith("|"):
        return part
    return "\n".join(
        textwrap.fill(
            line,
            WIDTH,
            break_long_words=False,
            break_on_hyphens=False,
            subsequent_indent="  " if line.startswith("- ") else "",
        )
        for line in part.split("\n")
    )


def section(device: str) -> str:
    """Everything between the markers for one device's folder. Raises BadInput without one."""
    records = read(FOLDER / device)
    measured = pairs(records)
    now, old = ([p for p in measured if bool(p.superseded) is past] for past in (False, True))
    short = sorted({p.samples for p in now if p.samples != RECIPE_SAMPLES})
    note = (
        "Interleaved ABBA pairs in one process, dropout off; the interval is a bootstrap of the "
        "median ratio. *Safe*: every step's loss within 1e-3 and LoRA's cosine at least 0.999 "
        "after all steps (`recipe_again` is what noise alone does). MFU counts work that the "
        "variant must do. The recipe's side here keeps embeddings and head in float32 and sends a "
        "gradient through the tower, as no library does: it is the variants' common partner, no "
        "fair denominator. A cached vision tower is measured warm: it pays from the second epoch "
        "on."
    )
    if short:
        note += (
            f" Steps were shorter than the recipe's {RECIPE_SAMPLES} samples "
            f"({', '.join(map(str, short))}: micro-batches of 4, less accumulation)."
        )
    parts = (
        *whole.sections(records),
        frontier.overview(records),
        *contest.sections(records),
        provenance(records),
        winners(now),
        alone(records),
        reference(records),
        trainer(records),
        several(records),
        memory(records),
        broken(records),
        ladders(records),
        lane_once(records),
        audited(records),
        table(now) if now else "",
        note if now else "",
        superseded(old),
    )
    return "\n\n".join(wrapped(part) for part in parts if part)


def document() -> str:
    """The sections of all devices, and what none has measured."""
    folders = sorted(path for path in FOLDER.iterdir() if path.is_dir())
    everything = {name: raw for folder in folders for name, raw in read(folder).items()}
    parts = [*(section(folder.name) for folder in folders), wrapped(missing(everything))]
    return "\n\n".join(part for part in parts if part)


def page() -> str:
    """The whole file golden/lane/README.md."""
    return f"{HEAD}\n{document()}\n"
