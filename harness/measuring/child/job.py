"""The measuring world's entry: `python -m harness.measuring.child JOB.json` in a stack.

Runs the rungs of a job one after the other in one process (importing the libraries costs more
than most probes) and writes each record as soon as it is measured, so nothing is lost.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from harness.errors import HarnessError, Lack, NotRunnable
from harness.measuring.instruments.device import device_key, sees_cuda
from harness.measuring.instruments.garbage import set_imports_aside
from harness.measuring.instruments.interrupts import listen, raise_if_interrupted
from harness.measuring.instruments.recorder import Recorder, failure_of
from harness.records.context import Context
from harness.records.disk import disk_refused, raise_of_the_disk
from harness.records.handover import PARENT, begin_rung, leave_error, stacks_path
from harness.records.jobs import (
    CrossingJob,
    PlantedJob,
    ProbeJob,
    Resolved,
    ResolveJob,
    read_job,
    write_resolved,
)
from harness.records.mismatches import mismatches
from harness.records.printable import one_line
from harness.records.record import PROBE, Metric, Record, Status, write_record

# The rung that records warnings.
HEARS = "interface"


def broken_record(context: Context, rung: str, error: BaseException) -> Record:
    """A record whose only metric says that the probe itself failed."""
    recorder = Recorder(rung)
    failure = failure_of(error)
    recorder.put(Metric(rung, PROBE, status=Status.BROKEN, failure=failure))
    return recorder.finish(context.provenance(), context.out)


def not_run_record(context: Context, rung: str, error: NotRunnable) -> Record:
    """A record whose only metric says why this machine cannot run the probe."""
    recorder = Recorder(rung)
    recorder.not_run(PROBE, str(error), error.lack, blocked_by=error.blocked_by)
    return recorder.finish(context.provenance(), context.out)


def refuse_large(context: Context, rungs: Sequence[str]) -> None:
    """Raises NotRunnable where a training among the rungs to measure cannot fit the card."""
    from harness.measuring.models import lacks_release
    from harness.measuring.training.capacity import refuse_training
    from harness.measuring.training.spec import spec_for

    todo = [r for r in rungs if not (context.out / f"{r}.json").is_file()]
    if "trajectory" in todo and context.has_weights and not lacks_release(context.family):
        refuse_training(spec_for(context))


def measure(context: Context, rung: str) -> Record:
    """Run one probe; an error inside it becomes the record. Interrupts, damaged files
    and what the disk refuses pass through.

    Where the installed libraries cannot run the family every rung but the first is NOT_RUN.
    """
    from harness.measuring.instruments.exchange import exchanging
    from harness.measuring.models import check_runs
    from harness.measuring.probes import measured

    if context.training is not None and rung != "environment":
        from harness.measuring.audit.run import audited

        return audited(context, rung)
    try:
        if rung != "environment" and context.training is None:
            check_runs(context.family)
        with exchanging(context, rung):
            return measured(context, rung)
    except NotRunnable as error:
        return not_run_record(context, rung, error)
    except Exception as error:  # noqa: BLE001 - whatever a library throws is the finding
        raise_of_the_disk(error)
        import traceback

        traceback.print_exc()
        return broken_record(context, rung, error)


def default_device() -> str:
    """`cuda` where torch sees a device, else `cpu`."""
    return "cuda" if sees_cuda() else "cpu"


def refuse_absent(device: str) -> None:
    """Raises NotRunnable where CUDA is asked for and torch sees no device."""
    if device.startswith("cuda") and default_device() != "cuda":
        raise NotRunnable(
            "torch sees no CUDA device; `harness doctor --require-cuda` says why.", Lack.CUDA
        )


def describe(context: Context) -> Context:
    """The context completed with what only the measuring interpreter knows.

    Raises NotRunnable where the context asks for CUDA and torch sees no device.
    """
    from harness.records.machine import snapshot

    seen = snapshot()
    refuse_absent(context.device)
    there = default_device()
    device = there if context.device == "auto" else context.device
    return replace(
        context,
        device=device,
        device_key=device_key(device),
        versions=seen.versions,
        python=seen.python,
        platform=seen.platform,
        commit=seen.commit,
    )


def opened(context: Context) -> Context:
    """The context of a user's training, which is opened here once for all rungs: it chooses its
    device itself. Raises BadInput where it cannot be opened."""
    from harness.measuring.audit.run import open_session

    begin_rung(context.out, "opening")
    device = open_session(context)
    return replace(context, device=device, device_key=device_key(device))


def prepare(context: Context) -> None:
    """Offline libraries, a fixed number of threads, seeds from the recipe."""
    import torch

    torch.set_num_threads(context.threads)
    torch.manual_seed(context.seed)


def watch(limit_s: float, stacks: TextIO) -> None:
    """From here on a hang leaves every thread's stack beside the job and ends the process."""
    faulthandler.dump_traceback_later(limit_s, exit=True, file=stacks)


