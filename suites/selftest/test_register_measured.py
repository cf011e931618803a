"""The register against what was measured between neighbours (golden/matrix/moved.json): it
leaves nothing unknown, and explains nothing that is ten times as large or a tenth as large."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

import pytest
from packaging.version import Version

from harness.judging.compare.causes import findings_of
from harness.judging.compare.pairs import Pair
from harness.judging.compare.predicates import Predicate, atoms, holds
from harness.judging.compare.register import Change, at_work, read_register
from harness.records.record import Status, Verdict
from harness.records.typed import Json
from suites.moved import MovedPair, MovedSide, Step, read_moved

REGISTER = read_register()
STEPS = read_moved()
# Bounded by arithmetic, of whatever model: bytes of a table for each layer, positions, of which
# none lies beyond its row, and tensors of an adapter, so many for each block. And gradients that
# explode by what is masked wrongly: a thousand times on a tiny model, 100,000 on the stand-in.
PREDICTED = {
    "model.buffer_bytes",
    "inputs.position_tensor",
    "trajectory.adapter_lost",
    "trajectory.padded_gradient",
}


def unknown(step: Step, register: tuple[Change, ...] = REGISTER) -> list[str]:
    pairs = [moved.pair for moved in step.pairs]
    findings = findings_of(pairs, (), register, (step.old, step.new), family=step.family)
    return [f.pair.finding for f in findings if f.is_unknown and f.pair.differs]


def explained() -> Iterator[tuple[str, Predicate, Pair]]:
    """Every measured difference with a predicate that explains it, turned as it does."""
    for step in STEPS:
        pairs = [moved.pair for moved in step.pairs]
        for known in at_work(REGISTER, pairs, step.old, step.new, step.family):
            for predicate in known.when:
                for pair in pairs:
                    whole = (("", ""), *atoms(pair))
                    here = pair.differs or predicate.is_inside
                    if here and any(holds(predicate, pair, atom) for atom in whole):
                        yield known.change.name, predicate, pair


EXPLAINED = [*explained()]
SIZED = defaultdict[tuple[str, str, str], list[tuple[Predicate, Pair]]](list)
for name, predicate, pair in EXPLAINED:
    if predicate.most is not None and pair.gap is not None and predicate.metric not in PREDICTED:
        SIZED[name, predicate.metric, predicate.standing].append((predicate, pair))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_nothing_that_moved_between_neighbours_is_unknown(step: Step) -> None:
    assert unknown(step) == []


def moved(finding: str, old: Json, new: Json, gap: float | None = None) -> MovedPair:
    """A difference that breaks what was right."""
    here, there = MovedSide(Status.OK, old), MovedSide(Status.OK, new)
    return MovedPair(finding, Verdict.WORSE, here, there, "broke", gap=gap)


# What no change of a library has done between any two releases that were measured.
PLANTED = (
    moved("text.rendered.single", "<|im_start|>a", "<|im_start|>b"),
    moved("ids.batch_ids.left", "0123456789abcdef", "fedcba9876543210"),
    moved("images.tokens.photo", 36, 35, 1.0),
    moved("forward.plain_loss.right_one", 7.5, 8.5, 1.0),
    moved("update.loss.0", 7.5, 3.75, 3.75),
    moved("trajectory.loss.step_0005", 7.5, 8.5, 1.0),
    # NEW loses what it has saved itself.
    moved("trajectory.adapter_lost.saved_by_new", 0, 3, 3.0),
    moved("generation.chrf.tuned.greedy", 90.0, 0.0, 90.0),
)


@pytest.mark.parametrize("planted", PLANTED, ids=lambda pair: pair.finding)
def test_a_planted_difference_remains_unknown_between_any_neighbours(planted: MovedPair) -> None:
    for step in STEPS:
        others = tuple(pair for pair in step.pairs if pair.finding != planted.finding)
        assert planted.finding in unknown(replace(step, pairs=(*others, planted))), step.title


SIGN = "forward.quantised_loss"


def test_texts_are_unknown_where_their_cause_stood_still() -> None:
    """Scales looked up in bins move Qwen3-VL's loss inside its band, and one text: without that
    move, or with one of rounding's size, the text has no known cause."""
    steps = [s for s in STEPS if s.model == "tiny:qwen3_vl" and _sign(s)]
    assert {step.title.split()[1] for step in steps} == {"4.57.6", "bitsandbytes"}
    for step in steps:
        (loss,), others = _sign(step), [pair for pair in step.pairs if pair.finding != SIGN]
        texts = {pair.finding for pair in others if ".tuned." in pair.finding}
        assert len(texts) == 4
        for share in (None, 0.0, 0.1):
            still = [] if share is None else [_moved_by(loss, share)]
            assert texts <= {*unknown(replace(step, pairs=(*others, *still)))}, step.title


