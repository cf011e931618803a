"""What a green verdict is worth: searched for, kept, quoted, and called stale."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.errors import BadInput, Damaged
from harness.judging.goldens.judgement import Facts
from harness.judging.goldens.power import (
    brief,
    goldens_digest,
    refuse_fewer,
    sentence,
    table_for,
    worth_of,
)
from harness.judging.goldens.verdicts import judge
from harness.judging.report.html.sections import verdict_banner
from harness.judging.report.run.terminal import terminal
from harness.judging.workers import planting
from harness.judging.workers.planting import PRECISION, Search
from harness.records.context import build_context, write_context
from harness.records.jobs import Try
from harness.records.power import (
    QUANTITIES,
    PowerTable,
    Quantity,
    Seen,
    Worth,
    power_path,
    read_power,
    write_power,
)
from harness.records.record import RUNGS, Record, write_record
from suites.commands import Command
from suites.selftest.verdicts import golden, loss, record

GRADED = Quantity("loss", "forward", "the loss", "of the value", 1e-9, 1)
FACTS = Facts("reference", "stand-in", "catalogue", "cpu-x", "stand-in", "qwen2_vl")
GOLDENS = (golden(1),)
FOR_CONTEXT: dict[str, Any] = {
    "stack": "another-stack",
    "model": "stand-in",
    "data": "catalogue",
    "snapshot": Path("nowhere"),
    "has_weights": True,
    "model_digest": "d",
    "vocabulary": "stand-in",
    "family": "qwen2_vl",
}


def searched(quantity: Quantity, threshold: float) -> tuple[Seen, list[float]]:
    """A search against a judge that reports every size from the threshold on."""
    search, sizes = Search(quantity, quantity.smallest), []
    while not search.is_done:
        sizes.append(search.next_size)
        search = search.after(sizes[-1], "forward.loss" if sizes[-1] >= threshold else "")
    return search.seen(red_without=False), sizes


@pytest.mark.parametrize("threshold", [3e-9, 1e-6, 2.5e-4, 0.9])
def test_the_smallest_reported_size_is_found_within_a_factor(threshold: float) -> None:
    seen, sizes = searched(GRADED, threshold)
    assert seen.reported is not None
    assert threshold <= seen.reported <= PRECISION * max(threshold, seen.unseen)
    assert seen.unseen < threshold
    # Both ends, then thirty halvings of nine decades, themselves halved.
    assert len(sizes) == seen.tries <= 8
    assert sizes[:2] == [GRADED.largest, GRADED.smallest]


def test_what_is_not_reported_at_all_is_said_so_after_one_try() -> None:
    seen, sizes = searched(GRADED, 10.0)
    assert (seen.reported, seen.unseen, sizes) == (None, 1.0, [1.0])


def test_what_is_reported_at_the_smallest_claims_no_size_that_was_not_tried() -> None:
    """An exact rung ends the search at once."""
    seen, sizes = searched(GRADED, 0.0)
    assert (seen.reported, seen.unseen) == (GRADED.smallest, 0.0)
    assert sizes == [GRADED.largest, GRADED.smallest]


@pytest.mark.parametrize(("threshold", "reported"), [(1.0, 1.0), (2.0, None)])
def test_what_has_no_sizes_is_tried_once(threshold: float, reported: float | None) -> None:
    seen, sizes = searched(Quantity("label", "labels", "one label", "label", 1, 1), threshold)
    assert (seen.reported, sizes) == (reported, [1])


def test_of_a_rung_that_is_red_without_a_fault_what_is_red_in_addition_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack whose changes nobody has listed is judged all the same, and says which it is."""

    def measure(context: object, tries: Sequence[Try], python: Path) -> None:
        for each in tries:
            values = {"known": 2, "loss": 2 if each.size else 1, "quiet": 1}
            metrics = [loss(value, name=name) for name, value in values.items()]
            write_record(record(each.rung, *metrics), each.out)

    monkeypatch.setattr(planting, "_measure", measure)
    goldens = tuple(replace(golden(1), metric=name) for name in ("known", "loss", "quiet"))
    seen, _ = planting.search(
        build_context(**FOR_CONTEXT, out=tmp_path),
        [GRADED, replace(GRADED, name="no size", largest=1e-9)],
        lambda records: judge(records, goldens, []),
        tmp_path,
        lambda line: None,
    )
    assert [(s.red_without, s.reported, s.finding) for s in seen] == [
        (True, 1e-9, "forward.loss"),
        (True, 1e-9, "forward.loss"),
    ]
    words = sentence(Worth(replace(table(), seen=(seen[0], seen[0]))), "cpu-x")
    assert words.count("by 1.0e-09 of the value") == 2
    # Said once, whatever the number of faults.
    assert words.count("red beside what is without a fault at forward.") == 1