def in_turn(rungs: Sequence[str]) -> tuple[str, ...]:
    """The rungs as they are asked, but the one first that hears what libraries say: much of it is
    said once a process, when a library is imported or first used, by whichever rung comes first."""
    return tuple(sorted(rungs, key=lambda rung: rung != HEARS))


def run_job(job: ProbeJob, stacks: TextIO) -> None:
    """Measure every rung of the job that has no record yet."""
    from harness.measuring.child.own_truths import leave_own_truths

    context = describe(job.context)
    prepare(context)
    if context.training is not None:
        context = opened(context)
    else:
        refuse_large(context, job.rungs)
        leave_own_truths(context)
    for rung in in_turn(job.rungs):
        if (context.out / f"{rung}.json").is_file():
            continue
        begin_rung(context.out, rung)
        watch(job.limit_s, stacks)
        set_imports_aside()
        record = measure(context, rung)
        faulthandler.cancel_dump_traceback_later()
        raise_if_interrupted()
        write_record(record, context.out)
        print(f"measured {rung} in {record.seconds:.1f} s", file=sys.stderr, flush=True)


def planted_job(job: PlantedJob, stacks: TextIO) -> None:
    """Measure the rung of every try, its fault planted.

    What an interrupted search began of it is not gone on with: a fault of a training's first batch
    would lie in a later one too.
    """
    from harness.measuring.child.plants import PLANTS

    context = describe(job.context)
    prepare(context)
    for each in job.tries:
        begin_rung(context.out, each.rung)
        watch(job.limit_s, stacks)
        named = (f"{each.quantity} {each.size:g}",) if each.quantity else ()
        planted = replace(context, out=each.out, faults=named)
        shutil.rmtree(each.out, ignore_errors=True)
        if each.training is not None:
            shutil.copytree(each.training, each.out / "training")
        with PLANTS[each.quantity](each.size) if each.quantity else nullcontext():
            record = measure(planted, each.rung)
        faulthandler.cancel_dump_traceback_later()
        raise_if_interrupted()
        write_record(record, each.out)


def crossing_job(job: CrossingJob) -> None:
    """Read both sides' adapters in this stack."""
    from harness.measuring.child.crossing import run

    context = describe(job.context)
    prepare(context)
    record = run(context, job.folders)
    raise_if_interrupted()
    write_record(record, context.out)


def resolve_job(job: ResolveJob) -> None:
    """Find or download the model inside the stack (huggingface_hub lives there), check the data.

    A device that is not there is refused first: nothing is downloaded for it.
    """
    from harness.data.intake import Data, check_data
    from harness.measuring.snapshots.source import resolve

    # A look-up is short and makes little garbage, but may import a library of 100,000 objects.
    gc.disable()
    refuse_absent(job.device)
    source = resolve(job.model)
    digest = check_data(Data(job.data, job.columns, job.splits), source.snapshot)
    resolved = Resolved(
        name=source.name,
        snapshot=source.snapshot,
        has_weights=source.has_weights,
        digest=source.digest,
        vocabulary=source.vocabulary,
        family=source.family,
        pairs=" ".join(pair.sentence for pair in mismatches()),
        data_digest=digest,
    )
    write_resolved(job.answer, resolved)


def end_with_parent() -> None:
    """A parent that is killed takes its child along: else both would write after a resume.

    Linux only (prctl's PR_SET_PDEATHSIG is 1, from <sys/prctl.h>); elsewhere the run's lock
    still keeps the second process out. A parent may have died before this was asked.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        parent = os.environ.get(PARENT, "")
        if parent and not Path("/proc", parent).exists():
            os.kill(os.getpid(), signal.SIGKILL)


def carry_out(path: Path) -> None:
    """Do what a job file says."""
    job = read_job(path)
    if isinstance(job, ResolveJob):
        resolve_job(job)
        return
    with stacks_path(path).open("w") as stacks:
        # Importing the libraries can hang as well as a rung.
        watch(job.limit_s, stacks)
        if isinstance(job, CrossingJob):
            crossing_job(job)
        elif isinstance(job, PlantedJob):
            planted_job(job, stacks)
        else:
            run_job(job, stacks)


def main() -> int:
    """Run one job file; a HarnessError, or what the disk refuses, is left beside it, its exit code
    returned."""
    end_with_parent()
    listen()
    path = Path(sys.argv[1])
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        with disk_refused():
            carry_out(path)
    except HarnessError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        leave_error(path, error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    finally:
        faulthandler.cancel_dump_traceback_later()
    return 0
