"""Faults of a training that goes on from its trainer's own checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from suites.faults import Fault, edited_arguments
from suites.faults.late import briefly


@contextmanager
def put_back(edit: Callable[[Any], None]) -> Iterator[None]:
    """What a trainer has put back from a checkpoint is edited."""
    from transformers import Trainer

    load = Trainer._load_optimizer_and_scheduler

    def loading(self: Any, checkpoint: Any) -> None:
        load(self, checkpoint)
        if checkpoint is not None:
            edit(self)

    with mock.patch.object(Trainer, "_load_optimizer_and_scheduler", loading):
        yield


def moments_anew(trainer: Any) -> None:
    """The optimizer begins with no moments."""
    getattr(trainer.optimizer, "optimizer", trainer.optimizer).state.clear()


def counts_anew(trainer: Any) -> None:
    """The optimizer counts its steps from nothing."""
    for state in getattr(trainer.optimizer, "optimizer", trainer.optimizer).state.values():
        state["step"].zero_()


def schedule_anew(trainer: Any) -> None:
    """The schedule begins again."""
    getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler).last_epoch = 0


def draws_anew() -> AbstractContextManager[Any]:
    """What is drawn is not gone on with."""
    from transformers import Trainer

    return mock.patch.object(Trainer, "_load_rng_state", return_value=None)


def rows_anew() -> AbstractContextManager[Any]:
    """The rows that were trained are trained again."""
    from trl import SFTConfig

    def edit(args: Any, kwargs: Any) -> Any:
        return args, {**kwargs, "ignore_data_skip": True}

    return edited_arguments(SFTConfig, "__init__", edit)


def weights_anew() -> AbstractContextManager[Any]:
    """The adapter begins again."""
    from transformers import Trainer

    return mock.patch.object(Trainer, "_load_from_checkpoint", return_value=None)


@contextmanager
def moments_saved_halved() -> Iterator[None]:
    """A saved optimizer's second moments are half of what they were."""
    import torch

    save = torch.save

    def saving(thing: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(thing, dict) and "state" in thing and "param_groups" in thing:
            states = {
                i: {k: v / 2 if k == "exp_avg_sq" else v for k, v in state.items()}
                for i, state in thing["state"].items()
            }
            thing = {**thing, "state": states}
        save(thing, *args, **kwargs)

    with mock.patch.object(torch, "save", saving):
        yield


def log_cut() -> AbstractContextManager[None]:
    """The saved log has lost its first entry."""
    from transformers import TrainerState

    save = TrainerState.save_to_json

    def saving(self: Any, path: str) -> None:
        kept, self.log_history = self.log_history, self.log_history[1:]
        save(self, path)
        self.log_history = kept

    return mock.patch.object(TrainerState, "save_to_json", saving)


FAULTS = tuple(
    Fault("trajectory", name, f"trajectory.{finds}", briefly(plant), slow=True)
    for name, finds, plant in (
        ("resumed without its moments", "resumed_gap", lambda: put_back(moments_anew)),
        ("resumed with its steps at nothing", "resumed_gap", lambda: put_back(counts_anew)),
        ("resumed with its schedule at nothing", "resumed_rates", lambda: put_back(schedule_anew)),
        ("resumed with other masks", "resumed_gap", draws_anew),
        ("resumed from the first row on", "resumed_gap", rows_anew),
        ("resumed without its adapter", "resumed_gap", weights_anew),
        ("second moments saved halved", "checkpoint_optimizer", moments_saved_halved),
        ("a saved log without its first entry", "checkpoint_log", log_cut),
    )
)
