"""`python -m harness.measuring.lane.contest.process SPEC`: one side, told by lines, answering so.

In: `step N` or `end`. Out, one JSON object a line on the descriptor that was standard output:
`ready`, `step`, `ended` or `broken`. Everything that libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from harness.measuring.lane.contest.side import Contestant, Kept, reserved
from harness.measuring.lane.contest.start import Spec
from harness.records.files import read_json
from harness.records.typed import build

PEERS = ("unsloth", "unsloth_kept")
TRAINER = "trainer"


def opened(spec: Spec) -> Contestant:
    """The side that a way's name means; its modules are imported by its own process only."""
    if spec.way in PEERS:
        from harness.measuring.lane.contest.unsloth import Unsloth

        return Unsloth(spec)
    if spec.way == TRAINER:
        from harness.measuring.lane.contest.trainer import Trainer

        return Trainer(spec)
    from harness.measuring.lane.contest.own import Own

    return Own(spec)


def answer(lines: TextIO, say: Callable[[dict[str, Any]], None], spec: Spec) -> None:
    """Load, say ready, and step when told."""
    side = opened(spec)
    kept = Kept(side)
    say(
        {
            "kind": "ready",
            "what": side.what,
            "dtypes": side.dtypes,
            "facts": side.facts,
            "load_seconds": side.load_seconds,
        }
    )
    for line in lines:
        word, *rest = line.split()
        if word == "end":
            break
        number = int(rest[0])
        took = side.timed(number)
        kept.gradients(number)
        say({"kind": "step", "step": asdict(took)})
    from harness.measuring.lane.contest.census import dropping

    path = spec.folder / f"{spec.way}.safetensors"
    kept.write(path)
    taken = reserved(spec.device)
    say(
        {
            "kind": "ended",
            "tensors": str(path),
            "dropping": dropping(side.model),
            "reserved": taken,
            "facts": side.facts,
            "dtypes": side.dtypes,
        }
    )


def main() -> int:
    """0 for a side that was told to end, 1 for one that broke; both say so."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(value: dict[str, Any]) -> None:
        out.write(json.dumps(value) + "\n")
        out.flush()

    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        answer(sys.stdin, say, build(Spec, read_json(Path(sys.argv[1]))))
    except Exception as error:  # noqa: BLE001 - a side that breaks must not end the others
        trace = traceback.format_exc()
        say(
            {
                "kind": "broken",
                "type": type(error).__name__,
                "message": str(error)[:2000],
                "traceback": trace[-6000:],
            }
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
