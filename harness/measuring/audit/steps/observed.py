"""The steps that a training was seen to take, whoever steps: a Trainer's loop or the user's."""

from __future__ import annotations

from harness.measuring.audit.steps.running import Asked, run
from harness.measuring.audit.steps.watching import Run
from harness.measuring.audit.training import Training


def observed(training: Training) -> Run:
    """Its first steps with dropout off: of a loop without Trainer those taken while it was opened,
    else those of the Trainer's. Raises whatever the training raises."""
    if training.trace is not None:
        trace: Run = training.trace
        return trace
    return run(training, Asked(training.steps))
