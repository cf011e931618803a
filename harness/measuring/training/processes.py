"""Training by several processes: `accelerate launch … -m harness train SPEC FOLDER`.

The spec describes the whole batch: its accumulation is shared out, so that N processes take the
same micro-batches for a step as one process does, and average their gradients to the same one.
With --multi_gpu each holds the whole model (data parallel), with --use_fsdp a share of it
(sharded.py). Only the first process writes, but for each one's random states. A state goes on with
any number of processes that can share the accumulation: the samples, and without dropout the
losses, are the same; dropout draws other masks.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import BadInput
from harness.measuring.training import sharded
from harness.measuring.training.spec import TrainSpec


@dataclass(frozen=True)
class Crew:
    """The processes that train together. rank: this one's number, local: on this machine.

    shares: whether each holds a share of the model (FSDP) instead of all of it.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    shares: bool = False

    @property
    def is_alone(self) -> bool:
        """Whether this is an ordinary run."""
        return self.count == 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def part(self, spec: TrainSpec) -> TrainSpec:
        """What this process does of a spec: its share of the accumulation, its own device.

        Raises BadInput where the micro-batches cannot be shared out evenly.
        """
        if self.is_alone:
            return spec
        if spec.accumulation % self.count:
            raise BadInput(
                f"{spec.accumulation} micro-batches a step cannot be shared by {self.count} "
                f"processes; take a number of processes that divides {spec.accumulation}."
            )
        device = f"cuda:{self.local}" if spec.device.startswith("cuda") else spec.device
        return replace(spec, accumulation=spec.accumulation // self.count, device=device)

    def arguments(self) -> dict[str, Any]:
        """SFTConfig arguments that several processes need beside the recipe's: every LoRA tensor
        gets a gradient in every step, so none has to be searched for."""
        return {} if self.is_alone else {"ddp_find_unused_parameters": False}

    def storage(self) -> str:
        """The dtype that 4-bit values are packed into: float32 where they are shared.

        Packed pairs of bytes are any pattern, NaNs too. On a GPU the copy with which FSDP2 gathers
        bfloat16 writes every NaN as one (torch issue 159333, bitsandbytes issue 1945): other
        weights. float32 goes through that copy unchanged (`suites/test_sharded.py`).
        """
        return "float32" if self.shares else "uint8"

    def notes(self, spec: TrainSpec) -> tuple[str, ...]:
        """A sentence for the run's record."""
        if self.is_alone:
            return ()
        if not self.shares:
            return (f"Trained by {self.count} processes, data parallel.",)
        packed = spec.quantisation == "bitsandbytes"
        stored = f", 4-bit weights packed into {self.storage()}" if packed else ""
        return (
            f"Trained by {self.count} processes, weights sharded (FSDP2) but for a frozen head of "
            f"its own{stored}.",
        )

    def together(self, loss: float, targets: int) -> tuple[float, int]:
        """A step's loss (mean over processes) and targets (sum); every process must call it."""
        if self.is_alone:
            return loss, targets
        import torch

        on_cards = torch.distributed.get_backend() == "nccl"
        device = f"cuda:{self.local}" if on_cards else "cpu"
        sums = torch.tensor([loss, float(targets)], dtype=torch.float64, device=device)
        torch.distributed.all_reduce(sums)
        return float(sums[0]) / self.count, int(sums[1])

    def wait(self) -> None:
        """Until every process is here."""
        if not self.is_alone:
            import torch

            torch.distributed.barrier()

    def leave(self) -> None:
        """Take the group down, so that no process ends while another still talks to it."""
        if self.is_alone:
            return
        import torch

        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


ALONE = Crew()
# Seconds that a process waits after an error for the launcher's word that another one ended.
PATIENCE = 5.0
TERMINATED = 128 + signal.SIGTERM


@contextlib.contextmanager
def ended_with_a_sentence(crew: Crew, how_on: Callable[[], str]) -> Iterator[None]:
    """Say why this process ends when the launcher ends it: what is left of a crew says it at once.

    A process that waits for a dead one hangs inside a library, where no Python handler runs: the
    interpreter's own writes the signal's number into a pipe, and a thread reads it. Where the
    library gives up first, with whatever error, the launcher's signal is awaited before that
    error is believed. how_on: the second half of the sentence.
    """
    if crew.is_alone or threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def watch() -> None:
        while number := os.read(reader, 1):
            if number[0] == signal.SIGTERM:
                sys.stderr.write(
                    "error: The launcher ended this process, as it does when another one of the "
                    f"training has ended; {how_on()}.\n"
                )
                sys.stderr.flush()
                os._exit(TERMINATED)

    threading.Thread(target=watch, daemon=True).start()
    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    before = signal.set_wakeup_fd(writer)
    try:
        yield
    except RuntimeError:
        time.sleep(PATIENCE)
        raise
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGTERM, previous)
        os.close(writer)


def here() -> Crew:
    """As the launcher says in RANK, WORLD_SIZE and LOCAL_RANK; alone without them."""
    numbers = (os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    rank, count, local = (int(value) if value else None for value in numbers)
    return Crew(rank or 0, count or 1, local or 0, (count or 1) > 1 and sharded.asked())
