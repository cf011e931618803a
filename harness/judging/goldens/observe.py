"""Observed goldens: rewrite them with a reason, derive their bands from repeated runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path

from harness.errors import BadInput
from harness.judging.goldens.golden import (
    Band,
    BandKind,
    Golden,
    observed_path,
    read_golden,
    truth_path,
    write_goldens,
)
from harness.judging.goldens.judgement import Facts, facts_of
from harness.records.folders import GOLDEN
from harness.records.recipes import PUBLISHED
from harness.records.record import Metric, Record, Status
from harness.records.sets import alone_with
from harness.records.typed import Json

# A band is this many times the largest deviation seen over the calibration runs: with n = 10
# runs the largest of ten deviations is exceeded about once in eleven further runs; a factor of
# four leaves room for that without hiding a real change, which is reported as `detectable`.
SPREAD_FACTOR = 4.0
# Two units in the last place of float32, relative: what reordering one sum may cost where the
# calibration runs happened to agree to the last bit.
FLOAT32_FLOOR = 2 * 2.0**-23
# Decimals that the Trainer keeps in its log, and our probes in their shares.
ROUNDED_TO = (4, 6)


def refuse_dirty(root: Path = GOLDEN) -> None:
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


def refuse_in_ci() -> None:
    """Raises BadInput where CI is set: there a golden would be rewritten to make a test pass."""
    if os.environ.get("CI", "").lower() not in {"", "0", "false", "no"}:
        raise BadInput(
            "Goldens are not written in CI (CI is set); write them on a machine of yours."
        )


def refuse_truths(names: Sequence[str], family: str = "*", root: Path = GOLDEN) -> None:
    """Raises BadInput for the first name that is a truth; asked before anything is measured.

    family: `*` before the model was looked at: then a name is refused that is a truth for any.
    """
    for name in names:
        rung, metric = ([*name.split("."), ""])[:2]
        pattern = truth_path(rung, family, "*", root=root).relative_to(root).as_posix()
        if any(path.stem.split("@")[0] == metric for path in root.glob(pattern)):
            raise BadInput(
                f"{rung}.{metric} is a truth; it comes from suites/oracles, never from a run."
            )


@dataclass(frozen=True)
class Condition:
    """What one calibration run is measured under. variables: set in the child's environment."""

    threads: int
    variables: Mapping[str, str] = field(default_factory=dict)


# One device key covers many processors, and a user's thread count is not ours. PyTorch's, MKL's
# and oneDNN's kernels for narrower vector units sum in another order, as another processor would
# (ATEN_CPU_CAPABILITY, MKL_CBWR and ONEDNN_MAX_CPU_ISA are their documented switches).
_NARROW = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
_PLAIN = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"}
CPU_CONDITIONS = (
    Condition(2),
    Condition(1),
    Condition(2, _NARROW),
    Condition(2, _PLAIN),
    Condition(4),
    Condition(1, _NARROW),
    Condition(1, _PLAIN),
    Condition(3),
    Condition(3, _NARROW),
    Condition(8),
)


def conditions(runs: int) -> tuple[Condition, ...]:
    """The conditions of n calibration runs; on CUDA the CPU's switches change nothing."""
    return tuple(CPU_CONDITIONS[i % len(CPU_CONDITIONS)] for i in range(runs))


def metrics_of(name: str, records: Mapping[str, Record]) -> tuple[Metric, ...]:
    """The metric of a finding id, or every case of a metric id.

    Raises BadInput where no record holds it.
    """
    rung = name.split(".", 1)[0]
    recorded = records[rung].metrics if rung in records else ()
    matching = tuple(m for m in recorded if m.finding_id == name) or tuple(
        m for m in recorded if m.metric_id == name
    )
    if not matching:
        raise BadInput(f"No record holds {name}; {_instead(name, recorded)}.")
    return matching


def _instead(name: str, recorded: Sequence[Metric]) -> str:
    """What there is in place of a name that no record holds."""
    rung, _, rest = name.partition(".")
    metrics = sorted({m.metric_id for m in recorded})
    # The rung's name, which all share, would make everything alike.
    tails = dict.fromkeys(x.split(".", 1)[1] for x in [*metrics, *(m.finding_id for m in recorded)])
    close = get_close_matches(rest, list(tails))
    if close:
        return f"close to it are {', '.join(f'{rung}.{tail}' for tail in close)}"
    return f"{rung} measures {', '.join(metrics)}" if metrics else f"{rung} was not measured"


