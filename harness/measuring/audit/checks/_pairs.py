"""Pairs of answers, taken apart: of each the chosen one's row and the rejected one's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.measuring.audit.contents import text_of
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.rows import Row, pairs_of
from harness.measuring.audit.training import Training
from harness.records.audit import Basis


def answers_of_pairs(training: Training, findings: Findings) -> None:
    """Each row says its own answer and not the other one, and the two differ."""
    pairs = list(pairs_of(training))
    known = [pair for pair in pairs if all(_answer(row) for row in pair)]
    if known:
        rows = [pair for one, other in known for pair in ((one, other), (other, one))]
        exchanged = [row for row, other in rows if _says_the_others(row, other)]
        _put(findings, "answers_exchanged", exchanged, "rows")
    else:
        findings.not_run(
            "answers_exchanged",
            "The dataset's rows hold no texts of both answers: which row is whose is not known.",
        )
    _put(findings, "answers_alike", [one for one, other in pairs if one.ids == other.ids], "pairs")


def _put(findings: Findings, name: str, rows: Sequence[Row], unit: str) -> None:
    findings.put(
        name,
        len(rows),
        0,
        unit=unit,
        basis=Basis.IDENTITY,
        evidence=[row.name for row in rows],
        setting="data_collator",
    )


def _answer(row: Row) -> str:
    """The text of the answer that a row should have; '' where it is not known."""
    value = row.feature.get("completion") if isinstance(row.feature, Mapping) else None
    if isinstance(value, str):
        return value.strip()
    turns = value if isinstance(value, list) else []
    return "".join(text_of(turn) for turn in turns if isinstance(turn, Mapping)).strip()


def _says_the_others(row: Row, other: Row) -> bool:
    """Whether a row scores the other row's answer and not its own."""
    scored = "".join(text for i, text in enumerate(row.texts) if row.is_trained(i))
    return _answer(other) in scored and _answer(row) not in scored
