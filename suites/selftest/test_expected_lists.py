"""A family's list of known findings is what its oracle declares; nothing else gets into it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import BadInput
from harness.judging.goldens.expected import expected_path, read_expected
from harness.judging.goldens.golden import Band, BandKind
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
    assert [w.finding for w in listed if not (k := of(w.finding, known)) or differs(w, k)] == []
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
    facts = SimpleNamespace(stack_name="latest", recipe_name="reference", family="new")
    monkeypatch.setattr(write_expected, "read_records", lambda folder: {})
    monkeypatch.setattr(write_expected, "facts_of", lambda records: facts)
    monkeypatch.setattr(write_expected, "goldens_for", lambda folder: ())
    monkeypatch.setattr(write_expected, "judge", lambda *given: SimpleNamespace(red=[red]))
    judge_of = SimpleNamespace(KNOWN={"latest": KNOWN}, ABSENT={"latest": {}}, __file__="new.py")
    with pytest.raises(BadInput, match=rf"{red.finding} as CHANGED, which new\.py does not"):
        entries(tmp_path, judge_of)  # type: ignore[arg-type]


def test_a_declaration_that_nothing_shows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_of = SimpleNamespace(KNOWN={"latest": KNOWN}, ABSENT={"latest": {}}, __file__="new.py")
    shown = {red.finding: entry(red, KNOWN[0]) for red in [item("ids.padding_side")]}
    facts = SimpleNamespace(family="new")
    monkeypatch.setattr(write_expected, "read_records", lambda folder: {})
    monkeypatch.setattr(write_expected, "facts_of", lambda records: facts)
    monkeypatch.setattr(write_expected, "oracle", lambda name: judge_of)
    monkeypatch.setattr(write_expected, "entries", lambda *given: ("new", "latest", shown))
    with pytest.raises(BadInput, match=r"declares images\.levels\.\*photo, which no record shows"):
        write_expected.write_expected([tmp_path], tmp_path)
    assert not [*tmp_path.rglob("*.json")]
