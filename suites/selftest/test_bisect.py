"""The search against 1,000 random histories: right, or an honest range."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judging.bisect.search import Answer, EndError, Found, Outcome, search

G, B, S = Answer.GOOD, Answer.BAD, Answer.SKIP


class History:
    """Answers by position for some findings; counts what is asked and refuses to be asked twice."""

    def __init__(self, **answers: list[Answer]) -> None:
        self.answers = answers
        self.asked: list[int] = []

    def __call__(self, position: int) -> Mapping[str, Outcome]:
        assert position not in self.asked, "evaluated twice"
        self.asked.append(position)
        return {name: Outcome(values[position]) for name, values in self.answers.items()}


def boundaries_of(answers: list[Answer]) -> list[tuple[int, int]]:
    """All changes of the decided answers, by walking through every one: the independent truth."""
    decided = [(i, a) for i, a in enumerate(answers) if a is not S]
    return [(i, j) for (i, x), (j, y) in pairwise(decided) if x != y]


def pairs(result: Found) -> list[tuple[int, int]]:
    return [(b.before, b.after) for b in result.boundaries]


def random_history(seed: int) -> list[Answer]:
    """One boundary, skips (scattered, or a run around the boundary), ends decided."""
    draw = random.Random(seed)
    count = draw.randint(2, 300)
    edge = draw.randint(1, count - 1)
    answers = [G] * edge + [B] * (count - edge)
    for _ in range(draw.choice([0, 0, 1, 5, count // 3])):
        answers[draw.randrange(count)] = S
    if draw.random() < 0.3:
        width = draw.randint(1, 6)
        for i in range(max(1, edge - width), min(count - 1, edge + width)):
            answers[i] = S
    answers[0], answers[-1] = G, B
    return answers


@pytest.mark.parametrize("block", range(10))
def test_a_thousand_monotonic_histories(block: int) -> None:
    for seed in range(block * 100, block * 100 + 100):
        answers = random_history(seed)
        for monotonic in (True, False):
            history = History(x=answers)
            result = search(len(answers), ["x"], history, monotonic=monotonic)["x"]
            # Exactly the narrowest range that the decided answers allow, skips named.
            assert pairs(result) == boundaries_of(answers)
            (edge,) = result.boundaries
            assert edge.skipped == tuple(range(edge.before + 1, edge.after))
            skips = sum(answers[p] is S for p in history.asked)
            extra = 0 if monotonic else 4
            assert len(history.asked) <= math.ceil(math.log2(len(answers))) + 2 + skips + extra


@pytest.mark.parametrize("block", range(10))
def test_histories_that_change_back_are_never_misanswered(block: int) -> None:
    """Whatever is reported is a real change; whatever is not evaluated is said to be assumed."""
    for seed in range(block * 100, block * 100 + 100):
        draw = random.Random(10_000 + seed)
        count = draw.randint(3, 200)
        edges = sorted(draw.sample(range(1, count), k=min(count - 1, draw.choice([1, 3, 3, 5]))))
        if len(edges) % 2 == 0:
            edges.pop()
        answers = [G if sum(e <= i for e in edges) % 2 == 0 else B for i in range(count)]
        for i in draw.sample(range(1, count), k=min(count - 1, draw.choice([0, 0, 3, 10]))):
            answers[i] = S if i < count - 1 else answers[i]
        history = History(x=answers)
        result = search(count, ["x"], history)["x"]
        for edge in result.boundaries:
            assert answers[edge.before] is edge.old
            assert answers[edge.after] is edge.new
            assert all(answers[p] is S for p in edge.skipped)
            assert edge.after - edge.before - 1 == len(edge.skipped)
        # Every position is a boundary's, evaluated, or inside an interval named as assumed.
        named = {p for a, b in result.assumed for p in range(a, b + 1)}
        assert named.isdisjoint(history.asked)
        assert named | set(history.asked) == set(range(count))
        whole = search(count, ["x"], History(x=answers), exhaustive=True)["x"]
        assert pairs(whole) == boundaries_of(answers)
        assert whole.assumed == ()


def test_a_change_back_in_the_middle_is_noticed_by_the_checks() -> None:
    answers = [G] * 10 + [B] * 40 + [G] * 40 + [B] * 10
    assert len(search(100, ["x"], History(x=answers))["x"].boundaries) == 3
    assert len(search(100, ["x"], History(x=answers), monotonic=True)["x"].boundaries) == 1


def test_findings_share_their_evaluations() -> None:
    count = 128
    answers = {f"f{i}": [G] * (i + 20) + [B] * (count - i - 20) for i in range(4)}
    together = History(**answers)
    result = search(count, list(answers), together, monotonic=True)
    assert [pairs(result[f"f{i}"]) for i in range(4)] == [[(i + 19, i + 20)] for i in range(4)]
    alone = [History(x=value) for value in answers.values()]
    for history in alone:
        search(count, ["x"], history, monotonic=True)
    assert len(together.asked) < sum(len(h.asked) for h in alone) / 2


@pytest.mark.parametrize(
    ("answers", "position", "wanted"), [([B, B], 0, G), ([G, G], 1, B), ([S, B], 0, G)]
)
def test_an_end_that_does_not_show_it_is_an_error(
    answers: list[Answer], position: int, wanted: Answer
) -> None:
    with pytest.raises(EndError) as error:
        search(2, ["x"], History(x=answers))
    assert (error.value.position, error.value.wanted) == (position, wanted)
    assert str(error.value).startswith(f"x: {wanted} expected at {position}, ")
    assert error.value.outcome.answer is answers[position]


def test_a_range_needs_two_ends() -> None:
    with pytest.raises(ValueError, match="no two ends"):
        search(1, ["x"], History(x=[G]))


class Flaky(History):
    """Some positions give the other answer at every second evaluation; repeats are counted."""

    def __init__(self, answers: list[Answer], flaky: set[int]) -> None:
        super().__init__(x=answers)
        self.flaky = flaky
        self.repeated: list[int] = []
        self.kept: set[int] = set()

    def again(self, position: int) -> Mapping[str, Outcome]:
        assert position in self.asked, "repeated before it was evaluated"
        assert position not in self.repeated, "repeated twice"
        self.repeated.append(position)
        true = self.answers["x"][position]
        other = {G: B, B: G, S: S}[true]
        return {"x": Outcome(other if position in self.flaky else true)}


@pytest.mark.parametrize("block", range(10))
def test_a_thousand_histories_with_flaky_releases(block: int) -> None:
    """What does not answer the same twice is undecided: the range is right, and never narrower."""
    found_flaky = 0
    for seed in range(block * 100, block * 100 + 100):
        draw = random.Random(20_000 + seed)
        truth = random_history(seed)
        count = len(truth)
        edge = truth.index(B)
        inner = [p for p in range(1, count - 1) if truth[p] is not S]
        near = [p for p in inner if abs(p - edge) <= 3]
        flaky = set(draw.sample(near, k=min(len(near), draw.choice([0, 1, 2, 4]))))
        flaky |= set(draw.sample(inner, k=min(len(inner), draw.choice([0, 1, 5]))))
        # Whichever of its two answers comes first.
        shown = [
            ({G: B, B: G}[a] if p in flaky and draw.random() < 0.5 else a)
            for p, a in enumerate(truth)
        ]
        history = Flaky(shown, flaky)
        result = search(count, ["x"], history, again=history.again)["x"]
        steady = [S if p in flaky else a for p, a in enumerate(truth)]
        for b in result.boundaries:
            assert not {b.before, b.after} & flaky
            assert {b.before, b.after} <= set(history.repeated)
            assert (truth[b.before], truth[b.after]) == (b.old, b.new)
            assert set(b.skipped) <= flaky | {p for p in range(count) if truth[p] is S}
        assert pairs(result) == boundaries_of(steady)
        found_flaky += any("not the same twice" in o.reason for o in result.outcomes.values())
    assert found_flaky > 20


def test_an_end_that_is_flaky_is_no_end() -> None:
    history = Flaky([G, G, B], {2})
    with pytest.raises(EndError) as error:
        search(3, ["x"], history, again=history.again)
    assert error.value.position == 2
    assert "not the same twice" in error.value.outcome.reason


def test_what_may_be_repeated_is_kept_and_little_else() -> None:
    """Both sides of a change, and of every step on the way to it, stay; nothing piles up."""
    answers = [G] * 77 + [B] * 123
    kept: list[set[int]] = []
    history = Flaky(answers, set())

    def again(position: int) -> Mapping[str, Outcome]:
        assert position in kept[-1]
        return history.again(position)

    search(200, ["x"], history, again=again, keep=kept.append)
    assert kept[0] == {0, 199}
    assert all(len(positions) == 2 for positions in kept)
    assert sorted(history.repeated) == [76, 77]


@given(st.integers(2, 400), st.data())
def test_the_number_of_evaluations_is_bounded(count: int, data: st.DataObject) -> None:
    edge = data.draw(st.integers(1, count - 1))
    history = History(x=[G] * edge + [B] * (count - edge))
    result = search(count, ["x"], history, monotonic=True)["x"]
    assert pairs(result) == [(edge - 1, edge)]
    assert len(history.asked) <= math.ceil(math.log2(count)) + 2


@pytest.mark.parametrize(
    ("checks", "looks"),
    # Halved to the change: 49, 24, 12, 6, 3 and 1. The widest stretch is 49 to 99; then three are
    # as wide, and the first of them is looked into; a stretch with nothing inside never is.
    [(0, []), (1, [74]), (2, [74, 36]), (4, [74, 36, 61, 86])],
)
def test_checks_look_into_the_widest_stretch_that_nobody_looked_into(
    checks: int, looks: list[int]
) -> None:
    history = History(x=[G] + [B] * 99)
    search(100, ["x"], history, checks=checks)
    assert history.asked == [0, 99, 49, 24, 12, 6, 3, 1, *looks]


def test_without_a_stretch_left_no_check_is_made() -> None:
    history = History(x=[G, B])
    search(2, ["x"], history)
    assert history.asked == [0, 1]
    history = History(x=[G, G, B])
    search(3, ["x"], history, checks=9)
    assert sorted(history.asked) == [0, 1, 2]


@pytest.mark.parametrize(
    ("answers", "monotonic"), [([G, B], True), ([G, B, G, B], False), ([G, S, B], True)]
)
def test_a_history_that_changes_once_is_monotonic(answers: list[Answer], monotonic: bool) -> None:
    answered = search(len(answers), ["x"], History(x=answers), exhaustive=True)["x"]
    assert answered.is_monotonic is monotonic
    assert [b.is_exact for b in answered.boundaries] == [S not in answers] * len(
        answered.boundaries
    )
