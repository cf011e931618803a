"""What was asked for, looked up inside the stack: the model found, the data looked through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError
from harness.judging.environments.identity import stack_label
from harness.judging.workers.process import child_environment, raise_for, run_child
from harness.recipe.published import REFERENCE, Recipe
from harness.records.context import (
    TRAINING_FAMILY,
    Context,
    Scale,
    UserTraining,
    build_context,
    check_data_and_model,
)
from harness.records.files import forget
from harness.records.handover import forget_handover
from harness.records.jobs import Resolved, ResolveJob, read_resolved, write_job


@dataclass(frozen=True)
class Request:
    """What a measuring verb was asked for. threads: None leaves the number to the harness.
    training: a user's own, instead of model, data and recipe. columns, splits: as in Context."""

    stack: str
    model: str
    data: str
    device: str = "auto"
    threads: int | None = None
    recipe: Recipe = REFERENCE
    training: UserTraining | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] = ()


def resolve_model(python: Path, request: Request, out: Path) -> Resolved:
    """Have the stack see that the device is there, find the model and look through the data.

    A refusal leaves nothing in `out`.
    """
    job, answer = out / "work" / "resolve.job.json", out / "work" / "resolve.json"
    asked = (request.model, request.data, request.device)
    write_job(job, ResolveJob(*asked, answer, request.columns, request.splits))
    log = out / "logs" / "resolve.log"
    log.unlink(missing_ok=True)
    outcome = run_child(python, job, child_environment(request.threads or 2), log)
    if outcome.code:
        try:
            raise_for(outcome.code, job)
        except (HarnessError, KeyboardInterrupt):
            forget_handover(job)
            forget(job, log)
            raise
        raise HarnessError(f"Looking up the model {request.model} failed; the log is {log}.")
    return read_resolved(answer)


def new_context(
    request: Request, out: Path, python: Path, scale: Scale, say: Callable[[str], None]
) -> Context:
    """Resolve the model inside the stack and freeze the run's context. say: takes a warning."""
    if request.training is not None:
        return _of_training(request, request.training, out, scale)
    check_data_and_model(request.model, request.data)
    model = resolve_model(python, request, out)
    if model.pairs:
        say(f"warning: {model.pairs}")
    return build_context(
        stack=stack_label(request.stack),
        model=model.name,
        data=request.data,
        out=out,
        snapshot=model.snapshot,
        has_weights=model.has_weights,
        model_digest=model.digest,
        vocabulary=model.vocabulary,
        family=model.family,
        device=request.device,
        scale=scale,
        recipe=request.recipe,
        threads=request.threads,
        columns=request.columns,
        splits=request.splits,
        data_digest=model.data_digest,
    )


def _of_training(request: Request, training: UserTraining, out: Path, scale: Scale) -> Context:
    """The context of a user's training: what it trains is found out where it is opened."""
    return build_context(
        stack=stack_label(request.stack),
        model=training.name,
        data=training.name,
        out=out,
        snapshot=Path(training.path).parent,
        has_weights=True,
        model_digest=training.digest,
        vocabulary="other",
        family=TRAINING_FAMILY,
        device=request.device,
        scale=scale,
        threads=request.threads,
        training=training,
    )
