"""A trainer that keeps its state as safetensors and JSON, and stops where it is asked to."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import Diverged
from harness.measuring.training.checkpoint import (
    Progress,
    read_state,
    restore_adapter,
    restore_optimizer,
    restore_random,
    save_state,
)
from harness.measuring.training.processes import ALONE, Crew
from harness.recipe.published import IGNORE_INDEX


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during training, raised at the end of the step, after its state was saved."""


def with_state(
    base: Any,
    folder: Path,
    *,
    every: int,
    total: Callable[[], int],
    interrupted: Callable[[], bool],
    clock: Callable[[], float],
    after_step: Callable[[int, float], None] = lambda step, loss: None,
    crew: Crew = ALONE,
) -> Any:
    """A subclass of SFTTrainer that keeps its state here instead of in pickled checkpoints.

    every: steps between states. total: the run's last step. interrupted: asked after each step
    but the last; True saves and raises Interrupted. crew: the processes that train together; a
    step's loss and targets are those of all. A loss that is no number raises Diverged: the weights
    are lost, and hours of steps would follow. The overridden methods are the ones that the
    Trainer calls from transformers 4.45 to 5.23; other arguments pass through untouched.
    """

    class WithState(base):
        """SFTTrainer whose state is safetensors and JSON."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.curve: list[dict[str, Any]] = []
            self._loss, self._targets, self._saved = 0.0, 0, -1
            self._resumed: dict[str, Any] | None = None
            self._pending = 0.0
            super().__init__(*args, **kwargs)

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            self._targets += int((inputs["labels"] != IGNORE_INDEX).sum())
            loss = super().training_step(model, inputs, *args, **kwargs)
            self._loss += float(loss)
            # The Trainer begins with nothing and adds what this gives it: what was not yet logged
            # comes first, as it did before, or the logged mean is rounded otherwise.
            pending, self._pending = self._pending, 0.0
            return loss.detach().float() + pending if pending else loss

        def _maybe_log_save_evaluate(self, tr_loss: Any, *args: Any, **kwargs: Any) -> None:
            if self._resumed is not None:
                self._total_loss_scalar = self._resumed["logged_loss"]
                self._globalstep_last_logged = self._resumed["logged_step"]
                self._resumed = None
            super()._maybe_log_save_evaluate(tr_loss, *args, **kwargs)
            step = int(self.state.global_step)
            if step == self._saved or self._targets == 0:
                return  # the end of an epoch: this step has been dealt with
            loss, targets = crew.together(self._loss, self._targets)
            self.curve.append({"step": step, "loss": loss, "targets": targets})
            self._loss, self._targets = 0.0, 0
            self._saved = step
            if not math.isfinite(loss):
                raise Diverged(
                    f"The loss of step {step} is {loss}, and so is all that follows; training "
                    "ends here. See trajectory.padded_gradient_is_finite: if padding is the "
                    'cause, set processor.tokenizer.padding_side = "right" and train again.'
                )
            after_step(step, loss)
            # After the last step there is no going on: the Trainer would train one more.
            before_end = step < total()
            stop = before_end and interrupted()
            if stop or (before_end and step % every == 0):
                progress = Progress(
                    step,
                    # Each process has its own share, and logs the mean.
                    crew.together(float(tr_loss), 0)[0],
                    float(self._total_loss_scalar),
                    int(self._globalstep_last_logged),
                    clock(),
                    tuple(self.curve),
                )
                save_state(self, folder, progress, crew)
            if stop:
                raise Interrupted

        def _load_from_checkpoint(self, checkpoint: Any, model: Any = None) -> None:
            plain, tensors = read_state(Path(checkpoint))
            restore_adapter(self.model, tensors)
            self.curve = list(plain["curve"])
            self._resumed, self._saved = plain, int(plain["step"])
            self._pending = float(plain["pending_loss"])

        def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
            if checkpoint is not None:
                restore_optimizer(self, *read_state(Path(checkpoint)))

        def _load_rng_state(self, checkpoint: Any) -> None:
            if checkpoint is not None:
                restore_random(Path(checkpoint), crew.rank)

        def _load_scaler(self, checkpoint: Any) -> None:
            """bfloat16 and float32 training scale nothing."""

    return WithState
