"""The steps that a training was seen to take, whoever steps: a Trainer's loop or the user's."""

from __future__ import annotations

from harness.errors import Lack, NotRunnable
from harness.measuring.audit.steps.running import Asked, run
from harness.measuring.audit.steps.watching import Run
from harness.measuring.audit.training import Training


def observed(training: Training) -> Run:
    """Its first steps with dropout off: of a loop without Trainer those taken while it was opened,
    else those of the Trainer's. Raises whatever the training raises; NotRunnable where the batches
    are another stack's and such a loop did not take them."""
    if training.trace is not None:
        trace: Run = training.trace
        if training.is_handed and trace.kept_own:
            raise NotRunnable(
                "The loop computes its loss itself, from labels that its model is not given: its "
                "steps are not those of the batches that were handed over.",
                Lack.OTHER,
            )
        return trace
    return run(training, Asked(training.steps))