def _rounding(numbers: Sequence[float]) -> float:
    """One unit of the last digit of numbers that were rounded before they were recorded, else 0.

    Two losses that agree to 1e-9 may be logged 1e-4 apart. A trailing zero hides a digit, so
    only the known roundings count, not the digits seen.
    """
    decimals = max(-int(Decimal(repr(x)).as_tuple().exponent) for x in numbers)
    kept = next((digits for digits in ROUNDED_TO if decimals <= digits), None)
    # A little more than the unit itself, which float64 cannot hold exactly.
    return 0.0 if kept is None else 1.0001 * 10.0**-kept


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
        limit = max(SPREAD_FACTOR * spread, FLOAT32_FLOOR, _rounding(numbers) / abs(middle))
        kind, detectable = BandKind.RELATIVE, f"{limit:.3g} of the value"
    reason = (
        f"{SPREAD_FACTOR:g} × the largest deviation of {len(values)} runs, at least float32's "
        "and one unit of the last digit that the library kept"
    )
    return Band(kind, limit, reason, detectable)


def _widest(bands: Sequence[Band]) -> Band:
    """One file has one band: the widest of its cases'. Raises BadInput where their kinds differ."""
    if len({band.kind for band in bands}) > 1:
        raise BadInput("The cases need bands of different kinds; calibrate them as findings.")
    return max(bands, key=lambda band: band.limit)


def observe(
    names: Sequence[str],
    runs: Sequence[Mapping[str, Record]],
    reason: str,
    root: Path = GOLDEN,
) -> tuple[Path, ...]:
    """Write the observed goldens of findings, or of every case of metrics; returns their files.

    All are made before the first is written, and nobody else writes in between: what another
    update adds to the same file stays. Raises BadInput for a truth, for a value that was not
    measured, or for runs of two devices.
    """
    observed: dict[Path, Golden] = {}
    with alone_with(root):
        for name in names:
            path, golden = _observed(name, runs, reason, root, observed)
            observed[path] = golden
        write_goldens(observed, root)
    return tuple(observed)


def _observed(
    name: str,
    runs: Sequence[Mapping[str, Record]],
    reason: str,
    root: Path,
    observed: Mapping[Path, Golden],
) -> tuple[Path, Golden]:
    """One name's golden and its file. made: what other names have put into files already."""
    by_case = list(zip(*(metrics_of(name, records) for records in runs), strict=True))
    metrics = [metric for case in by_case for metric in case]
    first = metrics[0]
    facts: Facts = facts_of(runs[0])
    if any(facts_of(records) != facts for records in runs[1:]):
        raise BadInput("The runs differ in stack, model, data or device; measure them alike.")
    refuse_truths([name], facts.family, root)
    if any(metric.status is not Status.OK for metric in metrics):
        raise BadInput(f"{name} was not measured in every run; mend that first.")
    if first.volatile:
        raise BadInput(f"{name} is a time; times are compared in interleaved runs only.")
    named = {} if facts.recipe == PUBLISHED else {facts.recipe_name: facts.recipe}
    path = observed_path(
        facts.device_key, facts.stack, first.rung, facts.family, first.name, root, named
    )
    old = observed.get(path) or (read_golden(path) if path.is_file() else None)
    values = {case[0].case or "": [metric.value for metric in case] for case in by_case}
    kept = {k: v for k, v in (old.cases if old else {}).items() if k not in values}
    cases = {**kept, **{case: _middle(seen) for case, seen in values.items()}}
    band = _widest([band_of(seen) for seen in values.values()])
    if old and band.kind is old.band.kind and len(runs) == 1:
        band = old.band
    elif old and kept:
        band = _widest([band, old.band])
    provenance = runs[0][first.rung].provenance
    golden = Golden(
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
        recipes=named,
        provenance={
            "commit": provenance.commit,
            "created": provenance.created,
            "python": provenance.python,
            "platform": provenance.platform,
            "threads": sorted({records[first.rung].provenance.threads for records in runs}),
            "recipe": provenance.recipe,
            "samples": provenance.samples,
            "seed": provenance.seed,
            "versions": dict(provenance.versions),
            "model_digest": provenance.model_digest,
        },
    )
    return path, golden


def _middle(values: Sequence[Json]) -> Json:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values):
        return sorted(numbers)[len(numbers) // 2]
    return values[0]
