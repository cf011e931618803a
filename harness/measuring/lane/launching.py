"""The ways that `several` compares: their command lines, environments, and their end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from harness.measuring.training.spec import TrainSpec
from harness.records.files import write_json
from harness.records.folders import import_root

ONE = "one"
# accelerate's flags by way.
WAYS: Mapping[str, tuple[str, ...]] = {
    ONE: (),
    "data_parallel": ("--multi_gpu",),
    "fsdp": ("--use_fsdp",),
    "data_parallel_weak": ("--multi_gpu",),
    "fsdp_weak": ("--use_fsdp",),
    "fsdp_split": ("--use_fsdp",),
}
# As many samples a process as one process has alone; the others share that number.
WEAK = frozenset({"data_parallel_weak", "fsdp_weak"})
# Every micro-batch is cut among the processes, instead of each taking whole ones.
SPLIT = frozenset({"fsdp_split"})
TAIL = 4000
# Seconds that a launcher has to end its processes.
GRACE = 40.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


METERED = ("harness.measuring.lane.several_run",)


def command(
    way: str, count: int, words: Sequence[str], module: Sequence[str] = METERED
) -> list[str]:
    """The processes of a way, as a command line. module: what they run, by its words after -m."""
    launcher = [
        "-m",
        "accelerate.commands.launch",
        *WAYS[way],
        "--num_processes",
        str(count),
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--main_process_port",
        str(_free_port()),
    ]
    run = ["-m", *module, *words]
    return [sys.executable, *(launcher if WAYS[way] else []), *run]


def environment(way: str, device: str) -> dict[str, str]:
    """The children's environment: our modules, their GPUs, no hub."""
    variables = {
        k: v for k, v in os.environ.items() if k not in {"RANK", "WORLD_SIZE", "LOCAL_RANK"}
    }
    variables |= {
        # What was found beside the interpreter's own packages is found there too.
        "PYTHONPATH": os.pathsep.join(
            [str(import_root()), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if device == "cpu":
        # The launcher's --cpu starts one process only; so they all meet over gloo.
        variables |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        variables["CUDA_VISIBLE_DEVICES"] = ""
    elif way == ONE:
        variables["CUDA_VISIBLE_DEVICES"] = variables.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    # Cards that are lent without their switch have no NVLink multicast, and NCCL then stops.
    variables.setdefault("NCCL_NVLS_ENABLE", "0")
    return variables


def end(child: subprocess.Popen[bytes]) -> None:
    """End a launcher and what it started, whatever made us stop waiting for it.

    Its processes are sessions of their own: only the launcher reaches them, if it is asked first.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is None:
            os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE)


def launched(way: str, spec: TrainSpec, count: int, folder: Path, limit: float) -> str:
    """Run a way in its folder. "" when it ended well, else the end of what it said."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / "spec.json", asdict(spec))
    words = [str(folder / "spec.json"), str(folder / "run")]
    log = folder / "log.txt"
    with log.open("wb") as output:
        child = subprocess.Popen(
            command(way, count, words),
            cwd=import_root(),
            env=environment(way, spec.device),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            end(child)
    if code == 0:
        return ""
    tail = log.read_text(encoding="utf-8", errors="replace")[-TAIL:]
    return (f"stopped after {limit:.0f} s\n" if code == -1 else "") + tail
