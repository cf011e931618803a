"""The register: each change is true at its release, false before it, and explains only its own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from harness.errors import BadInput
from harness.judging.compare.predicates import Predicate
from harness.judging.compare.register import Change, read_register
from harness.records.folders import REGISTER as REGISTER_FOLDER
from harness.records.machine import RELEVANT
from harness.records.typed import Json
from suites.selftest.differences import (
    BY_NAME,
    CASES,
    REGISTER,
    a_case,
    causes,
    change,
    explains,
    explanation,
    of,
    pair,
)


@pytest.mark.parametrize(("known", "predicate"), CASES)
def test_true_at_its_release_and_false_at_the_one_before(
    known: Change, predicate: Predicate
) -> None:
    case = a_case(predicate.case)
    difference = of(predicate, predicate.metric, case)
    at = {known.library: known.first}
    before = {known.library: known.before}
    early = {known.library: "0.0.1"}
    among = causes(known)
    assert explanation(difference, [known], before, at, among=among) == (known,)
    assert explanation(difference, [known], early, before, among=among) == ()
    assert explanation(difference, [known], at, {known.library: "99"}, among=among) == ()
    # Another metric is never explained: there is no catch-all.
    stranger = replace(difference, metric="something_else", finding="forward.something_else")
    assert explanation(stranger, [known], before, at, among=among) == ()


@pytest.mark.parametrize("known", REGISTER, ids=lambda c: c.name)
def test_a_change_names_a_recorded_library_and_ordered_releases(known: Change) -> None:
    assert known.library in RELEVANT
    assert Version(known.before) < Version(known.first)
    for text in (known.title, known.reference, known.effect, known.advice, known.evidence):
        assert text.strip()
    assert re.search(r"\d+\.\d+", known.reference) or known.library in known.reference


def test_there_is_no_catch_all() -> None:
    for known in REGISTER:
        for predicate in known.when:
            assert re.fullmatch(r"[a-z]+\.[a-z_0-9]+", predicate.metric), known.name


@pytest.mark.parametrize("known", REGISTER, ids=lambda change: change.name)
def test_a_warning_that_comes_or_goes_is_no_crash(known: Change) -> None:
    """The call that stops has a finding and a change of its own."""
    warned = any(when.metric == "interface.warnings" for when in known.when)
    assert not (warned and known.severity == "crash")


def test_the_way_back_is_explained_by_the_same_change() -> None:
    wish = change(Predicate("forward.loss", standing="fixed", sign=-1))
    fixed = pair(old=2.0, new=1.0, standing="fixed")
    back = pair(old=1.0, new=2.0, standing="broke")
    assert explains(wish, fixed)
    assert not explains(wish, back)
    assert explains(wish, back, old="2.0", new="1.9")
    assert not explains(wish, fixed, old="2.0", new="1.9")


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (Predicate("forward.loss", sign=1), True),
        (Predicate("forward.loss", sign=-1), False),
        (Predicate("forward.loss", least=0.5, most=2.0), True),
        (Predicate("forward.loss", most=0.5), False),
        (Predicate("forward.loss", least=0.4, most=0.6, relative=True), True),
        (Predicate("forward.loss", least=0.6, relative=True), False),
        (Predicate("forward.loss", case="left"), False),
        (Predicate("forward.loss", verdict="WORSE"), False),
        (Predicate("forward.losses"), False),
    ],
)
def test_every_part_of_a_predicate_counts(predicate: Predicate, expected: bool) -> None:
    assert explains(change(predicate), pair()) is expected


def test_every_line_needs_an_explanation() -> None:
    old: Json = ["kept", "gone"]
    new: Json = ["kept", "came"]
    texts = pair("interface.warnings", old, new)
    gone = change(Predicate("interface.warnings", line="gone", side="removed"))
    came = replace(change(Predicate("interface.warnings", line="came", side="added")), name="y")
    versions = ({"torch": "1.9"}, {"torch": "2.0"})
    assert explanation(texts, [gone, came], *versions) == (came, gone) or explanation(
        texts, [gone, came], *versions
    ) == (gone, came)
    assert explanation(texts, [gone], *versions) == ()
    turned = pair("interface.warnings", new, old)
    assert explanation(turned, [gone, came], *versions) == ()


def test_without_the_librarys_version_nothing_is_known() -> None:
    assert explanation(pair(), [change(Predicate("forward.loss"))], {}, {"torch": "2.0"}) == ()


def test_a_malformed_change_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("schema = 1\ntitle = 'only'\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"x\.toml"):
        read_register(path.parent)


def test_a_misspelt_word_is_refused(tmp_path: Path) -> None:
    whole = (REGISTER_FOLDER / "mrope-in-training.toml").read_text(encoding="utf-8")
    (tmp_path / "x.toml").write_text(whole.replace('"fixed"', '"mended"'), encoding="utf-8")
    with pytest.raises(BadInput, match="standing = 'mended' is none of fixed"):
        read_register(tmp_path)


def test_a_change_that_was_taken_back_explains_nothing_beyond_it() -> None:
    change = replace(BY_NAME["accumulation-divided-twice"])
    inside, beyond, outside = ({"transformers": v} for v in ("5.3.0", "5.23.0", "4.45.1"))
    assert change.crossing(outside, inside) == 1
    assert change.crossing(inside, outside) == -1
    assert change.crossing(outside, beyond) == 0
    assert change.crossing(beyond, outside) == 0
    # The release that takes it back is the first without it.
    until = {"transformers": change.until}
    assert (change.crossing(outside, until), change.crossing(until, outside)) == (0, 0)


def test_a_change_that_mends_explains_nothing_of_what_came_before_the_fault() -> None:
    """The way back to a release that never had it: what is wrong there is something else."""
    mended = BY_NAME["numbered-pictures-back"]
    before, inside, beyond = ({"transformers": v} for v in ("4.45.1", "4.49.0", "5.23.0"))
    assert mended.crossing(inside, beyond) == 1
    assert mended.crossing(beyond, inside) == -1
    assert mended.crossing(before, beyond) == 0
    assert mended.crossing(beyond, before) == 0


@pytest.mark.parametrize("known", REGISTER, ids=lambda c: c.name)
def test_a_change_begins_before_it_ends(known: Change) -> None:
    since = re.match(r"Before, since ([0-9.]+),", known.effect)
    assert known.since == (since[1] if since else "")
    if known.since:
        assert Version(known.since) <= Version(known.before)
    if known.until:
        assert Version(known.first) < Version(known.until)


def test_a_change_of_a_familys_own_files_explains_no_other_familys_difference() -> None:
    of_one = replace(change(Predicate("forward.loss", most=2.0)), families=("qwen2_vl",))
    versions = {"torch": "1.9"}, {"torch": "2.0"}
    assert explanation(pair(), [of_one], *versions, "qwen2_vl") == (of_one,)
    assert explanation(pair(), [of_one], *versions, "other") == ()
    # A user's training says nothing of its family; a change without families is everybody's.
    assert explanation(pair(), [of_one], *versions) == (of_one,)
    assert explanation(pair(), [replace(of_one, families=())], *versions, "other")


def test_entries_name_the_family_whose_files_they_are_in() -> None:
    known = {
        path.stem for path in (REGISTER_FOLDER.parents[2] / "measuring/models").glob("[!_]*.py")
    }
    own = re.compile(r"\bmodels/(\w+)/")
    for entry in REGISTER:
        assert set(entry.families) <= known, entry.name
        named = {name for name in own.findall(entry.reference) if name in known}
        assert named <= set(entry.families), f"{entry.name} is in files of {named}"


@pytest.mark.parametrize(
    ("old", "new", "changes", "sign"),
    [
        ("1.9", "2.0", {}, 1),
        ("2.0", "1.9", {}, -1),
        ("1.0", "3.0", {}, 1),
        # The release that brings it is the first with it; the one before the last without.
        ("2.0", "3.0", {}, 0),
        ("1.0", "1.9", {}, 0),
        ("1.9", "1.9", {}, 0),
        ("2.0", "2.0", {}, 0),
        # By the order of releases, not of letters.
        ("1.10", "2.0", {}, 1),
        ("1.9", "1.10", {}, 0),
        # Taken back at 2.5: both sides must lie before it.
        ("1.9", "2.4", {"until": "2.5"}, 1),
        ("2.4", "1.9", {"until": "2.5"}, -1),
        ("1.9", "2.5", {"until": "2.5"}, 0),
        ("2.6", "1.9", {"until": "2.5"}, 0),
        # A fault since 1.5 that is mended: both sides must lie at it or after.
        ("1.5", "2.0", {"since": "1.5"}, 1),
        ("2.0", "1.5", {"since": "1.5"}, -1),
        ("1.4", "2.0", {"since": "1.5"}, 0),
        ("2.0", "1.4", {"since": "1.5"}, 0),
    ],
)
def test_a_change_lies_between_the_last_without_and_the_first_with_it(
    old: str, new: str, changes: dict[str, str], sign: int
) -> None:
    known = replace(change(Predicate("forward.loss", most=9.0)), **changes)
    assert known.crossing({"torch": old}, {"torch": new}) == sign
    assert bool(explanation(pair(), [known], {"torch": old}, {"torch": new})) is (sign != 0)
    # Of another library nothing is known by it.
    assert known.crossing({"trl": old}, {"torch": new}) == 0
    assert known.crossing({"torch": old}, {"trl": new}) == 0


def test_a_difference_of_lines_is_explained_by_all_that_explain_one() -> None:
    """Each change once, in the order of the lines; one that claims the whole stands alone."""
    texts = pair("interface.warnings", ["a gone", "kept"], ["b came", "c came", "kept"])
    names = {"gone": "removed", "came": "added"}
    known = [
        replace(change(Predicate("interface.warnings", line=line, side=side)), name=line)
        for line, side in names.items()
    ]
    versions = ({"torch": "1.9"}, {"torch": "2.0"})
    assert [c.name for c in explanation(texts, known, *versions)] == ["gone", "came"]
    # The same lines in another order are no line.
    turned = pair("interface.warnings", ["a", "b"], ["b", "a"])
    assert explanation(turned, known, *versions) == ()
    other = replace(change(Predicate("interface.warnings", old=".*gone.*", new=".*")), name="all")
    assert explanation(turned, [*known, other], *versions) == ()
    # A value of one more kind: no list of texts has lines.
    mixed = pair("interface.warnings", ["a gone", 3], ["b came"])
    assert explanation(mixed, known, *versions) == ()


HEAD = {
    "schema": "1",
    "title": "'t'",
    "library": "'torch'",
    "before": "'1.9'",
    "first": "'2.0'",
    "reference": "'r'",
    "severity": "'cost'",
    "effect": "'e'",
    "advice": "'a'",
    "evidence": "'v'",
}
WHEN = "[[when]]\nmetric = 'forward.loss'\nmost = 1.0\n"


def written(path: Path, entries: str = WHEN, **changes: str) -> Path:
    head = "".join(f"{name} = {value}\n" for name, value in {**HEAD, **changes}.items() if value)
    path.write_text(head + entries, encoding="utf-8")
    return path


def test_a_change_is_read_as_it_is_written(tmp_path: Path) -> None:
    written(tmp_path / "b-change.toml", until="'2.5'", families="['gemma3']")
    written(tmp_path / "a-change.toml")
    first, second = read_register(tmp_path)
    assert (first.name, second.name) == ("a-change", "b-change")
    assert first == replace(change(Predicate("forward.loss", most=1.0)), name="a-change")
    assert (second.until, second.families, second.since) == ("2.5", ("gemma3",), "")


@pytest.mark.parametrize(
    ("changes", "when", "complaint"),
    [
        ({"schema": "2"}, WHEN, "has schema 2, this harness reads 1"),
        ({"schema": ""}, WHEN, "is no complete known change"),
        ({"severity": "'odd'"}, WHEN, "needs a severity of wrong training, crash, cost, cosmetic"),
        ({"severity": ""}, WHEN, "is no complete known change"),
        ({"odd": "'x'"}, WHEN, "is no complete known change"),
        ({"when": "[]"}, "", "needs a severity of .* and a predicate"),
        ({}, "", "is no complete known change"),
        ({}, WHEN + "odd = 1\n", "is no complete known change"),
        ({}, WHEN + "most = 2.0\n", "is no complete known change"),
        ({"cause": "['forward.los']"}, WHEN, r"no predicate of its cause forward\.los"),
    ],
)
def test_what_is_no_known_change_names_its_file(
    tmp_path: Path, changes: dict[str, str], when: str, complaint: str
) -> None:
    path = written(tmp_path / "x.toml", when, **changes)
    with pytest.raises(BadInput, match=complaint) as refused:
        read_register(tmp_path)
    assert str(refused.value).startswith(str(path))


def test_a_change_is_of_the_families_that_it_names() -> None:
    everybodys = change(Predicate("forward.loss", most=9.0))
    of_two = replace(everybodys, families=("gemma3", "gemma4"))
    assert {f: of_two.reaches(f) for f in ("gemma3", "gemma4", "qwen2_vl", "")} == {
        "gemma3": True,
        "gemma4": True,
        "qwen2_vl": False,
        "": True,
    }
    assert everybodys.reaches("gemma3")
    assert everybodys.reaches("")


def test_of_two_causes_without_a_predicate_the_first_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.toml", cause="['forward.b', 'forward.a']")
    with pytest.raises(BadInput, match=r"no predicate of its cause forward\.b; give one"):
        read_register(tmp_path)
    assert path.is_file()