def _sign(step: Step) -> list[MovedPair]:
    return [p for p in step.pairs if p.finding == SIGN and p.verdict is Verdict.SAME]


def _moved_by(pair: MovedPair, share: float) -> MovedPair:
    """The same, but moved by a share of that."""
    old, new = pair.old.value, pair.new.value
    assert isinstance(old, float)
    assert isinstance(new, float)
    now = replace(pair.new, value=old + (new - old) * share)
    return replace(pair, new=now, gap=abs(new - old) * share)


def test_the_steps_are_whole() -> None:
    """Minors of transformers from the first to the newest, and a model that was trained."""
    models = Counter(step.model for step in STEPS)
    assert models["tiny:qwen2_vl"] == 37
    assert {"stand-in", "tiny:gemma4", "tiny:idefics3"} <= set(models)
    assert sum(len(step.pairs) for step in STEPS) > 1000


def scaled(pair: Pair, predicate: Predicate, factor: float) -> Pair:
    """The same difference, so many times as large; of the larger side where a bound is."""
    assert pair.gap is not None
    old, new = pair.old.value, pair.new.value
    if not (isinstance(old, int | float) and isinstance(new, int | float)):
        return replace(pair, gap=pair.gap * factor)
    gap = (new - old) * factor
    if predicate.relative:
        # The larger side stays.
        old, new = (new - gap, new) if abs(new) >= abs(old) else (old, old + gap)
    else:
        new = old + gap
    sides = (replace(pair.old, value=old), replace(pair.new, value=new))
    return replace(pair, old=sides[0], new=sides[1], gap=abs(gap))


@pytest.mark.parametrize("key", sorted(SIZED), ids=".".join)
def test_ten_times_as_much_is_not_explained(key: tuple[str, str, str]) -> None:
    """As the largest that was measured. A relative distance of all is the most that there is."""
    predicate, largest = max(SIZED[key], key=lambda both: of_size(*both))
    if not (predicate.relative and of_size(predicate, largest) > 0.1):
        assert not holds(predicate, scaled(largest, predicate, 10.0), ("", ""))
    assert predicate.most is not None
    assert predicate.most < 10 * of_size(predicate, largest)


@pytest.mark.parametrize("key", sorted(SIZED), ids=".".join)
def test_a_tenth_is_not_explained(key: tuple[str, str, str]) -> None:
    """Of the smallest that was measured."""
    predicate, smallest = min(SIZED[key], key=lambda both: of_size(*both))
    assert not holds(predicate, scaled(smallest, predicate, 0.1), ("", ""))


def of_size(predicate: Predicate, pair: Pair) -> float:
    """The distance that a predicate's bounds are of."""
    assert pair.gap is not None
    if not predicate.relative:
        return pair.gap
    sides = (pair.old.value, pair.new.value)
    largest = max(abs(x) for x in sides if isinstance(x, int | float))
    return pair.gap / largest if largest else 0.0


# The line that goes is pad-token-named's, too.
SHARED = {"idefics3-pad-token-kept"}
MEASURED = sorted({name for name, _, _ in EXPLAINED} - SHARED)
BY_NAME = {known.name: known for known in REGISTER}


@pytest.mark.parametrize("name", MEASURED)
def test_a_change_comes_at_its_release(name: str) -> None:
    """Had it come with the next release that was measured, what moved here would be unknown."""
    known = BY_NAME[name]
    library = known.library
    steps = [
        step for step in STEPS if known.crossing(step.old, step.new) and known.reaches(step.family)
    ]
    assert steps
    others = tuple(other for other in REGISTER if other.name != name)
    late = [Version(step.new[library]) for step in steps]
    moved = replace(known, before=str(max(late)), first=f"{max(late)}.1", until="", since="")
    assert any(unknown(step, (*others, moved)) for step in steps)
