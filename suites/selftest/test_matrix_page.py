"""The page of a matrix: every cell in its place, every link with a target, the same as Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.judging.matrix.kept import State
from harness.judging.report.ci.outcomes import State as Judged
from harness.judging.report.html.markup import tag
from harness.judging.report.matrix.cards import bisect_command, card
from harness.judging.report.matrix.markdown import markdown, row_details
from harness.judging.report.matrix.names import against_truth, column_names, stack_names
from harness.judging.report.matrix.page import matrix_page, write_matrix
from harness.judging.report.matrix.verdicts import of_matrix
from suites.selftest.matrices import FAMILIES, MINORS, entry, matrix, moved, wrong


class _Grid(HTMLParser):
    """The words of every cell of the matrix, the ids and the links of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            assert given["id"] not in self.ids, given["id"]
            self.ids.add(given["id"] or "")
        if given.get("href"):
            self.links.append(given["href"] or "")
        if tag == "table":
            self._inside = given.get("class") == "cells"
        if self._inside and tag == "tr":
            self.rows.append([])
        if self._inside and tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_stacks_are_across_and_families_down() -> None:
    table = matrix()
    grid = _Grid(matrix_page(table))
    assert grid.rows[0] == ["Family", *MINORS]
    assert [row[0] for row in grid.rows[1:]] == list(FAMILIES)
    assert {len(row) for row in grid.rows} == {26}
    shown = {
        (f, v): grid.rows[1 + j][1 + i]
        for i, v in enumerate(MINORS)
        for j, f in enumerate(FAMILIES)
    }
    for (family, version), text in shown.items():
        number = MINORS.index(version) * len(FAMILIES) + FAMILIES.index(family)
        if number % 13 == 6:
            assert text == "○ does not run"
        elif number == 40:
            assert text == "✗ died"
        else:
            # The wrong positions are listed in every second one: then the loss is where to look.
            where = "✗ forward" if number % 2 == 0 else "✗ inputs +1"
            assert text.startswith(where if number % 11 == 3 else "✓ right")
            moves = number % 7 == 2 and version != MINORS[0]
            left = "" if version == MINORS[0] else "≠ forward" if moves else "= same"
            assert text.endswith(left)


def test_every_link_has_a_target_and_outside_text_is_text() -> None:
    page = matrix_page(matrix())
    grid = _Grid(page)
    assert len(grid.links) > 175
    assert {link[1:] for link in grid.links if link.startswith("#")} <= grid.ids
    assert all(link.startswith("#") for link in grid.links)
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page


def test_a_comparison_is_one_link_away(tmp_path: Path) -> None:
    table = matrix(MINORS[:2])
    mover = next(cell for cell in table.cells if cell.moved)
    cells = tuple(
        type(cell)(**{**vars(cell), "page": f"pages/{cell.key}.html"}) if cell is mover else cell
        for cell in table.cells
    )
    page = write_matrix(type(table)(**{**vars(table), "cells": cells}), tmp_path)
    assert f"pages/{mover.key}.html" in _Grid(page.read_text()).links
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "matrix.json", "matrix.md"}


@pytest.mark.parametrize(
    "link", ["https://x/a.html", "/a.html", "../a.html", "pages/../a.html", "a.html"]
)
def test_no_link_leads_elsewhere(link: str) -> None:
    with pytest.raises(ValueError, match="href"):
        tag("a", "x", href=link)
    assert 'href="pages/0a-b.html"' in tag("a", "x", href="pages/0a-b.html")


def test_markdown_says_the_same() -> None:
    table = matrix()
    text = markdown(table)
    lines = [line for line in text.split("\n\n")[2].splitlines() if line.startswith("| ")]
    head, *rows = [[w.strip().replace("&#95;", "_") for w in _split(line)] for line in lines]
    # Many stacks go down: that many columns are no table on any screen.
    assert head == ["transformers", *FAMILIES]
    assert [row[0] for row in rows] == list(MINORS)
    grid = _Grid(matrix_page(table)).rows[1:]
    for i, row in enumerate(rows, 1):
        shown = [family[i].replace(" ", "") for family in grid]
        assert [word.replace(" ", "") for word in row[1:]] == shown
    few = markdown(matrix(MINORS[:3]))
    assert f"\n| | {' | '.join(f'transformers {version}' for version in MINORS[:3])} |\n" in few
    assert "&#60;b&#62;" in text
    assert not re.search(r"[^\\]<b>", text)


def _split(line: str) -> list[str]:
    return line.strip("|").split("|")


