"""Two folders of records and the command that compares them."""

from __future__ import annotations

from pathlib import Path

from harness.cli import main
from harness.records.failure import Failure
from harness.records.files import read_json, write_json
from harness.records.record import Metric, Provenance, Record, Status, write_record


def records(folder: Path, value: float, *, device: str = "cpu-x", schema: int = 1) -> Path:
    place = Provenance(
        "reference",
        "stand-in",
        "catalogue",
        device,
        "r",
        "s",
        {"torch": "2"},
        vocabulary="stand-in",
        family="qwen2_vl",
    )
    metrics = (
        Metric("forward", "trained_tokens", "left", value),
        Metric("forward", "odd", status=Status.BROKEN, failure=Failure("E", "<b>&", "x:1"))
        if value < 0
        else Metric("forward", "odd", value="<script>"),
    )
    path = write_record(Record("forward", place, metrics, 1.0), folder)
    if schema != 1:
        raw = read_json(path)
        write_json(path, {**raw, "schema": schema})
    return folder


def compare(tmp_path: Path, *words: str) -> int:
    out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
    return main(["compare", *words, "--out", str(out)])
