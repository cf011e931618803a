"""Whether a way computes what the truth computes: a pure function of what was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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
# out. Single tensors: set before any contest was seen; what noise does to one of them is NOISE's.
AUTOCAST = Bands(1e-3, 1e-2, 3e-3, 0.98, 0.995, 0.98, 0.995)
# float32 on a CPU: only the order of sums differs.
FLOAT32 = Bands(1e-5, 1e-4, 1e-4, 0.9999, 0.99999, 0.999, 0.9999)


# Sides of the truth's own arithmetic: itself again, and the same sums over other parts of a batch,
# whose products round in another order.
NOISY = ("published_again", "published_by_2")
# How much further from the truth than these a single tensor may be: twice their 1 - cosine, of the
# same tensor. Two independent orders of rounding differ by the square root of two times what either
# differs from exact arithmetic; the rest is room for a maximum over many tensors and steps. Set
# before either side's tensors had been measured; a tensor that noise leaves alone has the band.
NOISE = 2.0


@dataclass(frozen=True)
class Noise:
    """What the truth's own arithmetic does to single tensors.

    gradients: by step, tensor -> smallest cosine of a noisy side up to that step. moved: the same
    of the weights' way. Tensors that are not named stayed at LOW or above.
    """

    gradients: tuple[Mapping[str, float], ...] = ()
    moved: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, sides: Sequence[Side]) -> Noise:
        """Of noisy sides; none gives no noise."""
        gradients: list[Mapping[str, float]] = []
        for number in range(max((len(side.gradients) for side in sides), default=0)):
            seen = [side.gradients[number].low for side in sides if number < len(side.gradients)]
            gradients.append(_smallest([*gradients[-1:], *seen]))
        return cls(tuple(gradients), _smallest([s.moved.low for s in sides if s.moved]))

    def at(self, step: int) -> Mapping[str, float]:
        """Of the gradients up to a step, counted from 0; the last one's where it had fewer."""
        return self.gradients[min(step, len(self.gradients) - 1)] if self.gradients else {}


def _smallest(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = {name for table in tables for name in table}
    return {name: min(t[name] for t in tables if name in t) for name in names}


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


NONE = Noise()


def failures(
    side: Side, truth: Side, bands: Bands = AUTOCAST, noise: Noise = NONE
) -> tuple[Failure, ...]:
    """Every reason why `side` is not a safe way of `truth`'s training; empty where it is safe."""
    return tuple(_failures(side, truth, bands, noise))


def _failures(side: Side, truth: Side, bands: Bands, noise: Noise) -> Iterator[Failure]:
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
    for number, alike in enumerate(side.gradients):
        band = bands.cosine, bands.whole
        yield from _alike("gradient", alike, band, noise.at(number), f"step {number + 1}")
    if side.moved is None:
        yield Failure("weights after the last step", "not seen", "seen")
    else:
        band = bands.moved, bands.moved_whole
        yield from _alike("weights' way", side.moved, band, noise.moved, "at the end")
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


def _alike(
    what: str, alike: Alike, band: tuple[float, float], noise: Mapping[str, float], where: str
) -> Iterator[Failure]:
    for name in alike.untrained[:1]:
        yield Failure("untrained", f"{len(alike.untrained)} tensors", "none", f"{name}, {where}")
    each, whole = band
    for part, cosine, worst in (
        ("A", alike.cosine_a, alike.worst_a),
        ("B", alike.cosine_b, alike.worst_b),
    ):
        single = {worst: cosine} | {n: c for n, c in alike.low.items() if f"lora_{part}" in n}
        for name, value in sorted(single.items(), key=lambda item: item[1]):
            # A record older than `low` says nothing of its other tensors: no allowance.
            carried = noise.get(name, 1.0) if name in alike.low else 1.0
            wanted = min(each, 1 - NOISE * (1 - carried))
            if not value >= wanted:
                place = f"{name}, {where}"
                yield Failure(f"{what}'s cosine of {part}", f"{value:.5f}", f"{wanted:.5f}", place)
                break
    for part, cosine in (("A", alike.whole_a), ("B", alike.whole_b)):
        if not cosine >= whole:
            yield Failure(f"{what}'s cosine of all {part}", f"{cosine:.5f}", f"{whole}", where)


def largest_gap(side: Side, truth: Side) -> float:
    """Of the losses, relative."""
    return max(
        abs(mine.loss / theirs.loss - 1)
        for mine, theirs in zip(side.steps, truth.steps, strict=False)
    )
