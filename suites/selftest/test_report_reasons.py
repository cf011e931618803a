"""What a report says of known findings, of other devices and of what was not run."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli import main
from harness.judging.goldens.expected import Expected
from harness.judging.goldens.golden import Band, BandKind
from harness.judging.goldens.verdicts import judge
from harness.judging.report.html.values import effect, text_of
from harness.judging.report.run.findings import findings
from harness.judging.report.run.page import render
from harness.judging.report.run.terminal import terminal
from harness.recipe.published import variant
from harness.records.files import write_json
from harness.records.recipes import recipe_digest
from harness.records.record import Metric, Status, write_record
from harness.records.seals import seal
from harness.records.typed import Json
from suites.selftest.report_run import (
    EXPECTED,
    GOLDENS,
    PROVENANCE,
    Page,
    golden,
    judgement_of,
    metric,
    parsed,
    record,
    records,
    shown,
    write_run,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "20260102-abc")


@pytest.fixture
def page(folder: Path) -> Page:
    return parsed(render(folder, records(), judgement_of(records()), folder / "report.html"))


def test_a_known_finding_says_why_it_is_known() -> None:
    measured = records()
    note = metric("forward", "pad_gap", 3e-7, note="one batch padded left")
    measured["forward"] = record("forward", note)
    wish = Expected("forward.pad_gap", "CHANGED", "upstream sums in another order")
    judgement = judge(measured, GOLDENS, (*EXPECTED, wish))
    seen = findings(judgement, {wish.finding: wish.reason})
    assert "one batch padded left" in seen
    assert "upstream sums in another order" in seen


def test_reasons_of_several_known_findings_stand_apart() -> None:
    measured = records()
    gaps = [metric("forward", "pad_gap", 3e-7, case, note=case) for case in ("left", "right")]
    measured["forward"] = record("forward", *gaps)
    wanted = golden("forward", "pad_gap", 0)
    wanted = replace(wanted, cases={"left": 0, "right": 0})
    wishes = [
        Expected(f"forward.pad_gap.{case}", "CHANGED", f"the {case} is cut off")
        for case in ("left", "right")
    ]
    judgement = judge(measured, [wanted], (*EXPECTED, *wishes))
    seen = findings(judgement, {w.finding: w.reason for w in wishes})
    assert "the left is cut off; the right is cut off" in seen
    # What is to be done about known ones is said once, not on every card.
    assert seen.count("golden/expected/reference.json") == 1


def test_numbers_that_another_device_has_are_one_card_with_one_command() -> None:
    seen = [
        replace(
            golden("forward", name, 1.0),
            kind="observed",
            device_key="cpu-other",
            stack=PROVENANCE.stack,
            model=PROVENANCE.model,
            required=False,
        )
        for name in ("loss_share", "layer_norm")
    ]
    judgement = judge(records(), [*GOLDENS, *seen], EXPECTED)
    page = findings(judgement, {})
    command = "harness golden calibrate forward.layer_norm forward.loss_share --stack reference"
    assert page.count("harness golden calibrate") == 1
    assert command in page
    assert "no number was observed on" in page
    assert "harness probe forward" not in page.split("Not run (")[1].split("no number")[1]
    out = io.StringIO()
    terminal(judgement, Console(file=out, width=300))
    assert out.getvalue().count("harness golden calibrate") == 1
    assert f"2 observed values that this device has none of yet: {command}" in out.getvalue()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ([-0.00334810511519974, 0.0, 12], "[-0.00334811, 0, 12]"),
        ([[1, 2], [0.1234567891]], "[[1, 2], [0.123457]]"),
        (["a", True, None], '["a", true, null]'),
    ],
)
def test_numbers_in_lists_are_rounded_like_others(value: Json, shown: str) -> None:
    assert text_of(value) == shown


def test_an_effect_of_many_times_is_no_per_cent() -> None:
    band = Band(BandKind.ABSOLUTE, 0.05, "rounding")
    for now, in_words in ((1.5, "(+50.000%)"), (285_002.0, "(×285,002)")):
        measured = {**records(), "forward": record("forward", metric("forward", "loss", now))}
        judgement = judge(measured, [golden("forward", "loss", 1.0, band=band)], EXPECTED)
        (item,) = [i for i in judgement.items if i.finding == "forward.loss"]
        assert in_words in effect(item)


def test_a_lone_surrogate_in_a_file_is_shown_as_a_replacement(folder: Path) -> None:
    path = folder / "work/generation/generations.json"
    raw = path.read_text(encoding="utf-8").replace("Meet the mug.", "Meet \\ud800 mug.")
    path.write_text(raw, encoding="utf-8")
    assert "Meet � mug." in shown(
        parsed(render(folder, records(), judgement_of(records()), folder / "r.html"))
    )


def test_options_that_were_given_are_repeated(folder: Path) -> None:
    write_json(folder / "run.json", {"context": {"scale": {"max_steps": 12, "full": False}}})
    masked = replace(PROVENANCE, recipe=recipe_digest(variant("mask-prompt")))
    measured = {rung: replace(r, provenance=masked) for rung, r in records().items()}
    for one in measured.values():
        write_record(one, folder)
    seen = shown(parsed(render(folder, measured, judgement_of(measured), folder / "r.html")))
    assert "--data catalogue --max-steps 12 --recipe mask-prompt --device cpu --threads" in seen
    assert "data catalogue, recipe mask-prompt: " in seen
    assert "harness probe forward --recipe mask-prompt" in seen


def test_incomplete_files_give_reasons_not_errors(folder: Path) -> None:
    write_json(folder / "work/generation/generations.json", {"schema": 1, "products": [{}]})
    write_json(folder / "training/run.json", {"curve": [{"step": 1}]})
    seal(folder / "training", ["run.json"])
    seen = shown(parsed(render(folder, records(), judgement_of(records()), folder / "r.html")))
    assert "generations.json is not complete" in seen
    assert "training/run.json is not complete" in seen


def test_huge_texts_keep_the_page_small(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "big", "word " * 40_000)
    out = render(folder, records(), judgement_of(records()), folder / "report.html")
    assert out.stat().st_size < 1_500_000
    assert "more characters" in out.read_text(encoding="utf-8") or "characters)" in shown(
        parsed(out)
    )


def test_a_partial_run_says_what_was_not_run_and_why(tmp_path: Path) -> None:
    only = {"text": records()["text"]}
    write_record(only["text"], tmp_path)
    seen = shown(parsed(render(tmp_path, only, judge(only, GOLDENS[:1], []), tmp_path / "r.html")))
    assert "The rung trajectory has no record in this run." in seen
    assert "The rung generation has no record in this run." in seen
    assert seen.count("not run") > 8


def test_no_weights_gives_the_probes_own_reason(tmp_path: Path) -> None:
    why = "the snapshot has no weights"
    measured = {
        "generation": record(
            "generation", Metric("generation", "rouge_l", status=Status.NOT_RUN, reason=why)
        )
    }
    write_record(measured["generation"], tmp_path)
    assert why in shown(
        parsed(render(tmp_path, measured, judge(measured, [], []), tmp_path / "r.html"))
    )


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []
