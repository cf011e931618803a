"""Lists of what a stack is expected to show: a variant's own, and what they say of its samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BadInput, Lack
from harness.judging.goldens.expected import Expected, read_expected
from harness.judging.goldens.golden import GOLDEN_SCHEMA, Band
from harness.judging.goldens.verdicts import judge
from harness.records.failure import Failure
from harness.records.folders import GOLDEN
from harness.records.record import Metric, Status
from harness.records.seals import write_sealed
from harness.records.typed import Json
from suites.selftest.verdicts import golden, loss, record


@pytest.mark.parametrize(
    ("optional", "when", "red"),
    [
        # Somebody's own samples need not have what the list speaks of.
        (True, "own-data", 0),
        (True, "cpu+own-data", 0),
        (False, "own-data", 1),
        # The catalogue has, on every machine: what was not measured of it is said.
        (True, "always", 1),
        (False, "always", 1),
    ],
)
def test_what_a_list_expects_of_ones_own_samples_may_not_be_there_at_all(
    optional: bool, when: str, red: int
) -> None:
    here = record("forward", loss(1), data="/mine", data_digest="d")
    wish = Expected("forward.other", "CHANGED", "known upstream", optional=optional, when=when)
    judgement = judge({"forward": here}, [golden(1)], [wish])
    assert [item.finding for item in judgement.red] == ["forward.other"] * red
    assert all("it was not measured" in item.reason for item in judgement.red)


def test_what_a_list_expects_and_was_not_measured_stays_red_where_something_else_was() -> None:
    wish = Expected("forward.loss", "CHANGED", "near its band", optional=True)
    judgement = judge({"forward": record("forward", loss(2, name="other"))}, [], [wish])
    assert [item.kind for item in judgement.red] == ["expected"]


@pytest.mark.parametrize(
    ("wish", "metric", "sentence"),
    [
        (
            Expected("forward.loss", "BROKEN", "gone", "ImportError", says="libcudart"),
            loss(None, status=Status.BROKEN, failure=Failure("TypeError", "m", "f:1")),
            "but not ImportError but TypeError: m (f:1); if",
        ),
        (
            Expected("forward.loss", "BROKEN", "gone", says="libcudart"),
            loss(None, status=Status.BROKEN, failure=Failure("TypeError", "m", "f:1")),
            "but not libcudart but TypeError: m (f:1); if",
        ),
        (
            Expected(
                "forward.loss", "NOT_RUN", "gone", lacks=(Lack.FINDING,), blocked_by="forward.grid"
            ),
            loss(None, status=Status.NOT_RUN, reason="no weights", lack=Lack.WEIGHTS),
            "but not forward.grid but no weights; if",
        ),
        (
            Expected("forward.loss", "NOT_RUN", "gone", lacks=(Lack.CUDA, Lack.MEMORY)),
            loss(None, status=Status.NOT_RUN, reason="no weights", lack=Lack.WEIGHTS),
            "but not cuda or memory but no weights; if",
        ),
        (Expected("forward.loss", "BROKEN", "gone", "E"), loss(2), "but it is CHANGED; if"),
        (Expected("forward.loss", "CHANGED", "gone"), loss(1), "but it is SAME; if"),
        (Expected("forward.other", "CHANGED", "gone"), loss(1), "but it was not measured; if"),
    ],
)
def test_what_is_there_in_place_of_the_expected_is_said(
    wish: Expected, metric: Metric, sentence: str
) -> None:
    judgement = judge({"forward": record("forward", metric)}, [golden(1)], [wish])
    (ghost,) = (item for item in judgement.items if item.kind == "expected")
    assert f"expects {wish.verdict} here (gone), {sentence} that is right" in ghost.reason
    assert (ghost.finding, ghost.rung, ghost.golden) == (wish.finding, "forward", wish.verdict)


def test_a_long_value_is_cut_where_its_list_says_another() -> None:
    text = "x" * 200
    wish = Expected("forward.loss", "CHANGED", "why", value="y" * 200, band=Band())
    judgement = judge({"forward": record("forward", loss(text))}, [golden("z")], [wish])
    sentence = f"but its value is {text[:80]} where the list says {'y' * 80}; if"
    assert sentence in judgement.red[-1].reason


LISTS = (
    ({"absent": {"ids.a": 3}}, "does not say which findings are absent, and why"),
    ({"absent": ["ids.a"]}, "does not say which findings are absent, and why"),
    ({}, "does not say which findings are absent, and why"),
    ({"absent": {"ids.z": "why", "ids.b": "why"}}, "says that ids.b is absent, which mine.json"),
    ({"absent": {}, "schema": 99}, "has another schema than"),
    ({"absent": {}, "findings": {}}, "has no list of findings"),
    (
        {"absent": {}, "findings": [{"finding": "ids.a", "verdict": "ODD", "reason": "r"}]},
        "holds an incomplete finding",
    ),
    (
        {
            "absent": {},
            "findings": [
                {"finding": "ids.a", "verdict": "CHANGED", "reason": "r", "when": "cpu+moon"}
            ],
        },
        "'moon' is no condition",
    ),
    (
        {
            "absent": {},
            "findings": [{"finding": "ids.a", "verdict": "BROKEN", "reason": "r", "says": "("}],
        },
        "holds an incomplete finding",
    ),
)


def a_list(path: Path, **changes: Json) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, {"schema": GOLDEN_SCHEMA, "findings": [], **changes})


@pytest.mark.parametrize(("changes", "complaint"), LISTS)
def test_a_variants_list_that_is_none_names_its_file(
    tmp_path: Path, changes: dict[str, Json], complaint: str
) -> None:
    first: Json = [{"finding": "ids.a", "verdict": "CHANGED", "reason": "r"}]
    a_list(tmp_path / "expected" / "mine.json", findings=first)
    own = tmp_path / "expected" / "mine@mask-prompt.json"
    a_list(own, **changes)
    with pytest.raises(BadInput) as refused:
        read_expected("mine", tmp_path, "mask-prompt")
    assert str(refused.value).startswith(str(own))
    assert complaint in str(refused.value)


def test_a_variants_list_says_what_is_otherwise_and_the_rest_stays(tmp_path: Path) -> None:
    def finding(name: str, verdict: str = "CHANGED") -> dict[str, Json]:
        return {"finding": name, "verdict": verdict, "reason": "r"}

    usual: Json = [finding("environment.x"), finding("ids.a"), finding("ids.b"), finding("ids.c")]
    a_list(tmp_path / "expected" / "mine.json", findings=usual)
    other: Json = [finding("ids.b", "BROKEN"), finding("ids.new")]
    for own in ("mine@mask-prompt.json", "gemma3/mine.json", "gemma4/mine.json"):
        inherits = {"inherits": True} if own.startswith("gemma4") else {}
        gone: Json = {} if own.startswith("gemma3") else {"ids.a": "no such thing here"}
        a_list(tmp_path / "expected" / own, findings=other, absent=gone, **inherits)

    def told(**which: str) -> list[tuple[str, str]]:
        return [(w.finding, w.verdict) for w in read_expected("mine", tmp_path, **which)]

    changed = [("ids.b", "BROKEN"), ("ids.new", "CHANGED")]
    of_all = [("environment.x", "CHANGED")]
    assert len(told()) == 4
    assert told(recipe="mask-prompt") == [*of_all, ("ids.c", "CHANGED"), *changed]
    # Another family shares what looks at no model, or all that it says it does.
    assert told(family="gemma3") == [*of_all, *changed]
    assert told(family="gemma4") == [*of_all, ("ids.c", "CHANGED"), *changed]
    assert told(family="idefics3") == of_all
    assert read_expected("theirs", tmp_path) == ()


VARIANT_LISTS = sorted(path.stem for path in (GOLDEN / "expected").glob("*@*.json"))


@pytest.mark.parametrize("name", VARIANT_LISTS)
def test_a_variants_list_leaves_nobody_out(name: str) -> None:
    """Whoever's finding the stack's own list knows, of another model or of one's own rows, the
    variant's knows too: its entry takes the place of all of that id."""

    def conditions(wishes: tuple[Expected, ...]) -> dict[str, set[str]]:
        by_finding: dict[str, set[str]] = {}
        for wish in wishes:
            by_finding.setdefault(wish.finding, set()).add(wish.when)
        return by_finding

    stack, _, recipe = name.partition("@")
    usual = conditions(read_expected(stack))
    left_out = {
        finding: usual[finding] - own
        for finding, own in conditions(read_expected(stack, recipe=recipe)).items()
        if usual.get(finding, set()) - own
    }
    assert not left_out