def test_a_rung_that_was_not_looked_at_says_nothing() -> None:
    """In tables of before what is red without a fault ended the search."""
    seen = Search(GRADED, GRADED.smallest).seen(red_without=True)
    assert (seen.red_without, seen.reported, seen.tries) == (True, None, 0)
    assert "not run" in sentence(Worth(replace(table(), seen=(seen,))), "cpu-x")


def table() -> PowerTable:
    records = one_record()
    at = records["forward"].provenance
    seen = tuple(
        Seen(q.name, q.rung, 2.5e-6, 1.3e-6, "forward.loss", 6)
        for q in (sorted(QUANTITIES, key=lambda q: q.name != "loss"))
    )
    return PowerTable(
        at.stack,
        at.device_key,
        at.model,
        at.model_digest,
        facts_here().recipe,
        goldens_digest(GOLDENS, (), facts_here(), seen),
        "abc",
        "2026-11-29T20:00:00+00:00",
        seen,
        dict(at.versions),
    )


def one_record() -> Mapping[str, Record]:
    return {"forward": record("forward", loss(1), versions={"torch": "2"})}


def facts_here() -> Facts:
    return judge(one_record(), GOLDENS, []).facts


def test_a_table_is_kept_sealed_and_read_again(tmp_path: Path) -> None:
    path = power_path("cpu-x", "reference", tmp_path)
    write_power(table(), path)
    assert read_power(path) == table()
    path.write_text(path.read_text().replace("2.5e-06", "2.5e-09"))
    with pytest.raises(Damaged, match=str(path)):
        read_power(path)


def test_a_verdict_quotes_the_table_of_its_own_stack_device_model_and_recipe(
    tmp_path: Path,
) -> None:
    facts = facts_here()
    write_power(table(), power_path(facts.device_key, facts.stack, tmp_path))
    worth = worth_of(one_record(), GOLDENS, (), facts, tmp_path)
    assert worth == Worth(table(), ())
    assert "the loss by 2.5e-06 of the value" in sentence(worth, "cpu-x")
    assert "It cannot see here: CUDA, real weights, a tied model" in sentence(worth, "cpu-x")
    for other in ({"stack": "latest"}, {"device_key": "cpu-y"}, {"model": "o"}, {"recipe": "q"}):
        assert table_for(replace(facts, **other), tmp_path) is None
    assert "was not measured here" in sentence(Worth(), "cpu-x")


@pytest.mark.parametrize(
    ("device", "told"),
    [("cuda-nvidia-h200", "real weights, a tied model"), ("cpu-x", "CUDA, real weights, a tied")],
)
def test_a_verdict_on_a_gpu_does_not_say_that_it_sees_none(device: str, told: str) -> None:
    for worth in (Worth(), Worth(table())):
        for line in (sentence(worth, device), brief(worth, device)):
            assert f"It cannot see here: {told}" in line


