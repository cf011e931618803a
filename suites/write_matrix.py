"""Write the committed matrix: `python -m suites.write_matrix [FOLDER]`.

FOLDER: of a `harness matrix golden/matrix/matrix.toml`; its document, sealed, becomes
golden/matrix/matrix.json. Without one only the README beside it is written anew.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.judging.matrix.table import Table, read_table, write_table
from harness.judging.report.matrix.markdown import markdown
from harness.records.folders import GOLDEN

SHOWN = GOLDEN / "matrix"
HEAD = """\
# Which releases train which family

Written by `python -m suites.write_matrix` from the records of `harness matrix
golden/matrix/matrix.toml` on tiny models with random weights; a test keeps it so. *As listed*:
wrong only as `golden/expected/` lists it, with its reason. What is not in the table is
*not run*: {lacking}.

"""
# What the table is to have in the end.
WHOLE = (
    "families gemma3, gemma4, qwen2_5_vl, qwen3_5, qwen3_vl; rungs 8-10; every other release of "
    "transformers; boundaries between the columns are not bisected"
)


def page(table: Table) -> str:
    """The README."""
    return HEAD.format(lacking=WHOLE) + markdown(table)


def main(words: Sequence[str]) -> int:
    """Write the document where there is a new one, and the README."""
    if words:
        table = read_table(Path(words[0]))
        # The pages of comparisons are not committed.
        cells = tuple(replace(cell, page="") for cell in table.cells)
        write_table(replace(table, cells=cells), SHOWN)
    (SHOWN / "README.md").write_text(page(read_table(SHOWN)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
