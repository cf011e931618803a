"""Whether a way computes what the truth computes: a pure function of what was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from harness.records.steps import Alike, Side


@dataclass(frozen=True)
class Bands:
    """loss: relative, every step. norm: relative, every step; norm_middle: of the median over the
    steps, because noise has no direction and a scale has. cosine: smallest over tensors, every
    step; whole: all tensors as one; moved, moved_whole: the same of the weights' way."""

    loss: float
    norm: float
    norm_middle: float
    cosine: float
    whole: float
    moved: float
    moved_whole: float


# Autocast to bfloat16. Two runs of one way on an H200: losses within 9e-4, norms within 7e-3 a step
# and 1.5e-3 in the median (golden/lane, `recipe_again` and the like), so a scale of 0.99 stands
# out. Single tensors: set before any contest was seen. What noise alone does to one tensor is not
# measured; until it is, a way that falls below is not called safe.
AUTOCAST = Bands(1e-3, 1e-2, 3e-3, 0.98, 0.995, 0.98, 0.995)
# float32 on a CPU: only the order of sums differs.
FLOAT32 = Bands(1e-5, 1e-4, 1e-4, 0.9999, 0.99999, 0.999, 0.9999)


@dataclass(frozen=True)
class Failure:
    """One reason why a side is not safe. where: step or tensor; empty for the whole."""

    check: str
    value: str
    wanted: str
    where: str = ""

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.check} {self.value}, wanted {self.wanted}{place}"


def failures(side: Side, truth: Side, bands: Bands = AUTOCAST) -> tuple[Failure, ...]:
    """Every reason why `side` is not a safe way of `truth`'s training; empty where it is safe."""
    return tuple(_failures(side, truth, bands))


def _failures(side: Side, truth: Side, bands: Bands) -> Iterator[Failure]:
    if not side.steps or len(side.gradients) != len(side.steps):
        yield Failure("steps", f"{len(side.gradients)} of {len(side.steps)} seen", "all")
        return
    if len(side.steps) > len(truth.steps):
        yield Failure("steps", str(len(side.steps)), f"at most the truth's {len(truth.steps)}")
        return
    finite = [math.isfinite(s.loss) and math.isfinite(s.norm) for s in side.steps]
    if not all(finite):
        yield Failure("loss or norm", "no number", "finite", f"step {finite.index(False) + 1}")
        return
    yield from _numbers(side, truth, bands)
    for number, alike in enumerate(side.gradients, 1):
        yield from _alike("gradient", alike, (bands.cosine, bands.whole), f"step {number}")
    if side.moved is None:
        yield Failure("weights after the last step", "not seen", "seen")
    else:
        yield from _alike(
            "weights' way", side.moved, (bands.moved, bands.moved_whole), "at the end"
        )
    if not side.dtypes_seen:
        yield Failure("dtypes", "not seen", "seen")
    for module, dtypes in list(side.other_dtypes.items())[:1]:
        count = len(side.other_dtypes)
        yield Failure("dtype", dtypes, "the truth's", f"{module}, {count} in all")
    if set(side.dropping) != set(truth.dropping):
        yield Failure("dropout", f"on in {len(side.dropping)}", f"in {len(truth.dropping)}")
    if side.other_batches:
        yield Failure("batches", "other samples share one", "the same")


def _numbers(side: Side, truth: Side, bands: Bands) -> Iterator[Failure]:
    norms = []
    for number, (mine, theirs) in enumerate(zip(side.steps, truth.steps, strict=False), 1):
        where = f"step {number}"
        if mine.labels is None or mine.labels != theirs.labels:
            seen = "not seen" if mine.labels is None else str(mine.labels)
            yield Failure("labels", seen, str(theirs.labels), where)
        gap = abs(mine.loss / theirs.loss - 1)
        if gap > bands.loss:
            yield Failure("loss gap", f"{gap:.1e}", f"{bands.loss:.0e}", where)
        norms.append(mine.norm / theirs.norm - 1)
        if abs(norms[-1]) >= bands.norm:
            yield Failure("norm gap", f"{norms[-1]:+.1e}", f"under {bands.norm:.0e}", where)
    middle = statistics.median(norms)
    if abs(middle) > bands.norm_middle:
        yield Failure("median norm gap", f"{middle:+.1e}", f"{bands.norm_middle:.0e}")


def _alike(what: str, alike: Alike, band: tuple[float, float], where: str) -> Iterator[Failure]:
    for name in alike.untrained[:1]:
        yield Failure("untrained", f"{len(alike.untrained)} tensors", "none", f"{name}, {where}")
    each, whole = band
    for part, cosine, worst in (
        ("A", alike.cosine_a, alike.worst_a),
        ("B", alike.cosine_b, alike.worst_b),
    ):
        if not cosine >= each:
            yield Failure(
                f"{what}'s cosine of {part}", f"{cosine:.5f}", f"{each}", f"{worst}, {where}"
            )
    for part, cosine in (("A", alike.whole_a), ("B", alike.whole_b)):
        if not cosine >= whole:
            yield Failure(f"{what}'s cosine of all {part}", f"{cosine:.5f}", f"{whole}", where)


def largest_gap(side: Side, truth: Side) -> float:
    """Of the losses, relative."""
    return max(
        abs(mine.loss / theirs.loss - 1)
        for mine, theirs in zip(side.steps, truth.steps, strict=False)
    )
