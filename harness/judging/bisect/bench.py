"""One release of a bisect: layer it over the base, measure the rungs asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from harness.errors import BadInput, StackBroken
from harness.judging.bisect import noisy
from harness.judging.bisect.addresses import address
from harness.judging.bisect.failures import is_accident
from harness.judging.bisect.question import Kind, Question, State, state_of
from harness.judging.bisect.search import Answer, Outcome
from harness.judging.environments import overlay
from harness.judging.environments.layers import Layers
from harness.judging.workers.measure import measure
from harness.records.alone import LOCK_S
from harness.records.context import Context
from harness.records.files import json_digest, remove_strays, text_digest
from harness.records.record import Record, read_record


@dataclass(frozen=True)
class Measured:
    """A release's records and where they lie, or why there are none."""

    label: str
    layer: overlay.Layer | None
    records: Mapping[str, Record]
    problem: str = ""
    fresh: bool = True
    folder: Path | None = None

    def state(self, question: Question) -> State:
        """The question's state; `lost` where the release could not be measured."""
        if self.problem:
            return State(Kind.LOST, reason=self.problem)
        return state_of(question, self.records, self.folder)


@dataclass
class Bench:
    """Where releases are measured. root: records by content, kept; layers beside them, dropped.

    wheels: resolve and install from this folder alone. limit_s: for one rung. built: how many
    environments were built, extra: how many of them for companions alone.
    """

    base: str
    python: Path
    context: Context
    root: Path
    rungs: tuple[str, ...]
    wheels: Path | None = None
    limit_s: float = 600.0
    built: int = 0
    extra: int = 0
    layers: Layers = field(init=False)
    # Why uv refused a mix: every finding of a comparison asks for the same ones.
    refused: dict[str, str] = field(init=False, default_factory=dict)

    @cached_property
    def have(self) -> Mapping[str, str]:
        """What is installed in the base now. Raises StackBroken where it cannot be read."""
        return overlay.installed(self.python)

    def __enter__(self) -> Bench:
        # Before anything is measured, and not as a release's problem.
        _ = self.have
        self.layers = Layers(self.root / "layers")
        with self._planning():
            remove_strays(self.root / "plans")
        return self

    def __exit__(self, *error: object) -> None:
        self.layers.close()

    def measure(self, asked: Sequence[str], again: str = "") -> Measured:
        """Measure `asked` over the base; a second time, or after a kill, from the records kept.

        Where a probe breaks on releases that do not work together, the ones it names move too.
        again: names a repetition, which is measured and kept by itself.
        """
        companions: tuple[str, ...] = ()
        measured = self._measure(asked, again, companions)
        while more := undeclared(measured, asked, companions):
            companions = (*companions, *more)
            before = self.built
            helped = self._measure(asked, again, companions)
            self.extra += self.built - before
            if helped.problem:
                break
            measured = helped
        return measured

    def keep(self, needed: Iterable[Measured]) -> None:
        """Drop every layer but those of these releases."""
        self.layers.keep({self._address(m.layer) for m in needed if m.layer})

    def _measure(self, asked: Sequence[str], again: str, companions: tuple[str, ...]) -> Measured:
        label = ",".join([self.base, *(_short(r) for r in asked)])
        try:
            layer = (
                self._plan(asked, companions)
                if asked
                else overlay.Layer(self.base, (), self.have, {}, {})
            )
        except StackBroken as error:
            return Measured(label, None, {}, str(error))
        name = self._address(layer)
        folder = self.root / "records" / "-".join(filter(None, (name, again)))
        _forget_accidents(folder, self.rungs, self.limit_s)
        missing = [r for r in self.rungs if not (folder / f"{r}.json").is_file()]
        if not missing:
            kept = {r: read_record(folder / f"{r}.json") for r in self.rungs}
            return Measured(label, layer, kept, fresh=False, folder=folder)
        variables = None
        if asked:
            try:
                place, is_new = self.layers.built(name, layer, self.python, self.wheels)
            except StackBroken as error:
                return Measured(label, layer, {}, str(error))
            self.built += is_new
            variables = overlay.variables(place)
        context = replace(self.context, out=folder, stack=label, versions={})
        # Another bisect may be measuring the same release: its records then serve this one too.
        records = measure(
            context,
            self.rungs,
            self.python,
            limit_s=self.limit_s,
            variables=variables,
            lock_s=self.limit_s * len(self.rungs) + LOCK_S,
        )
        return Measured(label, layer, records, folder=folder)

    def paired(self, good: Sequence[str], asked: Sequence[str], question: Question) -> Outcome:
        """A noisy metric: the good end and the release in turn, in fresh processes, until it is
        decided or the last look is taken.

        Raises BadInput for a metric that has no positive numbers.
        """
        band = question.band.limit if question.band else noisy.BAND
        times: dict[str, list[float]] = {"A": [], "B": []}
        for number, side in enumerate(noisy.order()):
            measured = self.measure(good if side == "A" else asked, again=f"{number}{_key(asked)}")
            state = measured.state(question)
            if state.kind is not Kind.VALUE:
                return Outcome(Answer.SKIP, state.text)
            if not isinstance(state.value, int | float) or state.value <= 0:
                raise BadInput(f"{question.finding} is {state.text}: no time to take a ratio of.")
            times[side].append(float(state.value))
            if number + 1 in {2 * pairs for pairs in noisy.LOOKS}:
                outcome = noisy.decide(times["A"], times["B"], band)
                if outcome.answer is not Answer.SKIP:
                    break
        return outcome

    def _plan(self, asked: Sequence[str], companions: Sequence[str]) -> overlay.Layer:
        """What moves, resolved once: the registry may have more tomorrow."""
        contents = {r: text_digest(Path(r).read_bytes()) for r in asked if r.endswith(".whl")}
        beside = sorted(p.name for p in self.wheels.glob("*.whl")) if self.wheels else []
        key = json_digest(
            [
                self.base,
                str(self.python),
                sorted(self.have.items()),
                [*asked, *companions],
                contents,
                str(self.wheels),
                beside,
                text_digest(Path(overlay.__file__).read_bytes()),
            ]
        )
        path = self.root / "plans" / f"{key}.json"
        if path.is_file():
            return overlay.read_layer(path)
        if key in self.refused:
            raise StackBroken(self.refused[key])
        try:
            layer = overlay.plan(self.base, self.python, asked, self.wheels, companions)
        except StackBroken as error:
            self.refused[key] = str(error)
            raise
        with self._planning():
            overlay.write_layer(path, layer)
        return layer

    def _planning(self) -> FileLock:
        """One bisect writes a plan at a time: what is half-written is then a killed one's."""
        return FileLock(self.root / "plans.lock")

    def _address(self, layer: overlay.Layer) -> str:
        return address(self.base, self.python, layer, self.context)


