"""Records of older schemas, brought to the newest one step by step.

The only place that reads a sentence: the first schema had some facts in sentences alone, and its
records lie on users' disks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import Lack

Raw = Mapping[str, Any]

# The only family that records were made of before they named it.
FIRST_FAMILY = "qwen2_vl"
# The stand-in's digest until it left out the one file that no library reads, and since: every other
# file is the same (suites/test_stand_in.py).
FIRST_STAND_IN, STAND_IN = "28934a68ec67ea5a", "57587fae6c90c3ec"

# As the first schema's sentence was written.
_PAIR = re.compile(
    r"(?P<package>\S+) (?P<version>\S+) and (?P<other>\S+) (?P<other_version>\S+) do not work "
    r"together: (?P=package) (?:asks for (?P=other)(?P<asked>\S+)\.|"
    r"needs (?P=other)(?P<needed>\S+) and declares it nowhere\.)(?:\s+|$)"
)
_BLOCKED = re.compile(r"(\S+) is BROKEN")
_RESULT = re.compile(r"It needs the result of (\S+), which is broken")
_LACKS = (
    (re.compile(r"CUDA"), Lack.CUDA),
    (re.compile(r"emulated"), Lack.QUANTISATION),
    (re.compile(r"no weights|random weights"), Lack.WEIGHTS),
    (re.compile(r"only the catalogue"), Lack.DATA),
    (re.compile(r"no whole epoch"), Lack.SCALE),
    (re.compile(r"no 2-D mask|no fast image processor"), Lack.LIBRARY),
    (re.compile(r"declares nothing|There is no stack"), Lack.DECLARATION),
    (re.compile(r"^(?:Out of memory|Refused before it starts)"), Lack.MEMORY),
)
_SIGNAL = re.compile(r"signal (\d+)")
_LIMIT = re.compile(r"no answer within (\d+(?:\.\d+)?) s")


def upgraded(raw: Raw) -> Raw:
    """A record of an older schema as the newest has it; any other as it is.

    What is damaged is passed through as it is: the reader says what is wrong with it.
    """
    while step := _STEPS.get(_number(raw.get("schema"))):
        raw = step(raw)
    return raw


def _number(schema: object) -> int:
    return schema if isinstance(schema, int) else 0


def _from_1(raw: Raw) -> Raw:
    """Schema 2: mismatches, ends and lacks are fields, and the family is named."""
    place = raw.get("provenance")
    if isinstance(place, Mapping):
        digest = place.get("model_digest", "")
        own = {
            "family": place.get("family") or FIRST_FAMILY,
            "model_digest": STAND_IN if digest == FIRST_STAND_IN else digest,
        }
        raw = {**raw, "provenance": {**place, **own}}
    metrics = raw.get("metrics")
    if not isinstance(metrics, list):
        return {**raw, "schema": 2}
    around: list[dict[str, Any]] = []
    for metric in metrics:
        is_list = isinstance(metric, Mapping) and metric.get("name") == "mismatched_pairs"
        if is_list and isinstance(metric.get("value"), list):
            around = [m for line in metric["value"] for m in _mismatches(str(line))[0]]
    return {**raw, "schema": 2, "metrics": [_metric(metric, around) for metric in metrics]}


def _from_2(raw: Raw) -> Raw:
    """Schema 3: of a call that could not begin it is not said that it warned about nothing."""
    metrics = raw.get("metrics")
    if raw.get("rung") != "interface" or not isinstance(metrics, list):
        return {**raw, "schema": 3}
    known = [metric for metric in metrics if isinstance(metric, Mapping)]
    unbegun = {
        metric.get("case"): metric
        for metric in known
        if metric.get("name") == "call" and metric.get("lack") == Lack.FINDING.value
    }
    return {**raw, "schema": 3, "metrics": [_warnings(metric, unbegun) for metric in metrics]}


def _warnings(raw: Any, unbegun: Mapping[object, Raw]) -> Any:
    if not isinstance(raw, Mapping) or raw.get("name") != "warnings" or raw.get("value") != []:
        return raw
    call = unbegun.get(raw.get("case"))
    return raw if call is None else {**call, "name": "warnings"}


def _metric(raw: Any, around: list[dict[str, Any]]) -> Any:
    """A metric of schema 2. around: what did not fit, where the record says so by itself."""
    if not isinstance(raw, Mapping):
        return raw
    failure, reason = raw.get("failure"), raw.get("reason")
    if isinstance(failure, Mapping) and isinstance(failure.get("message"), str):
        return {**raw, "failure": _failure(failure, around)}
    if raw.get("status") == "NOT_RUN":
        lack, blocked_by = _lack(reason if isinstance(reason, str) else "")
        return {**raw, "lack": lack, "blocked_by": blocked_by}
    return raw


def _failure(raw: Raw, around: list[dict[str, Any]]) -> Raw:
    mismatches, message = _mismatches(raw["message"])
    upgraded = {**raw, "message": message, "mismatches": mismatches or around}
    if raw.get("type") == "ChildDied" and (signal := _SIGNAL.match(message)):
        upgraded["signal"] = int(signal[1])
    if raw.get("type") == "ChildHung" and (limit := _LIMIT.match(message)):
        upgraded["limit_s"] = float(limit[1])
    return upgraded


def _mismatches(message: str) -> tuple[list[dict[str, Any]], str]:
    """The mismatches that a message begins with, and what follows them."""
    mismatches = []
    while pair := _PAIR.match(message):
        names = ("package", "version", "other", "other_version")
        wanted, declared = pair["asked"] or pair["needed"], pair["asked"] is not None
        mismatches.append({n: pair[n] for n in names} | {"wanted": wanted, "declared": declared})
        message = message[pair.end() :]
    return mismatches, message


def _lack(reason: str) -> tuple[str, str]:
    """(what a metric was lacking, the finding that blocked it)."""
    if blocked := _BLOCKED.match(reason):
        return Lack.FINDING.value, blocked[1]
    if result := _RESULT.match(reason):
        return Lack.FINDING.value, f"interface.call.{result[1]}"
    return next((lack.value for sign, lack in _LACKS if sign.search(reason)), Lack.OTHER.value), ""


_STEPS: Mapping[int, Callable[[Raw], Raw]] = {1: _from_1, 2: _from_2}
