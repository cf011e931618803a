"""`harness lane killed --out DIR`: a process of several killed, and its training gone on with.

The same few steps three times over: by several processes to their end; by as many, the last of
them killed by SIGKILL as soon as a state is whole; and from that state to the end, by one process
and by as many as before. The record has every loss, how long the others took to end, and what they
said. `harness train` is what runs, as a user begins it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.measuring.lane.cases import LOSS_BAND
from harness.measuring.lane.launching import ONE, command, end, environment
from harness.measuring.lane.provenance import provenance
from harness.measuring.lane.several import SeveralSpec, count_of, spec_of, training_of
from harness.measuring.snapshots.source import resolve
from harness.measuring.training.spec import TrainSpec
from harness.records.files import read_json, write_json
from harness.records.folders import import_root
from harness.records.printable import one_line
from harness.records.seals import write_sealed

SCHEMA = 1
FLAGGED = "data_parallel"
TRAIN = ("harness", "train")
POINTER = Path("run") / "state" / "latest.json"
# Seconds that a killed training's others may take to end.
WANTED_SECONDS = 60.0


def begun(way: str, count: int, folder: Path, device: str) -> subprocess.Popen[bytes]:
    """A training in its folder; what it says goes to log.txt."""
    words = [str(folder / "spec.json"), str(folder / "run")]
    with (folder / "log.txt").open("wb") as output:
        return subprocess.Popen(
            command(way, count, words, TRAIN),
            cwd=import_root(),
            env=environment(way, device),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def ended(child: subprocess.Popen[bytes], folder: Path, limit: float) -> None:
    """Wait for a training. Raises HarnessError where it fails or takes longer."""
    try:
        code: int | str = child.wait(limit)
    except subprocess.TimeoutExpired:
        code = f"none within {limit:.0f} s"
    finally:
        end(child)
    if code != 0:
        tail = (folder / "log.txt").read_text("utf-8", errors="replace")[-2000:]
        raise HarnessError(f"The training in {folder} ended with {code}: {tail}")


def ranks_of(launcher: int) -> dict[int, int]:
    """Process numbers of a launcher's children, by rank."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    ranks = {}
    for child in children:
        entries = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        variables = dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)
        if b"RANK" in variables:
            ranks[int(variables[b"RANK"])] = int(child)
    return ranks


def kill_one(folder: Path, count: int, given: SeveralSpec) -> dict[str, Any]:
    """Begin, kill the last process after the first whole state, wait for the others.

    Raises HarnessError where no state comes, or the others do not end.
    """
    child = begun(FLAGGED, count, folder, given.device)
    try:
        until = time.monotonic() + given.limit
        while not (folder / POINTER).is_file():
            if child.poll() is not None or time.monotonic() > until:
                tail = (folder / "log.txt").read_text("utf-8", errors="replace")[-2000:]
                raise HarnessError(f"No state came to {folder}: {tail}")
            time.sleep(0.02)
        os.kill(ranks_of(child.pid)[count - 1], signal.SIGKILL)
        killed = time.monotonic()
        code = child.wait(given.limit)
        seconds = time.monotonic() - killed
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"The others in {folder} did not end: {error}") from error
    finally:
        end(child)
    log = (folder / "log.txt").read_text("utf-8", errors="replace")
    return {
        "seconds": seconds,
        "exit": code,
        "says": [line for line in log.splitlines() if line.startswith("error: ")],
        "state": read_json(folder / POINTER)["folder"],
    }


def losses(folder: Path) -> list[float]:
    """Of every step of a training that ended."""
    return [float(entry["loss"]) for entry in read_json(folder / "run" / "run.json")["curve"]]


def gap(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """The largest relative one. Raises HarnessError for another number of steps."""
    if len(mine) != len(theirs):
        raise HarnessError(f"{len(theirs)} steps were trained where {len(mine)} are wanted.")
    return max(abs(b / a - 1) for a, b in zip(mine, theirs, strict=True))


def _placed(folder: Path, spec: TrainSpec) -> Path:
    folder.mkdir(parents=True)
    write_json(folder / "spec.json", asdict(spec))
    return folder


def measure(given: SeveralSpec, spec: TrainSpec, count: int) -> Mapping[str, Any]:
    """All trainings in turn, in given.out/killed; what they left."""
    place = given.out / "killed"
    shutil.rmtree(place, ignore_errors=True)
    whole = _placed(place / "whole", spec)
    ended(begun(FLAGGED, count, whole, given.device), whole, given.limit)
    cut = _placed(place / "cut", spec)
    death = kill_one(cut, count, given)
    wanted = losses(whole)
    print(f"killed: the others ended {death['seconds']:.1f} s later, {death['says']}", flush=True)
    again = {}
    for number in (1, count):
        folder = place / f"again-{number}"
        shutil.copytree(cut, folder)
        way = ONE if number == 1 else FLAGGED
        ended(begun(way, number, folder, given.device), folder, given.limit)
        again[str(number)] = {
            "losses": losses(folder),
            "loss_gap": gap(wanted, losses(folder)),
        }
        print(f"resumed by {number}: loss gap {again[str(number)]['loss_gap']:.1e}", flush=True)
    return {"losses": wanted, "death": death, "resumed": again}


def run(given: SeveralSpec) -> int:
    """0 where the losses agree and the others ended in time, 1 where not; the record says."""
    count, source = count_of(given), resolve(given.model)
    spec = replace(training_of(given, source.snapshot, source.name), save_every=1)
    result = measure(given, spec, count)
    equal = all(one["loss_gap"] <= LOSS_BAND for one in result["resumed"].values())
    in_time = result["death"]["seconds"] <= WANTED_SECONDS
    record = {
        "schema": SCHEMA,
        "case": "killed",
        "tokens": given.tokens,
        "processes": count,
        "samples": given.micro * given.size,
        **provenance(source.name, given.device, spec.quantisation, given.recipe),
        **result,
        "bands": {"loss_gap": LOSS_BAND, "seconds": WANTED_SECONDS},
        "equal": equal,
    }
    write_sealed(given.out / "killed.json", record)
    return 0 if equal and in_time else 1


def main(words: Sequence[str] | None = None) -> int:
    """One sentence and its exit code for what the user got wrong."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        return run(spec_of(words, program="harness lane killed", about=__doc__, steps=6))
    except HarnessError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
