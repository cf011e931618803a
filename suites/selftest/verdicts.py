"""A record, a golden and the verdict of one metric."""

from __future__ import annotations

from dataclasses import replace

from harness.judging.goldens.golden import Band, Golden
from harness.judging.goldens.verdicts import judge
from harness.records.record import Metric, Provenance, Record, Verdict
from harness.records.typed import Json


def record(rung: str, *metrics: Metric, **changes: object) -> Record:
    provenance = Provenance(
        "reference",
        "stand-in",
        "catalogue",
        "cpu-x",
        "r",
        "s",
        vocabulary="stand-in",
        family="qwen2_vl",
    )
    return Record(rung, replace(provenance, **changes), metrics)  # type: ignore[arg-type]


def golden(value: Json, band: Band | None = None, **changes: object) -> Golden:
    plain = Golden("forward", "qwen2_vl", "loss", "truth", "hand", "why", {"": value})
    return replace(plain, band=band or Band(), **changes)  # type: ignore[arg-type]


def loss(value: Json, **changes: object) -> Metric:
    return replace(Metric("forward", "loss", value=value), **changes)  # type: ignore[arg-type]


def verdict(metric: Metric, wish: Golden) -> Verdict:
    return judge({"forward": record("forward", metric)}, [wish], []).items[0].verdict
