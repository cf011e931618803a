"""Address, read and write golden/: truths, observed numbers and expected findings.

`golden/truth/<rung>/<family>/<metric>.json` comes from independent code or hand calculation,
`golden/observed/<device key>/<rung>/<family>/<metric>.json` holds regression numbers, and
`golden/expected/<stack>.json` the findings that a committed stack must show.
`golden/lane/<device key>/<case>-<tokens>.json` keeps what the CUDA lane measured (measuring/lane),
raw steps included: evidence for the table beside it, read by report/lane and never judged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import BadInput, Lack
from harness.records.files import read_object, write_json
from harness.records.folders import GOLDEN
from harness.records.record import Verdict
from harness.records.typed import Json, Rules, build, numbers_of

GOLDEN_SCHEMA = 1
MEND = "restore it from git"
# When a finding may be expected (compare.holds).
CONDITIONS = frozenset({"always", "cpu", "cuda", "stand-in", "other-model", "real-vocabulary"})
# A golden without its band would pass for an exact one.
_WHOLE = Rules(frozenset({"band", "kind"}))


class BandKind(StrEnum):
    """exact: equal JSON. absolute: |now - golden| <= limit. relative: the same over |golden|.

    at_most / at_least: a bound, for metrics with a direction.
    """

    EXACT = "exact"
    ABSOLUTE = "absolute"
    RELATIVE = "relative"
    AT_MOST = "at_most"
    AT_LEAST = "at_least"


@dataclass(frozen=True)
class Band:
    """What is allowed, and why. detectable: smallest effect that leaves the band."""

    kind: BandKind = BandKind.EXACT
    limit: float = 0.0
    reason: str = "both sides compute the same arithmetic"
    detectable: str = ""


@dataclass(frozen=True)
class Golden:
    """One metric's expectations, by case (the key is "" for a metric without cases).

    model: which model source it holds for: `any`, `stand-in`, or `real-vocabulary`.
    required: whether its absence in the records counts as a missing measurement.
    stack: observed goldens hold for one stack; truths for every stack ("").
    """

    rung: str
    family: str
    metric: str
    kind: str
    origin: str
    reason: str
    cases: Mapping[str, Json]
    band: Band = field(default_factory=Band)
    model: str = "any"
    required: bool = True
    stack: str = ""
    device_key: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""


def truth_path(
    rung: str, family: str, metric: str, model: str = "any", root: Path = GOLDEN
) -> Path:
    """Address of a truth: `<metric>.json`, or `<metric>@<model>.json` where it needs a model."""
    name = metric if model == "any" else f"{metric}@{model}"
    return root / "truth" / rung / family / f"{name}.json"


def observed_path(
    device_key: str, stack: str, rung: str, family: str, metric: str, root: Path = GOLDEN
) -> Path:
    """Address of an observed number: by device, stack, rung and family."""
    return root / "observed" / device_key / stack / rung / family / f"{metric}.json"


def write_golden(golden: Golden, path: Path) -> None:
    """Write one golden file, atomically."""
    raw = asdict(golden)
    raw.pop("path")
    write_json(path, {"schema": GOLDEN_SCHEMA, **raw})


def read_golden(path: Path) -> Golden:
    """Read one golden file. Raises BadInput naming it where it is malformed."""
    raw = read_object(path, MEND)
    if raw.pop("schema", None) != GOLDEN_SCHEMA:
        raise BadInput(f"{path} is no golden of schema {GOLDEN_SCHEMA}; {MEND}.")
    try:
        golden = build(Golden, {**raw, "path": str(path)}, _WHOLE)
        if golden.band.kind is not BandKind.EXACT:
            for case, value in golden.cases.items():
                if numbers_of(value) is None:
                    raise ValueError(f"its band needs numbers, {case or 'its value'} is none")
        return golden
    except ValueError as error:
        raise BadInput(f"{path} is not a complete golden ({error}); {MEND}.") from error


def read_goldens(root: Path = GOLDEN) -> tuple[Golden, ...]:
    """Every truth and observed golden, sorted by path."""
    paths = sorted([*root.glob("truth/**/*.json"), *root.glob("observed/**/*.json")])
    return tuple(read_golden(path) for path in paths)


@dataclass(frozen=True)
class Expected:
    """A finding that a committed stack must show. type: the exception's, for BROKEN.
    lacks: what it may be lacking, blocked_by: the finding that it waits for, for NOT_RUN. says: a
    regular expression that the library's own words must match, for both: another error of the same
    type is another finding.

    when: the conditions under which it is expected, joined by `+`. optional: near its band, so
    that it may as well not occur. value and band: how large the finding is and how far it may
    move; one that grows is another finding. No band: its size says nothing
    (uninitialised memory, a digest of pixels that depends on the CPU's vector kernels).
    """

    finding: str
    verdict: str
    reason: str
    type: str | None = None
    says: str = ""
    lacks: tuple[Lack, ...] = ()
    blocked_by: str = ""
    when: str = "always"
    reference: str = ""
    value: Json = None
    band: Band | None = None
    optional: bool = False


def read_expected(stack: str, root: Path = GOLDEN) -> tuple[Expected, ...]:
    """The expected findings of a stack; empty where the stack has no file (not a committed one).

    Raises BadInput naming the file where it is malformed.
    """
    path = root / "expected" / f"{stack}.json"
    if not path.is_file():
        return ()
    raw = read_object(path, MEND)
    if raw.get("schema") != GOLDEN_SCHEMA:
        raise BadInput(f"{path} has another schema than {GOLDEN_SCHEMA}; {MEND}.")
    if not isinstance(raw.get("findings"), list):
        raise BadInput(f"{path} has no list of findings; {MEND}.")
    return tuple(_expected(item, path) for item in raw["findings"])


def _expected(raw: object, path: Path) -> Expected:
    try:
        wish = build(Expected, raw)
        Verdict(wish.verdict)
        re.compile(wish.says)
        unknown = set(wish.when.split("+")) - CONDITIONS
        if unknown:
            raise ValueError(f"{unknown.pop()!r} is no condition")
        return wish
    except (ValueError, re.error) as error:
        raise BadInput(f"{path} holds an incomplete finding ({error}); {MEND}.") from error
