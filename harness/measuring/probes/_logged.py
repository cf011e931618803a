"""Rung 10, the trainer's log: what it says of a step is what the step had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from harness.errors import Lack
from harness.measuring import _compat
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes._steps import Steps, Tokens
from harness.records.typed import Json

RATES = ("logged_loss_gap", "logged_rate_gap")
METRICS = (*RATES, "logged_norm_gap", "logged_epochs", "mean_loss_gap")
TOKENS = "logged_tokens_gap"
# By metric: what trl calls it, what of Counts it is over what, and its unit. Entropies were means
# over all tokens (trl 1.0) before they were over the targets (1.16).
AVERAGED = {
    "logged_accuracy_gap": ("mean_token_accuracy", (("right", "targets"),), "share"),
    "logged_entropy_gap": (
        "entropy",
        (("entropy", "targets"), ("entropy_of_tokens", "tokens")),
        "nats",
    ),
}
NOT_LOGGED = "this trl does not log it"


def record_logged(recorder: Recorder, usual: Steps, rising: Steps) -> None:
    """usual: of a training of one micro-batch a step, so that its loss is the step's. rising: of
    one whose rates differ from step to step."""
    _record_losses(recorder, usual)
    gap, _ = recorder.attempt(METRICS[1], partial(rate_gap, rising))
    if gap is not None:
        note = "logged rates against those that the optimizer used, over the largest"
        recorder.add(METRICS[1], gap, note=note)


def _record_losses(recorder: Recorder, usual: Steps) -> None:
    if not usual.given:
        reason = "the trainer works the loss out by itself and asks the model for none"
        recorder.not_run(METRICS[0], reason, Lack.LIBRARY)
        return
    gap, _ = recorder.attempt(METRICS[0], partial(largest_gap, usual.losses, usual.given))
    if gap is not None:
        note = "logged losses against those that the model gave for the same steps"
        recorder.add(METRICS[0], gap, unit="nats/token", note=note)


def rate_gap(steps: Steps) -> float:
    """Over the largest rate; ValueError where no step had one."""
    if not any(steps.rates):
        raise ValueError(f"No step of {len(steps.rates)} had a learning rate above nothing.")
    return largest_gap(steps.logged_rates, steps.rates) / max(steps.rates)


def largest_gap(logged: Sequence[float], had: Sequence[float]) -> float:
    """Over the steps; ValueError where not every step was logged."""
    return max(abs(one - other) for one, other in zip(logged, had, strict=True))


def record_norms(recorder: Recorder, first: Mapping[str, Steps], size: float) -> None:
    """The logged norm of a step's gradient is the one that it had before it was clipped.

    first: trainings whose first step takes the same rows, by case. size: the norm of its gradient.
    """
    for case, steps in first.items():
        gap, _ = recorder.attempt("logged_norm_gap", partial(norm_gap, steps, size), case=case)
        if gap is not None:
            note = "logged norm against that of the gradient before it is clipped, relative"
            recorder.add("logged_norm_gap", gap, case=case, note=note)


def norm_gap(steps: Steps, size: float) -> float:
    """Of the first step, relative."""
    return abs(float(logged(steps, "grad_norm")[0]) - size) / size


def logged(steps: Steps, name: str) -> list[float]:
    """Step by step; ValueError where a step has none."""
    entries = [entry for entry in steps.history if "loss" in entry]
    if not entries or any(name not in entry for entry in entries):
        raise ValueError(f"{name} is not logged of every step.")
    return [float(entry[name]) for entry in entries]


def record_summary(recorder: Recorder, usual: Steps) -> None:
    """How far in the epochs each step was, the mean of all losses, and the tokens so far."""
    epochs, _ = recorder.attempt("logged_epochs", lambda: logged(usual, "epoch"))
    if epochs is not None:
        places: list[Json] = [*epochs]
        recorder.add("logged_epochs", places, unit="epochs")
    if usual.given:
        gap, _ = recorder.attempt("mean_loss_gap", partial(mean_gap, usual))
        if gap is not None:
            note = "logged mean loss against the mean of what the model gave"
            recorder.add("mean_loss_gap", gap, unit="nats/token", note=note)
    else:
        reason = "the trainer works the loss out by itself and asks the model for none"
        recorder.not_run("mean_loss_gap", reason, Lack.LIBRARY)
    if any("num_tokens" in entry for entry in usual.history) or _compat.logs_counts():
        _record_tokens(recorder, usual)
    else:
        recorder.not_run(TOKENS, NOT_LOGGED, Lack.LIBRARY)


def mean_gap(steps: Steps) -> float:
    """ValueError where no mean is logged."""
    means = [entry["train_loss"] for entry in steps.history if "train_loss" in entry]
    if not means:
        raise ValueError("No mean of the losses is logged.")
    return abs(float(means[-1]) - sum(steps.given) / len(steps.given))


def _record_tokens(recorder: Recorder, usual: Steps) -> None:
    by_step = [sum(len(row) for rows in batches for row in rows) for batches in usual.rows]
    so_far = [float(sum(by_step[: step + 1])) for step in range(len(by_step))]
    gap, _ = recorder.attempt(TOKENS, lambda: largest_gap(logged(usual, "num_tokens"), so_far))
    if gap is not None:
        recorder.add(TOKENS, gap, unit="tokens")


@dataclass(frozen=True)
class Counts:
    """Of a row by itself: its targets, those that the model holds the likeliest, and the sum of the
    entropies of what it says of each, in nats; and of all its tokens, asked for or not."""

    targets: int
    right: int
    entropy: float
    tokens: int
    entropy_of_tokens: float


def record_shares(recorder: Recorder, steps: Steps, rows: Mapping[Tokens, Counts]) -> None:
    """What trl averages of targets. steps: of a training that changes no weight."""
    for metric, (name, ways, unit) in AVERAGED.items():
        if not any(name in e for e in steps.history) and not _compat.logs_counts():
            recorder.not_run(metric, NOT_LOGGED, Lack.LIBRARY)
            continue
        gap, _ = recorder.attempt(metric, partial(share_gap, steps, rows, name, ways))
        if gap is not None:
            note = f"logged {name} against the mean of the step's micro-batches"
            recorder.add(metric, gap, unit=unit, note=note)


def share_gap(
    steps: Steps, rows: Mapping[Tokens, Counts], name: str, ways: Sequence[tuple[str, str]]
) -> float:
    """Of each step: the mean over its micro-batches of what is counted, over how many; whichever
    of the ways to count is nearer."""

    def of(batch: Sequence[Tokens], part: str, whole: str) -> float:
        parts, wholes = (sum(getattr(rows[row], each) for row in batch) for each in (part, whole))
        return float(parts / wholes)

    def gap(part: str, whole: str) -> float:
        means = [sum(of(b, part, whole) for b in batches) / len(batches) for batches in steps.rows]
        return largest_gap(logged(steps, name), means)

    return min(gap(*way) for way in ways)
