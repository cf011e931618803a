"""Rung 11: the loss curve of the short run; the adapter saved, loaded again, same logits."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from harness.data.dataset import rows_of
from harness.errors import Lack
from harness.measuring.instruments.exchange import dropout_masks
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import canonical_name, family
from harness.measuring.probes import _merged, _reloaded, _resumed
from harness.measuring.probes._merged import record_merged
from harness.measuring.probes._padded import at_length, bf16, padded_gradient
from harness.measuring.probes._reloaded import record_reloaded
from harness.measuring.probes._resumed import record_resumed
from harness.measuring.probes._saved import record_saved
from harness.measuring.snapshots import loading
from harness.measuring.training.run import reloaded_logits, train
from harness.measuring.training.spec import STAND_IN_SCALE, TrainSpec, spec_for
from harness.recipe.published import IGNORE_INDEX, training_messages
from harness.records.context import Context, is_stand_in
from harness.records.files import text_digest
from harness.records.record import Direction, How, Record
from harness.records.typed import Json

# Measured by every run; without weights each is NOT_RUN with the reason.
METRICS = (
    "reload_gap",
    "adapter_tensors",
    "base_changed",
    "trained_dtypes",
    "optimizer_dtypes",
    "trained_strays",
    "loss_drop",
    "learning_rate_gap",
    "log_strays",
    "epoch_target_gap",
    "bf16_loss_is_finite",
    "padded_gradient",
    "padded_gradient_is_finite",
    "steps",
    "saved_field",
    "saved_base",
    "saved_processor",
    *_reloaded.METRICS,
    *_resumed.METRICS,
    *_merged.ALL,
)
# Fields of the spec that change no number but by rounding: where the model lies (it has its own
# digest), how often it is saved, and by whose arithmetic its weights become NF4; what of the data
# is read, for the rows have a digest. The ladder always trains with the recipe's dropout.
PLACES = frozenset(
    {"snapshot", "threads", "save_every", "quantisation", "dropout", "columns", "splits"}
)


def training_folder(context: Context) -> Path:
    """Where the run's training lives, beside its records."""
    return context.out / "training"


def run(context: Context) -> Record:
    """Train (or go on, or take the finished run) and measure what it left."""
    recorder = Recorder("trajectory")
    if not context.has_weights:
        for name in METRICS:
            recorder.not_run(name, f"{context.model} has no weights to train", Lack.WEIGHTS)
        return recorder.finish(context.provenance(), context.out)
    spec, folder = spec_for(context), training_folder(context)
    done = train(spec, folder)
    how = How.EMULATED if spec.quantisation == "emulated" else How.MEASURED
    _curve(recorder, done, spec, how)
    _adapter(recorder, done, spec, folder)
    record_reloaded(recorder, spec, folder)
    record_merged(recorder, spec, folder, context.work("trajectory"))
    record_resumed(recorder, context)
    record_saved(recorder, context, done, folder)
    _data(recorder, done, spec, context)
    recorder.attempt("bf16_loss_is_finite", lambda: bf16(recorder, spec, context))
    recorder.attempt("padded_gradient", lambda: padded_gradient(recorder, spec, context))
    recorder.attempt("padded_gradient_is_finite", lambda: at_length(recorder, spec, context))
    identity = trained_on(spec, done["rows_digest"])
    return recorder.finish(context.provenance(identity), context.out)


def trained_on(spec: TrainSpec, rows: str) -> dict[str, Any]:
    """What was trained on what; not where the model lies, nor how often the state was saved.

    rows: their digest. The recipe's values are in the provenance's own digest of it.
    """
    facts = {k: v for k, v in asdict(spec).items() if k not in PLACES}
    for name in ("way", "padding"):
        # The usual one: as it was before a training could have another.
        if not facts[name]:
            facts.pop(name)
    return {
        "spec": {**facts, "recipe": spec.recipe.name},
        "rows": rows,
        "masks": dropout_masks(),
    }


