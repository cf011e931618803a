"""Observed goldens: rewrite them with a reason, derive their bands from repeated runs."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import BadInput
from harness.golden import (
    ROOT,
    Band,
    BandKind,
    Golden,
    observed_path,
    read_golden,
    truth_path,
    write_golden,
)
from harness.judgement import Facts, facts_of
from harness.record import Json, Metric, Record, Status

# A band is this many times the largest deviation seen over the calibration runs: with n = 10
# runs the largest of ten deviations is exceeded about once in eleven further runs; a factor of
# four leaves room for that without hiding a real change, which is reported as `detectable`.
SPREAD_FACTOR = 4.0
# Two units in the last place of float32, relative: what reordering one sum may cost where the
# calibration runs happened to agree to the last bit.
FLOAT32_FLOOR = 2 * 2.0**-23


def refuse_dirty(root: Path = ROOT) -> None:
    """Goldens come from committed code. Raises BadInput naming the first changed file."""
    repository = root.parent
    answer = subprocess.run(
        ["git", "status", "--porcelain", "--", ".", ":!golden"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise BadInput(f"{repository} is no git checkout; goldens are written from a checkout.")
    if answer.stdout.strip():
        first = answer.stdout.strip().splitlines()[0]
        raise BadInput(f"The tree has uncommitted changes ({first}); commit them first.")


def metric_of(finding: str, records: Mapping[str, Record]) -> Metric:
    """The metric of a finding id. Raises BadInput where no record holds it."""
    rung = finding.split(".", 1)[0]
    for metric in records[rung].metrics if rung in records else ():
        if metric.finding_id == finding:
            return metric
    raise BadInput(f"No record holds {finding}; `harness probe {rung}` lists what it measures.")


def band_of(values: Sequence[Json]) -> Band:
    """Exact for anything but numbers and for equal integers; else relative, from the spread."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) != len(values) or all(isinstance(v, int) for v in numbers):
        return Band(reason=f"an exact value in {len(values)} runs")
    middle = sorted(numbers)[len(numbers) // 2]
    if middle == 0:
        limit = SPREAD_FACTOR * max(abs(v) for v in numbers)
        kind, detectable = BandKind.ABSOLUTE, f"{limit:.3g}"
    else:
        spread = max(abs(v - middle) for v in numbers) / abs(middle)
        limit = max(SPREAD_FACTOR * spread, FLOAT32_FLOOR)
        kind, detectable = BandKind.RELATIVE, f"{limit:.3g} of the value"
    reason = f"{SPREAD_FACTOR:g} × the largest deviation of {len(values)} runs, float32 floor"
    return Band(kind, limit, reason, detectable)


def observe(
    finding: str,
    runs: Sequence[Mapping[str, Record]],
    reason: str,
    root: Path = ROOT,
) -> Path:
    """Write the observed golden of one finding from one or more runs; returns its file.

    Raises BadInput for a truth, for a value that was not measured, or for runs of two devices.
    """
    metrics = [metric_of(finding, records) for records in runs]
    first = metrics[0]
    facts: Facts = facts_of(runs[0])
    if any(facts_of(records) != facts for records in runs[1:]):
        raise BadInput("The runs differ in stack, model, data or device; measure them alike.")
    truths = truth_path(first.rung, facts.family, first.name, root=root).parent
    if any(path.stem.split("@")[0] == first.name for path in truths.glob("*.json")):
        raise BadInput(
            f"{first.metric_id} is a truth; it comes from suites/oracles, never from a run."
        )
    if any(metric.status is not Status.OK for metric in metrics):
        raise BadInput(f"{finding} was not measured in every run; mend that first.")
    if first.volatile:
        raise BadInput(f"{finding} is a time; times are compared in interleaved runs only.")
    path = observed_path(facts.device_key, facts.stack, first.rung, facts.family, first.name, root)
    old = read_golden(path) if path.is_file() else None
    cases = {**(old.cases if old else {}), first.case or "": _middle([m.value for m in metrics])}
    band = band_of([metric.value for metric in metrics])
    if old and len(runs) == 1 and band.kind is old.band.kind:
        band = old.band
    provenance = runs[0][first.rung].provenance
    write_golden(
        Golden(
            rung=first.rung,
            family=facts.family,
            metric=first.name,
            kind="observed",
            origin=f"harness golden {'calibrate' if len(runs) > 1 else 'update'}, n={len(runs)}",
            reason=reason,
            cases=cases,
            band=band,
            model=facts.model,
            required=False,
            stack=facts.stack,
            device_key=facts.device_key,
            provenance={
                "commit": provenance.commit,
                "created": provenance.created,
                "python": provenance.python,
                "platform": provenance.platform,
                "threads": provenance.threads,
                "seed": provenance.seed,
                "versions": dict(provenance.versions),
                "model_digest": provenance.model_digest,
            },
        ),
        path,
    )
    return path


def _middle(values: Sequence[Json]) -> Json:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values):
        return sorted(numbers)[len(numbers) // 2]
    return values[0]
