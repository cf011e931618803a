"""golden/families/README.md is what the kept rows say; each is of a family that is here."""

from __future__ import annotations

from harness.measuring.models import families
from suites.write_families import SHOWN, path_of, rows, table


def test_the_table_is_what_the_rows_say() -> None:
    kept = [*rows()]
    assert kept
    assert (SHOWN / "README.md").read_text("utf-8") == table(kept)
    assert [path_of(row) for row in kept] == sorted(SHOWN.glob("*.json"))


def test_a_row_is_of_a_family_that_is_here_and_hides_nothing() -> None:
    for row in rows():
        assert row.family in families()
        assert row.judged.keys() == row.known.keys() == row.unexpected.keys()
        assert row.judged["forward"], row.model
