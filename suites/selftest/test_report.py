"""The report on synthetic records: structure, hostile texts, partial runs, contrast, sameness."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from harness.commands._verdict import judged_folder
from harness.errors import BadInput
from harness.judging.goldens.verdicts import judge
from harness.judging.report.html.document import stylesheet
from harness.judging.report.run.page import render
from harness.records.audit import audit_path
from harness.records.record import write_record
from suites.selftest.report_run import (
    EXPECTED,
    GOLDENS,
    Page,
    judgement_of,
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


def test_the_verdict_comes_first_and_names_its_sources(folder: Path, page: Page) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    title = text.split("<title>")[1].split("</title>")[0]
    for part in ("stand-in", "catalogue", "reference", "2 unexpected findings"):
        assert part in title
    first = text.index("<h1>")
    assert first < text.index('id="findings"')
    assert "model stand-in, data catalogue" in text[first : first + 600]
    assert [e for e, _ in page.elements].count("h1") == 1


def test_an_audit_s_records_are_not_judged_as_the_recipe_s(folder: Path) -> None:
    """They lie in a folder like a run's; somebody's own learning rate is no finding."""
    assert judged_folder(folder)
    audit_path(folder).write_text("{}", encoding="utf-8")
    with pytest.raises(BadInput, match="holds an audit of somebody's training"):
        judged_folder(folder)


def test_known_findings_and_missing_ones_never_read_all_green(tmp_path: Path) -> None:
    some = {r: v for r, v in records().items() if r in {"interface", "text"}}
    some["text"] = record("text", some["text"].metrics[0])
    for each in some.values():
        write_record(each, tmp_path)
    judgement = judge(some, GOLDENS[:1], EXPECTED)
    assert judgement.exit_code == 0
    seen = shown(parsed(render(tmp_path, some, judgement, tmp_path / "r.html")))
    assert "all green" not in seen.lower()
    assert "As expected, with 2 known findings" in seen
    without = judge({"text": some["text"]}, GOLDENS[:1], [])
    assert "All green" in shown(parsed(render(tmp_path, some, without, tmp_path / "r.html")))


def test_ids_are_unique_and_links_arrive(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    for _, attributes in page.elements:
        if (target := attributes.get("href")) is not None:
            assert target.startswith("#")
            assert target[1:] in page.ids
        for name in ("aria-labelledby", "aria-describedby"):
            for one in (attributes.get(name) or "").split():
                assert one in page.ids


def test_it_loads_and_runs_nothing(folder: Path, page: Page) -> None:
    names = {element for element, _ in page.elements}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base", "video"}
    for element, attributes in page.elements:
        assert not [a for a in attributes if a.startswith("on")], element
        assert not {"srcset", "background", "action", "poster", "data"} & set(attributes)
        source = attributes.get("src")
        assert source is None or source.startswith("data:image/png;base64,")
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "url(" not in text
    assert "@import" not in stylesheet()
    policy = next(a["content"] for _, a in page.elements if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_a_keyboard_and_a_screen_reader_find_their_way(page: Page) -> None:
    names = [element for element, _ in page.elements]
    for landmark in ("header", "nav", "main", "footer"):
        assert landmark in names
    assert "lang" in page.elements[0][1]
    first_link = next(a for e, a in page.elements if e == "a")
    assert first_link["href"] == "#main"
    levels = [int(e[1]) for e in names if re.fullmatch("h[1-6]", e)]
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert names.count("table") == names.count("caption")
    for element, attributes in page.elements:
        if element == "th":
            assert attributes.get("scope") in {"row", "col"}
        if element == "img":
            assert attributes.get("alt")
        if element == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("role") == "img"
        if attributes.get("class") == "scroll":
            assert attributes.get("tabindex") == "0"
            assert attributes.get("aria-label")
    assert names.count("section") == sum(
        e == "section" and bool(a.get("aria-labelledby")) for e, a in page.elements
    )


def test_every_part_shows_its_content(page: Page) -> None:
    seen = shown(page)
    for part in (
        "ModuleNotFoundError: No module named 'rich'",
        "70 points from 3.2 at step 1",
        "emulated",
        "predicted",
        "<|image_pad|> × 64",
        "+0.310 (+0.250 to +0.370), above zero",
        "Grounding lost with another product's picture",
        "0.125",
        "The first 2 of 2 held-out products",
        "harness run --stack reference --model stand-in --data catalogue",
        "git checkout 0123456789ab",
        "trl 0.11.1",
    ):
        assert part in seen, part
    marks = [e for e, _ in page.elements]
    assert "ins" in marks
    assert "del" in marks