def test_a_row_is_told_by_what_is_wrong_and_on_which_stacks() -> None:
    """Not cell by cell: what lasts for twenty releases is one line."""
    labels = [f"latest,transformers=={v}" for v in ("5.0", "5.1", "5.2", "5.3")]
    cells = [replace(entry(label, "qwen2_vl", 0, ""), key=label) for label in labels]
    lasting, listed = wrong("inputs"), wrong("forward", known=True, name="side_gap.left")
    cells[0] = replace(cells[0], wrong=(lasting,))
    cells[1] = replace(cells[1], wrong=(lasting, listed))
    # Of one metric, on the same stacks, for the same reason: one line.
    cells[3] = replace(cells[3], wrong=(wrong("images", name="tokens.a"),))
    cells[3] = replace(cells[3], wrong=(lasting, *cells[3].wrong, wrong("images", name="tokens.b")))
    unknown, known = moved("forward"), moved("inputs", "positions-mended")
    cells[2] = replace(cells[2], left=labels[1], moved=(known, unknown, unknown))
    table = replace(matrix(), stacks=tuple(labels), models=("tiny:qwen2_vl",), cells=tuple(cells))
    whole = "\n".join(row_details(table.rows[0], table))
    tables = [line for line in whole.splitlines() if line.startswith("| ")]
    assert tables[1].startswith("| `images.tokens.a` and 1 more | 5.3 |")
    assert tables[2] == (
        "| `inputs.positions.left` | 5.0 to 5.1, 5.3 | &#91;0, 0, 1&#93; | &#91;0, 1, 2&#93; "
        "| M-RoPE counts. |"
    )
    assert any(line.startswith("| `forward.side_gap.left` | 5.1 |") for line in tables[3:])
    assert "- 5.1 → 5.2: `forward.plain_loss` (2), no known change" in whole
    assert "- 5.1 → 5.2: 1 by `positions-mended`\n" in whole


def test_a_card_shows_what_is_unknown_and_counts_what_is_known() -> None:
    cell = replace(entry("latest", "qwen2_vl", 0, ""), left="reference")
    listed = tuple(wrong("images", known=True, name=f"levels.{i}") for i in range(30))
    changed = tuple(replace(moved("inputs", "mended"), finding=f"inputs.a.{i}") for i in range(9))
    cell = replace(cell, wrong=(*listed, wrong("inputs")), moved=(*changed, moved("forward")))
    shown = str(card(cell, None, matrix()))
    assert "images.levels (30)" in shown
    assert "images.levels.0" not in shown
    assert "inputs.positions.left" in shown
    assert "mended (9)" in shown
    assert "inputs.a.0" not in shown
    assert "forward.plain_loss.none" in shown


def test_what_is_only_listed_is_not_crossed_out() -> None:
    cell = entry("latest", "qwen2_vl", 0, "")
    listed = replace(cell, wrong=(wrong("inputs", known=True), wrong("forward", known=True)))
    assert (against_truth(listed).symbol, against_truth(listed).word) == ("◐", "inputs +1")
    both = replace(cell, wrong=(wrong("inputs", known=True), wrong("forward")))
    assert (against_truth(both).symbol, against_truth(both).word) == ("✗", "forward")


def test_stacks_are_called_by_what_tells_them_apart() -> None:
    varied = ["latest,trl==1.0", "latest,trl==1.1,peft==2"]
    assert list(stack_names(varied).values()) == ["trl 1.0", "trl 1.1"]
    same = ["latest,trl==1.0,peft==1", "latest,trl==1.0,peft==2"]
    assert list(stack_names(same).values()) == ["trl 1.0,peft 1", "trl 1.0,peft 2"]
    plain = ["reference", "transformers-4.49.0", "latest"]
    assert list(stack_names(plain).values()) == plain
    assert column_names(plain) == ("", plain)
    assert column_names(["reference", "x-4.9.0", "x 5.0"]) == ("x", ["reference", "4.9.0", "5.0"])


def test_other_tools_read_a_line_a_cell() -> None:
    table = matrix()
    verdicts = of_matrix(table)
    assert len(verdicts.outcomes) == len(table.cells)
    by_state = {state: len(verdicts.of(state)) for state in Judged}
    missing = sum(cell.state is State.NOT_RUN for cell in table.cells)
    failed = sum(bool(cell.wrong or cell.moved) for cell in table.cells)
    assert by_state[Judged.SKIPPED] == missing
    assert by_state[Judged.FAILED] == failed
    assert by_state[Judged.LOST] == 1  # the one that died
    assert by_state[Judged.PASSED] == len(table.cells) - missing - failed - 1
    nowhere = replace(table, cells=tuple(c for c in table.cells if c.state is State.NOT_RUN))
    assert [o.state for o in of_matrix(nowhere).outcomes].count(Judged.LOST) == 1


def test_a_release_is_looked_for_where_one_library_differs() -> None:
    table = matrix()
    cells = {cell.key: cell for cell in table.cells}
    mover = next(c for c in cells.values() if c.moved and not c.moved[0].changes)
    left = next(c for c in cells.values() if (c.stack, c.model) == (mover.left, mover.model))
    old, new = left.versions["transformers"], mover.versions["transformers"]
    assert bisect_command(mover, left) == (
        f"harness bisect transformers --good {old} --bad {new} --base reference "
        f"--model {mover.model} --metric forward.plain_loss"
    )
    along = replace(mover, versions={**mover.versions, "tokenizers": "9.9"})
    assert bisect_command(along, left) == bisect_command(mover, left)
    two = replace(mover, versions={**mover.versions, "trl": "1.0"})
    assert bisect_command(two, left) == ""
    known = replace(mover, moved=tuple(replace(m, changes=("x",)) for m in mover.moved))
    assert bisect_command(known, left) == ""