def _forget_accidents(folder: Path, rungs: Sequence[str], limit_s: float) -> None:
    """Drop the records that hold an accident of the machine: it says nothing about a release."""
    for path in (folder / f"{rung}.json" for rung in rungs):
        failures = [m.failure for m in read_record(path).metrics] if path.is_file() else []
        if any(failure and is_accident(failure, limit_s) for failure in failures):
            path.unlink(missing_ok=True)


def undeclared(
    measured: Measured, asked: Sequence[str], companions: Sequence[str] = ()
) -> tuple[str, ...]:
    """What a release asks of the base by its extras, where a whole probe broke without it.

    The heaviest, torch, only where nothing else is left.
    """
    failures = [
        metric.failure
        for record in measured.records.values()
        for metric in record.metrics
        if metric.is_whole_probe and metric.failure
    ]
    have = {overlay.name_of(r) for r in (*asked, *companions)}
    wanted = {
        mismatch.other: mismatch.requirement
        for failure in failures
        for mismatch in failure.mismatches
        if mismatch.declared and mismatch.other not in have
    }
    light = [asks for other, asks in wanted.items() if other not in {"torch", "torchvision"}]
    return tuple(sorted(light or wanted.values()))


def _key(asked: Sequence[str]) -> str:
    return json_digest(list(asked))[:8]


def _short(requirement: str) -> str:
    return Path(requirement).name if requirement.endswith(".whl") else requirement
