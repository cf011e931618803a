"""A family's list of known findings is what its oracle declares; nothing else gets into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import BadInput
from harness.judging.goldens.expected import expected_path, read_expected
from harness.judging.goldens.golden import Band, BandKind
from harness.judging.goldens.judgement import Facts
from harness.judging.goldens.verdicts import Judged
from harness.measuring.models import families
from harness.records.files import read_json
from harness.records.record import Verdict
from suites import write_expected
from suites.oracles.ladder import Known
from suites.write_expected import declared, differs, entries, entry, of

DECLARED = [(name, stack) for name in families() for stack in declared(name)]
KNOWN = (
    Known("ids.padding_side", "The processor has its own."),
    Known("images.levels.*photo", "Rounded otherwise.", optional=True, sized=False),
    Known("images.pillow_gap.*photo", "Rounded.", within=1.0, spread="vector kernels"),
    Known("inputs.positions.left", "Counted.", otherwise="padding counted"),
)


FACTS = Facts("latest", "tiny:new", "catalogue", "cpu-x", "other", "new")


def item(finding: str, now: object = "left", kind: str = "truth") -> Judged:
    rung = finding.split(".", 1)[0]
    return Judged(finding, rung, Verdict.CHANGED, kind, "right", now, Band(), "measured", "")


@pytest.mark.parametrize(("name", "stack"), DECLARED)
def test_a_list_says_what_its_oracle_does(name: str, stack: str) -> None:
    raw = read_json(expected_path(stack, family=name))
    own = {each["finding"] for each in raw["findings"]}
    listed = [wish for wish in read_expected(stack, family=name) if wish.finding in own]
    known = declared(name)[stack]
    assert listed
    pairs = [(wish, of(wish.finding, known, wish.when)) for wish in listed]
    assert [w.finding for w, known_as in pairs if not known_as or differs(w, known_as)] == []
    assert [k.finding for k in known if not any(of(f, [k]) for f in own)] == []
    assert raw["absent"] == write_expected.oracle(name).ABSENT[stack]


def test_a_family_declares_its_list() -> None:
    assert DECLARED


def test_an_entry_says_how_large_a_finding_is() -> None:
    first = entry(item("ids.padding_side"), KNOWN[0])
    assert first["value"] == "left"
    assert first["band"]["kind"] == BandKind.EXACT
    assert "optional" not in first
    unsized = entry(item("images.levels.fetched_photo"), KNOWN[1])
    assert "value" not in unsized
    assert unsized["optional"] is True
    gap = entry(item("images.pillow_gap.photo", 1), KNOWN[2])["band"]
    assert (gap["kind"], gap["limit"], gap["reason"]) == (BandKind.ABSOLUTE, 1.0, "vector kernels")
    told = entry(item("inputs.positions.left", [0, 1]), KNOWN[3])
    assert told["otherwise"] == "padding counted"
    assert "value" not in told


@pytest.mark.parametrize(
    "red", [item("ids.eos_token"), item("ids.padding_side", kind="expected")], ids=["new", "gone"]
)
def test_what_no_oracle_declares_gets_into_no_list(
    red: Judged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what the recipe's family shows and this one does not, without a reason."""
    monkeypatch.setattr(write_expected, "read_records", lambda folder: {})
    monkeypatch.setattr(write_expected, "facts_of", lambda records: FACTS)
    monkeypatch.setattr(write_expected, "goldens_for", lambda folder: ())
    monkeypatch.setattr(write_expected, "judge", lambda *given: SimpleNamespace(red=[red]))
    judge_of = SimpleNamespace(KNOWN={"latest": KNOWN}, ABSENT={"latest": {}}, __file__="new.py")
    with pytest.raises(BadInput, match=rf"{red.finding} as CHANGED, which new\.py does not"):
        entries(tmp_path, judge_of)  # type: ignore[arg-type]


def written(
    shown: Sequence[Known], known: Sequence[Known], monkeypatch: pytest.MonkeyPatch, root: Path
) -> list[dict[str, Any]]:
    """The list of a tiny model that shows these, of an oracle that declares those."""
    judge_of = SimpleNamespace(KNOWN={"latest": known}, ABSENT={"latest": {}}, __file__="new.py")
    seen = {(k.finding, k.when): entry(item(k.finding), k) for k in shown}
    monkeypatch.setattr(write_expected, "read_records", lambda folder: {})
    monkeypatch.setattr(write_expected, "facts_of", lambda records: FACTS)
    monkeypatch.setattr(write_expected, "oracle", lambda name: judge_of)
    monkeypatch.setattr(write_expected, "entries", lambda *given: seen)
    (path,) = write_expected.write_expected([root], root)
    findings: list[dict[str, Any]] = read_json(path)["findings"]
    return findings


def test_a_declaration_that_nothing_shows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Known("ids.eos_token", "Another one.")
    with pytest.raises(BadInput, match=r"declares ids\.eos_token, which no record shows"):
        written(KNOWN[:1], (KNOWN[0], left), monkeypatch, tmp_path)
    assert not [*tmp_path.rglob("*.json")]


def test_what_is_declared_of_a_model_that_was_not_measured_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same finding another size, under another condition; and what is near its band."""
    trained = replace(KNOWN[0], when="stand-in")
    near = replace(KNOWN[0], finding="ids.eos_token", optional=True)
    every = (KNOWN[0], trained, near)
    first = written(every, every, monkeypatch, tmp_path)
    assert [(e["finding"], e["when"]) for e in first] == [
        ("ids.eos_token", "always"),
        ("ids.padding_side", "always"),
        ("ids.padding_side", "stand-in"),
    ]
    assert written(KNOWN[:1], every, monkeypatch, tmp_path) == first
    # What nobody declares any more goes.
    assert written(KNOWN[:1], KNOWN[:1], monkeypatch, tmp_path) == [first[1]]