def _curve(recorder: Recorder, done: dict[str, Any], spec: TrainSpec, how: How) -> None:
    """Loss, learning rate and gradient norm at the steps that the recipe logs."""
    scaled = f"scaled: {STAND_IN_SCALE.reason}" if is_stand_in(spec.model) else None
    recorder.add("steps", len(done["curve"]), unit="steps", note=scaled)
    for entry in done["log"]:
        case = f"step_{entry['step']:04d}"
        # No direction: at the same step of the same recipe a smaller loss is another training too.
        recorder.add("loss", entry["loss"], case=case, unit="nats", how=how)
        recorder.add("grad_norm", entry["grad_norm"], case=case, how=how)
    _learning_rate(recorder, done, spec)
    every = spec.recipe.training.logging_steps
    due = set(range(every, len(done["curve"]) + 1, every))
    odd: list[Json] = [*sorted(due ^ {int(entry["step"]) for entry in done["log"]})]
    recorder.add(
        "log_strays", odd, unit="steps", note=f"logged though not due, or not every {every}"
    )
    losses = [float(entry["loss"]) for entry in done["curve"]]
    quarter = max(1, len(losses) // 4)
    drop = median(losses[:quarter]) - median(losses[-quarter:])
    recorder.add(
        "loss_drop",
        drop,
        unit="nats",
        how=how,
        direction=Direction.HIGHER,
        samples=tuple(losses),
        note="median of the first quarter less that of the last",
    )
    recorder.add("seconds", done["seconds"], unit="s", volatile=True, direction=Direction.LOWER)
    recorder.add("adapted", list(done["notes"]), unit="text")
    recorder.add("dropout_stream", dropout_stream(spec.seed), unit="digest")


def warm_up_steps(spec: TrainSpec, steps: int) -> int:
    """Steps before the full learning rate: a share of all, rounded up, under a scheduler that
    warms up; none under the published `constant`."""
    return math.ceil(spec.recipe.training.warmup_ratio * steps) if spec.recipe.repairs.warmup else 0


def _learning_rate(recorder: Recorder, done: dict[str, Any], spec: TrainSpec) -> None:
    """The logged rates against the recipe's schedule: constant, after its warm-up if it has one.

    After step n the scheduler has the rate of the next step ready, and that is what is logged.
    """
    rising = warm_up_steps(spec, len(done["curve"]))
    gaps = [
        abs(entry["learning_rate"] / (spec.learning_rate * min(1.0, entry["step"] / rising)) - 1)
        if rising
        else abs(entry["learning_rate"] / spec.learning_rate - 1)
        for entry in done["log"]
    ]
    recorder.add(
        "learning_rate_gap",
        max(gaps, default=0.0),
        note=f"largest relative distance from a rate that rises over {rising} steps"
        if rising
        else "largest relative distance from the constant rate: the recipe's warm-up of 3 % has "
        "no effect with this scheduler (contradiction 2)",
    )


def dropout_stream(seed: int) -> str:
    """Digest of a thousand dropout draws from the seed: the same seed may mean other masks."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return text_digest(torch.empty(1000).bernoulli_(0.95, generator=generator).numpy().tobytes())


def _adapter(recorder: Recorder, done: dict[str, Any], spec: TrainSpec, folder: Path) -> None:
    """The saved adapter's tensors, its logits in a fresh base, and the untouched base."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    loader = family(spec.family)
    with safe_open(str(folder / "adapter" / "adapter_model.safetensors"), "np") as file:
        shapes = {
            canonical_name(name, loader): list(file.get_slice(name).get_shape())
            for name in sorted(file.keys())
        }
    recorder.add("adapter_tensors", {k: [*v] for k, v in sorted(shapes.items())}, unit="shape")
    trained: list[Json] = [*sorted({d for n, d in done["dtypes"].items() if "lora_" in n})]
    recorder.add("trained_dtypes", trained, unit="dtypes")
    for name, unit in (("optimizer_dtypes", "dtypes"), ("trained_strays", "tensors")):
        if name in done:
            recorder.add(name, [*done[name]], unit=unit)
        else:  # It was finished by an earlier version.
            recorder.not_run(name, "this training did not record them", Lack.METRIC)
    recorder.add("base_changed", done["frozen_before"] != done["frozen_after"], unit="bool")
    before = load_file(str(folder / "final_logits.safetensors"))["logits"]
    result, _ = recorder.attempt(
        "reload_gap", lambda: reloaded_logits(spec, folder, done["dtypes"])
    )
    if result is not None:
        gap = float((result - before).abs().max())
        recorder.add("reload_gap", gap, unit="logit", direction=Direction.LOWER)
        recorder.add("logits_moved", float(before.std()), unit="logit")


def _data(recorder: Recorder, done: dict[str, Any], spec: TrainSpec, context: Context) -> None:
    """In one epoch every product is seen once: its targets add up, whatever the order."""
    per_step = spec.micro_batch * spec.accumulation
    steps = done["rows"] // per_step
    if done["rows"] % per_step or len(done["curve"]) < steps:
        reason = f"{len(done['curve'])} steps of {per_step} hold no whole epoch of {done['rows']}"
        for metric in ("epoch_target_gap", "epoch_targets"):
            recorder.not_run(metric, reason, Lack.SCALE)
        return
    seen = sum(int(entry["targets"]) for entry in done["curve"][:steps])
    processor = loading.load_processor(context.snapshot)
    total = sum(_targets(processor, row, context) for row in rows_of(spec, "train"))
    recorder.add("epoch_target_gap", abs(seen - total), unit="tokens")
    recorder.add("epoch_targets", total, unit="tokens")


def _targets(processor: Any, row: dict[str, Any], context: Context) -> int:
    """Trained tokens of one row, collated alone."""
    from harness.measuring.training.collate import make_collator

    batch = make_collator(processor, context.recipe, family(context.family))(
        [training_messages(row, context.recipe)]
    )
    return int((batch["labels"] != IGNORE_INDEX).sum())
