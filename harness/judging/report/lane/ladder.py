"""A GPU's ladder as one record: `harness lane ladder FOLDER OUT.json --like STACK`.

FOLDER holds the records of `harness probe --device cuda`. They are judged again here; what is kept
is how many values are as they should be and every one that is not, and whether the committed stack
STACK, whose libraries are the nearest, is known to do just that. Judging world: needs no torch.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.golden import read_goldens
from harness.judging.goldens.judgement import MISSING, RED
from harness.judging.goldens.verdicts import judge
from harness.records.record import read_records


def record_of(folder: Path, like: str) -> dict[str, Any]:
    """Raises BadInput for a folder without records or with a CPU's, and for an unknown stack."""
    records = read_records(folder)
    expected = read_expected(like)
    if not expected:
        raise BadInput(f"{like} is no committed stack with known findings; give one that has some.")
    one = next(iter(records.values())).provenance
    if not one.device_key.startswith("cuda-"):
        raise BadInput(f"{folder} was measured on {one.device_key}; give a GPU's records.")
    items = [i for i in judge(records, read_goldens(), expected).items if i.kind != "expected"]
    return {
        "schema": 1,
        "case": "ladder",
        "tokens": 0,
        "model": one.model,
        "device_key": one.device_key,
        "python": one.python,
        "platform": one.platform,
        "versions": dict(one.versions),
        "commit": one.commit,
        "created": one.created,
        "how": "measured",
        "like": like,
        "verdicts": dict(sorted(Counter(item.verdict.value for item in items).items())),
        "differing": [
            {
                "finding": item.finding,
                "verdict": item.verdict.value,
                "golden": item.golden,
                "now": item.now,
                "reason": item.reason,
                "known_on_like": item.known,
            }
            for item in items
            if item.verdict in RED
        ],
        "not_run": sorted(i.finding for i in items if i.verdict in MISSING),
    }