def test_a_table_that_no_longer_holds_says_what_changed(tmp_path: Path) -> None:
    facts = facts_here()
    path = power_path(facts.device_key, facts.stack, tmp_path)
    changes = {
        "the planted faults": {"seen": table().seen[1:]},
        "the goldens": {"goldens": "other"},
        "the libraries": {"versions": {"torch": "1"}},
        "the model": {"model_digest": "other"},
    }
    for words, change in changes.items():
        write_power(replace(table(), **change), path)
        worth = worth_of(one_record(), GOLDENS, (), facts, tmp_path)
        assert worth.stale == (words,)
        assert sentence(worth, "cpu-x").startswith(f"STALE, {words} changed since")
    write_power(table(), path)
    assert worth_of(one_record(), (golden(2),), (), facts, tmp_path).stale == ("the goldens",)


def test_a_golden_that_has_come_since_takes_nothing_from_what_was_seen(tmp_path: Path) -> None:
    """It may see smaller faults too. Of one that nothing saw, nobody knows any longer."""
    facts = facts_here()
    path = power_path(facts.device_key, facts.stack, tmp_path)
    new = replace(golden(2), metric="loss_in_pieces"), replace(golden(2), rung="update")
    write_power(table(), path)
    assert worth_of(one_record(), (*GOLDENS, *new), (), facts, tmp_path).stale == ()
    first, *rest = table().seen
    blind = (replace(first, rung="update", reported=None, finding=""), *rest)
    at = goldens_digest(GOLDENS, (), facts, blind)
    write_power(replace(table(), seen=blind, goldens=at), path)
    assert worth_of(one_record(), (*GOLDENS, new[0]), (), facts, tmp_path).stale == ()
    stale = worth_of(one_record(), (*GOLDENS, *new), (), facts, tmp_path).stale
    assert stale == ("the goldens",)


def test_the_terminal_says_it_in_a_line_and_the_page_folds_the_sizes() -> None:
    first, *rest = table().seen
    worth = Worth(replace(table(), seen=(replace(first, reported=None, unseen=1.0), *rest)))
    judgement = replace(judge(one_record(), GOLDENS, []), worth=worth)
    out = io.StringIO()
    terminal(judgement, Console(file=out, width=3000))
    assert sentence(worth, "cpu-x") in out.getvalue()
    page = verdict_banner(judgement)
    line, folded = page[page.index("</ul>") :].split("<details", 1)
    count = len(QUANTITIES)
    seen = f"{count - 1} of {count} faults planted on 2026-11-29 would have been seen"
    assert f"{seen}; the loss: NOT even 1" in line
    assert "It cannot see here: CUDA" in line
    assert "by 2.5e-06" not in line
    assert folded.count("<li>") == len({quantity.rung for quantity in QUANTITIES})
    assert "the gradient by 2.5e-06 of the value" in folded
    # What is old is not folded away.
    old = verdict_banner(replace(judgement, worth=replace(worth, stale=("the goldens",))))
    assert "STALE, the goldens changed since" in old.split("<details", 1)[0]
    # Where nothing was looked up nothing is claimed.
    assert "seen" not in verdict_banner(replace(judgement, worth=None))
    assert "<details" not in verdict_banner(replace(judgement, worth=Worth()))


def test_every_rung_that_looks_at_the_training_has_a_quantity() -> None:
    assert {q.rung for q in QUANTITIES} == set(RUNGS[2:])
    assert len({q.name for q in QUANTITIES}) == len(QUANTITIES)


def test_a_rung_without_faults_is_refused(harness: Command) -> None:
    assert harness("power", "interface").code == 2


