"""Two sides measured, paired, explained: from a spec and its sides to a Comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.judging.audit.holding import bands_of, truths_of
from harness.judging.compare.causes import compare
from harness.judging.compare.comparison import Comparison, Experiment, rung_of
from harness.judging.compare.pairs import Pair
from harness.judging.compare.preparing import processes
from harness.judging.compare.register import read_register
from harness.judging.compare.rungs import pairs_of
from harness.judging.compare.second import noisy_rungs
from harness.judging.compare.sides import (
    HANDED,
    Side,
    cross_adapters,
    differing_values,
    drop_values,
    measure_sides,
    plan,
    try_causes,
)
from harness.judging.compare.spec import CompareSpec, View
from harness.judging.goldens.bands import Bands, read_bands
from harness.judging.goldens.golden import Golden
from harness.judging.goldens.own import goldens_for
from harness.records.context import TRAINING_FAMILY
from harness.records.record import Record, read_records

Records = tuple[Mapping[str, Record], Mapping[str, Record]]


@dataclass(frozen=True)
class Question:
    """Everything a judgement needs. wanted: rungs that were asked for and are missing where no
    record is. crossed: pairs of the adapters' round trip. again: pairs of a second look."""

    sides: tuple[Side, Side]
    records: Records
    wanted: tuple[str, ...]
    accepted: frozenset[str]
    crossed: tuple[Pair, ...] = ()
    again: tuple[Pair, ...] = ()

    @property
    def is_training(self) -> bool:
        """Whether a user's training was measured, on either side."""
        families = {r.provenance.family for side in self.records for r in side.values()}
        return TRAINING_FAMILY in families

    @property
    def held_to(self) -> tuple[Bands, Sequence[Golden]]:
        """What pairs are judged by: what is committed, or of a training its own checks."""
        folders = [side.out for side in self.sides]
        if self.is_training:
            return bands_of(*folders), truths_of(*folders)
        return read_bands(), goldens_for(*folders)

    def judged(
        self, experiments: tuple[Experiment, ...] = (), *, established: bool = False
    ) -> Comparison:
        """The comparison, pure but for reading the goldens and the records' tensors."""
        old, new = self.sides
        pairs = pairs_of(self.records, (old.out, new.out), *self.held_to)
        return compare(
            (old.label(self.records[0]), new.label(self.records[1])),
            self.records,
            (*pairs, *self.crossed),
            read_register(),
            experiments=experiments,
            established=established,
            accepted=self.accepted,
            wanted=self.wanted,
            given=(old.text, new.text),
            again=self.again,
        )


def compare_sides(spec: CompareSpec, sides: tuple[Side, Side], view: View) -> Comparison:
    """Measure both sides, pair them, and try causes where both can be measured.

    Raises KeyboardInterrupt after the processes have ended; finished rungs are on disk.
    """
    at_once = processes(spec)
    old, new = measure_sides(
        sides, spec.rungs, view.tick, at_once=at_once, limit_s=spec.limit_s, progress=view.say
    )
    both = all(side.is_stack for side in sides)
    # A folder holds the rungs that it holds; of two stacks every one was asked for.
    wanted = spec.rungs if spec.rungs_named or both else ()
    question = Question(sides, (old, new), wanted, spec.accepted)
    if both and not question.is_training:
        view.say("each side reads the adapter that the other has saved")
        crossed = cross_adapters(sides, view.tick, at_once=at_once, limit_s=spec.limit_s)
        question = replace(question, crossed=_crossed_pairs(crossed))
    comparison = question.judged()
    if both and (rungs := noisy_rungs(comparison.pairs)):
        view.say(f"a second look, alone, at what may be noise: {', '.join(rungs)}")
        question = replace(question, again=_seen_again(question, rungs, view, spec.limit_s))
        comparison = question.judged()
    if both and comparison.findings:
        view.say("looking for causes: later rungs again with earlier values from OLD")
        comparison = _with_causes(question, comparison, view, at_once, spec.limit_s)
    return comparison


def _seen_again(
    question: Question, rungs: Sequence[str], view: View, limit_s: float
) -> tuple[Pair, ...]:
    """Pairs of these rungs measured once more, one side after the other, in their own folders."""
    sides = []
    for side in question.sides:
        assert side.context is not None
        out = side.out.parent / "again" / side.name
        # As in the first look the trainings draw the masks that both sides share.
        context = replace(side.context, out=out, exchange="digest")
        sides.append(replace(side, out=out, context=context))
    old, new = measure_sides(sides, rungs, view.tick, at_once=1, limit_s=limit_s, progress=view.say)
    return pairs_of((old, new), (sides[0].out, sides[1].out), *question.held_to)


def _crossed_pairs(crossed: tuple[Side, Side] | None) -> tuple[Pair, ...]:
    if crossed is None:
        return ()
    old, new = (read_records(side.out) for side in crossed)
    folders = (crossed[0].out, crossed[1].out)
    return pairs_of((old, new), folders, read_bands(), goldens_for(*folders))


def _with_causes(
    question: Question, first: Comparison, view: View, at_once: int, limit_s: float
) -> Comparison:
    """The comparison again, with what follows from what."""
    old, new = question.sides
    moved = {f.pair.rung for f in first.findings}
    rungs = first.rungs
    handed = [name for name in HANDED if rung_of(name) in rungs]
    differing = differing_values(old.out, new.out, handed)
    adapter = (old.out / "training" / "adapter").is_dir()
    trials = plan(differing, [r for r in rungs if r in moved], adapter)
    results = try_causes(new, old, trials, view.tick, at_once=at_once, limit_s=limit_s)
    experiments = tuple(
        Experiment(
            trial.given,
            pairs_of(
                (question.records[0], records),
                (old.out, new.out.parent / "trials" / "+".join(trial.given)),
                *question.held_to,
            ),
        )
        for trial, records in zip(trials, results, strict=True)
    )
    for side in question.sides:
        drop_values(side.out)
    return question.judged(experiments, established=True)
