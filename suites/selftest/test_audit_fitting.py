"""Which measured way fits an audited training's card: looked up among the committed records."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from harness.judging.audit.judge import judge
from harness.judging.report.audit.fitting import fitting
from harness.judging.report.audit.page import page_of
from harness.judging.report.audit.terminal import terminal
from harness.records.audit import Audit, Check, ComponentRow, Relation, RungChecks
from harness.records.record import Status
from suites.selftest.test_audit_judge import audit_of

# Of the 7B in four bits, by the footprint's formula; what is beside the weights does not count.
WEIGHTS = 5_898_851_352
GB = 10**9


def audited(
    *,
    memory: int,
    rows: int,
    places: int,
    weights: int = WEIGHTS,
    device: str = "cuda-nvidia-h200",
    tried: Status = Status.OK,
) -> Audit:
    card = {"device": device, "bytes": memory, "rows": rows, "places": places}
    stored = {
        "language": weights - 10**9,
        "tower": 10**9,
        "adapter": 10**7,
        "optimizer": 9 * 10**9,
    }
    return audit_of(
        Check("cost", "card", value=card, relation=Relation.RECORDED),
        Check("cost", "held_bytes", value=stored, relation=Relation.RECORDED),
        Check("cost", "safe_ways", value={}, relation=Relation.RECORDED, status=tried),
    )


def of_another_family() -> Audit:
    audit = audited(memory=140 * GB, rows=4, places=800)
    return replace(audit, opened=replace(audit.opened, model_type="qwen2_5_vl"))


@pytest.mark.parametrize(
    ("memory", "rows", "places", "way"),
    [
        # Taken at most, loading included, and times the published step of the same run. At 4 × 829
        # tokens unpacked_kept 30.9 GB, 2.24; packed_kept 21.1 GB, 2.17, more samples a second in a
        # run whose published step was faster too; packed_checkpointed 10.4 GB, 1.55;
        # packed_kept_by_2 13.6 GB, 1.28. At one sample of 824 tokens packed_kept 10.5 GB, 2.49.
        # unpacked_unmasked is faster and asks for another collator; packed_checkpointed_cached
        # (10.4 GB, 1.80) takes more the more pictures there are.
        (140 * GB, 4, 800, "unpacked_kept"),
        (24 * GB, 4, 800, "packed_kept"),
        (16 * GB, 4, 800, "packed_checkpointed"),
        (24 * GB, 1, 800, "packed_kept"),
        (24 * GB, 2, 800, "packed_kept"),
    ],
)
def test_the_fastest_safe_way_whose_measured_memory_fits_is_named(
    memory: int, rows: int, places: int, way: str
) -> None:
    fit = fitting(audited(memory=memory, rows=rows, places=places))
    assert fit is not None
    assert fit.way == way
    assert fit.taken <= memory
    assert fit.rows >= rows
    assert fit.tokens >= places


@pytest.mark.parametrize(
    "audit",
    [
        audited(memory=9 * GB, rows=1, places=800),  # nothing takes so little
        audited(memory=140 * GB, rows=8, places=800),  # no micro-batch so large was measured
        audited(memory=140 * GB, rows=4, places=1400),
        audited(memory=140 * GB, rows=4, places=800, weights=2 * WEIGHTS),  # another model
        audited(memory=140 * GB, rows=4, places=800, device="cuda-nvidia-l4"),
        # No LoRA, or other weights than 4-bit ones.
        audited(memory=140 * GB, rows=4, places=800, tried=Status.NOT_RUN),
        of_another_family(),
        audit_of(Check("cost", "held_bytes", value={"language": WEIGHTS})),  # on a CPU
    ],
)
def test_nothing_is_named_where_nothing_like_it_was_measured(audit: Audit) -> None:
    assert fitting(audit) is None


def test_the_page_and_the_terminal_name_it() -> None:
    audit = audited(memory=140 * GB, rows=4, places=800)
    row = ComponentRow("language", 10, 1, 10, {"nf4": 10}, {"bfloat16": 1}, 2, 1)
    rungs = (RungChecks("model", (), components=(row,)), *audit.rungs)
    audit = replace(audit, rungs=rungs)
    console = Console(width=400, record=True)
    terminal(audit, judge(audit), console)
    for text in (str(page_of(audit, judge(audit))), console.export_text()):
        assert "Fastest measured way that fits your card" in text
        assert "unpacked_kept" in text
        assert "15.9 samples/s and 30.9 GB for micro-batches of 4 × 829 tokens" in text