def test_a_table_of_some_rungs_says_which_it_lacks_and_holds(tmp_path: Path) -> None:
    facts = facts_here()
    late = ("trajectory", "generation")
    part = replace(table(), seen=tuple(s for s in table().seen if s.rung not in late))
    write_power(part, power_path(facts.device_key, facts.stack, tmp_path))
    worth = worth_of(one_record(), GOLDENS, (), facts, tmp_path)
    assert worth == Worth(part, ())
    assert "; nothing was planted at trajectory, generation." in sentence(worth, "cpu-x")
    assert "nothing was planted" not in sentence(Worth(table()), "cpu-x")
    # Of the rungs that it has it has every fault.
    lost = replace(part, seen=tuple(s for s in part.seen if s.quantity != "lora"))
    write_power(lost, power_path(facts.device_key, facts.stack, tmp_path))
    worth = worth_of(one_record(), GOLDENS, (), facts, tmp_path)
    assert worth.stale == ("the planted faults",)


def test_a_table_is_not_replaced_by_one_of_fewer_rungs(tmp_path: Path) -> None:
    kept = power_path("cpu-y", "reference", tmp_path)
    write_power(table(), kept)
    refuse_fewer("reference", QUANTITIES, tmp_path)
    refuse_fewer("latest", QUANTITIES[:1], tmp_path)
    with pytest.raises(BadInput, match=f"{kept} tells of .*leave --write or RUNG out"):
        refuse_fewer("reference", QUANTITIES[:-1], tmp_path)


def test_a_search_goes_on_where_it_was_interrupted_and_nowhere_else(
    harness: Command, tmp_path: Path
) -> None:
    """What is there is not begun again, what is not there cannot go on."""
    (tmp_path / "nothing").mkdir()
    ended = harness("power", "text", "--resume", str(tmp_path / "nothing"))
    assert (ended.code, "start a new search" in ended.sentence) == (2, True)
    context = build_context(**FOR_CONTEXT, out=tmp_path / "begun")
    write_context(context)
    ended = harness("power", "text", "--out", str(context.out))
    assert (ended.code, "give --resume" in ended.sentence) == (2, True)
    ended = harness("power", "text", "--resume", str(context.out))
    assert (ended.code, "was begun with another-stack" in ended.sentence) == (2, True)


def test_only_what_has_no_record_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted search asks the same sizes again, whose records are there."""
    context = build_context(**FOR_CONTEXT, out=tmp_path)
    quantities = [Quantity(rung, rung, "", "", 1, 1) for rung in ("labels", "forward")]
    measured: list[str] = []

    def measure(context: object, tries: Sequence[Try], python: Path) -> None:
        for each in tries:
            if len(measured) == 3:
                measured.append("interrupted")
                raise KeyboardInterrupt
            measured.append(f"{each.out.relative_to(tmp_path)}")
            write_record(record(each.rung), each.out)

    monkeypatch.setattr(planting, "_measure", measure)

    def searched() -> tuple[Seen, ...]:
        return planting.search(
            context, quantities, lambda r: judge(r, [], []), tmp_path, lambda line: None
        )[0]

    with pytest.raises(KeyboardInterrupt):
        searched()
    assert [seen.tries for seen in searched()] == [1, 1]
    assert measured == [
        "plain/labels",
        "plain/forward",
        "round-01/labels",
        "interrupted",
        "round-01/forward",
    ]


def test_a_training_that_no_fault_changes_is_taken_from_the_plain_one(tmp_path: Path) -> None:
    """Half a minute a size: only what changes the training trains again."""
    plain = tmp_path / "plain" / "trajectory" / "training"
    taken = {
        q.name: planting.attempt(tmp_path, "round-01", q.rung, q, q.largest).training
        for q in QUANTITIES
    }
    wanted = {"loaded adapter", "merged adapter", "text token", "text adapter"}
    assert {name for name, training in taken.items() if training is not None} == wanted
    assert {taken[name] for name in wanted} == {plain}
    assert planting.attempt(tmp_path, "plain", "trajectory").training is None
    assert planting.attempt(tmp_path, "plain", "generation").training == plain


def test_a_malformed_table_names_its_file(tmp_path: Path) -> None:
    path = power_path("cpu-x", "reference", tmp_path)
    write_power(replace(table(), schema=9), path)
    with pytest.raises(BadInput, match=str(path)):
        read_power(path)
