"""One short QLoRA run described by a frozen spec: `python -m harness.train SPEC.json FOLDER`.

The folder gets `state/` (see checkpoint.py), `adapter/` (peft, safetensors), `logs/` for
TensorBoard, `trainer_state.json`, `progress.json`, and at the end `run.json`.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import _compat
from harness.checkpoint import Interrupted, newest, trainable, with_state
from harness.context import Context
from harness.dataset import load_rows, rows_digest
from harness.errors import BadInput, HarnessError
from harness.models import family
from harness.recipe import Recipe, training_messages, variant
from harness.record import json_digest, read_json, write_atomically, write_json
from harness.trainer import build_trainer
from harness.training_console import first_interrupt_sets, progress

RUN_SCHEMA = 1
# Positions whose logits are kept to compare the adapter after it was saved and loaded again.
LOGIT_POSITIONS = 8
LOGIT_ROWS = 4


@dataclass(frozen=True)
class TrainSpec:
    """Everything that determines a run's numbers on one device.

    max_steps: -1 trains the recipe's epochs. save_every: steps between states.
    """

    snapshot: str
    model: str
    data: str
    recipe: str
    device: str
    quantisation: str
    dtype: str
    max_steps: int
    micro_batch: int
    accumulation: int
    learning_rate: float
    seed: int = 42
    threads: int = 2
    save_every: int = 5
    rows: int | None = None
    family: str = "qwen2_vl"

    @property
    def digest(self) -> str:
        """Digest over every field."""
        return json_digest(asdict(self))


@dataclass(frozen=True)
class StandInScale:
    """The recipe's hyper-parameters for a model of two million parameters, with reasons."""

    max_steps: int
    micro_batch: int
    accumulation: int
    learning_rate: float
    reason: str


STAND_IN_SCALE = StandInScale(
    max_steps=35,
    micro_batch=4,
    accumulation=4,
    learning_rate=2e-3,
    reason=(
        "35 steps of 4×4 are one epoch of the 560 products, under a minute on 2 cores, and divide "
        "it evenly. The learning rate is ten times the recipe's: a LoRA update of rank 8 has to "
        "switch the style of matrices of width 128 in a tenth of the recipe's steps."
    ),
)


def spec_for(context: Context) -> TrainSpec:
    """The run of a context: the recipe's numbers, or the stand-in's scale, or the user's."""
    recipe, scale = context.recipe.training, context.scale
    device = "cuda" if context.device.startswith("cuda") else "cpu"
    small = context.is_stand_in or device == "cpu"
    steps = STAND_IN_SCALE.max_steps if small else 100
    if scale.full:
        steps = -1
    return TrainSpec(
        snapshot=str(context.snapshot),
        model=context.model,
        data=context.data,
        recipe=context.recipe.name,
        device=device,
        quantisation=family(context.family).quantisation_mode(device),
        dtype="bfloat16" if device == "cuda" else "float32",
        max_steps=scale.max_steps or steps,
        micro_batch=scale.micro_batch
        or (STAND_IN_SCALE.micro_batch if small else recipe.per_device_train_batch_size),
        accumulation=scale.accumulation
        or (STAND_IN_SCALE.accumulation if small else recipe.gradient_accumulation_steps),
        learning_rate=scale.learning_rate
        or (STAND_IN_SCALE.learning_rate if context.is_stand_in else recipe.learning_rate),
        seed=context.seed,
        threads=context.threads,
        family=context.family,
    )


def train(spec: TrainSpec, folder: Path, *, bar: bool = True) -> dict[str, Any]:
    """Train, or go on from the newest state, or return the finished run's `run.json`.

    Raises BadInput where the folder holds another spec's run, Interrupted after Ctrl-C.
    """
    import torch

    done = folder / "run.json"
    if done.is_file():
        finished: dict[str, Any] = read_json(done)
        _same_spec(finished["spec_digest"], spec, folder)
        return finished
    started_with = folder / "spec.json"
    if started_with.is_file():
        _same_spec(read_json(started_with)["digest"], spec, folder)
    write_json(started_with, {"digest": spec.digest, "spec": asdict(spec)})
    torch.set_num_threads(spec.threads)
    recipe = variant(spec.recipe)
    rows = load_rows(spec.data, "train", limit=spec.rows)
    model, processor = _load(spec)
    flag = threading.Event()
    state = newest(folder / "state")
    before = read_json(state / "state.json")["seconds"] if state else 0.0
    begun = time.monotonic()
    total = [0]

    def clock() -> float:
        return before + time.monotonic() - begun

    with progress(bar, folder, total) as advance:
        built = build_trainer(
            model,
            processor,
            [training_messages(row, recipe) for row in rows],
            recipe,
            folder / "trainer",
            max_steps=spec.max_steps,
            micro_batch=spec.micro_batch,
            accumulation=spec.accumulation,
            learning_rate=spec.learning_rate,
            seed=spec.seed,
            log_folder=folder / "logs",
            trainer_class=lambda base: with_state(
                base,
                folder / "state",
                every=spec.save_every,
                total=lambda: total[0],
                interrupted=flag.is_set,
                clock=clock,
                after_step=advance,
            ),
        )
        trainer = built.trainer
        total[0] = _total_steps(trainer, spec, len(rows))
        if state is not None:
            _check_position(state, spec, len(rows), trainer)
        digest_before = frozen_digest(trainer.model)
        with first_interrupt_sets(flag):
            trainer.train(resume_from_checkpoint=str(state) if state else None)
    notes = (*built.notes, *_attention_notes(spec))
    return _finish(spec, folder, notes, trainer, processor, rows, digest_before, clock())


def _same_spec(digest: str, spec: TrainSpec, folder: Path) -> None:
    if digest != spec.digest:
        raise BadInput(f"{folder} holds a run with other settings; give another --out.")


def _load(spec: TrainSpec) -> tuple[Any, Any]:
    loader = family(spec.family)
    model = loader.load_model(
        Path(spec.snapshot),
        device=spec.device,
        dtype=spec.dtype,
        quantisation=spec.quantisation,
        recipe=variant(spec.recipe),
        attention=_compat.training_attention(spec.device),
    )
    return model, loader.load_processor(Path(spec.snapshot))


def _attention_notes(spec: TrainSpec) -> tuple[str, ...]:
    chosen = _compat.training_attention(spec.device)
    if chosen is None:
        return ()
    return (
        f"Attention is {chosen}: with this transformers the fused one gives wrong gradients on "
        "the CPU where left padding masks a whole row (trajectory.padded_gradient).",
    )


def _total_steps(trainer: Any, spec: TrainSpec, rows: int) -> int:
    if spec.max_steps > 0:
        return spec.max_steps
    batches = -(-rows // spec.micro_batch)
    per_epoch = max(1, batches // spec.accumulation)
    return per_epoch * int(trainer.args.num_train_epochs)


def _check_position(state: Path, spec: TrainSpec, rows: int, trainer: Any) -> None:
    """Refuse to resume where the library would go on from another sample than it stopped at.

    transformers 4.45 carries a partial accumulation over the end of an epoch, but on resuming
    computes the position as if every epoch held whole steps. Within the first epoch, and where
    the accumulation divides the epoch, both agree.
    """
    step = int(read_json(state / "state.json")["step"])
    batches = -(-rows // spec.micro_batch)
    per_epoch = max(1, batches // spec.accumulation)
    if batches % spec.accumulation and step >= per_epoch:
        raise BadInput(
            f"{state.parent.parent} stopped after its first epoch of {batches} batches, which "
            f"{spec.accumulation} does not divide, and cannot go on at the exact sample; "
            "start a new run."
        )


def frozen_digest(model: Any) -> str:
    """SHA-256 over every parameter and buffer but the adapter's: training must not change them."""
    import torch

    digest = hashlib.sha256()
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name in sorted(n for n in named if "lora_" not in n):
        digest.update(name.encode())
        data = named[name].detach().cpu().contiguous()
        digest.update(data.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def probe_logits(model: Any, processor: Any, rows: Any, recipe: Recipe) -> Any:
    """float32 (rows, positions, vocabulary): logits at the last positions of some batch."""
    import torch

    from harness.collate import make_collator

    batch = make_collator(processor, recipe)([training_messages(r, recipe) for r in rows])
    batch.pop("labels")
    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad():
        logits = model(**{k: v.to(device) for k, v in batch.items()}, use_cache=False).logits
    return logits[:, -LOGIT_POSITIONS:].float().cpu()


def _finish(
    spec: TrainSpec,
    folder: Path,
    notes: tuple[str, ...],
    trainer: Any,
    processor: Any,
    rows: list[dict[str, Any]],
    digest_before: str,
    seconds: float,
) -> dict[str, Any]:
    """Save the adapter and what the probes judge, then `run.json` last: it says 'finished'."""
    import torch
    from safetensors.torch import save

    model = trainer.model
    # Before the logits: bitsandbytes repacks 4-bit weights for a CPU when they first infer.
    digest_after = frozen_digest(model)
    part = folder / "adapter.part"
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(str(part), safe_serialization=True)
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    part.rename(folder / "adapter")
    logits = probe_logits(model, processor, rows[:LOGIT_ROWS], variant(spec.recipe))
    write_atomically(folder / "final_logits.safetensors", save({"logits": logits.contiguous()}))
    trainer.state.save_to_json(str(folder / "trainer_state.json"))
    kept = ("step", "epoch", "loss", "grad_norm", "learning_rate")
    run = {
        "schema": RUN_SCHEMA,
        "spec": asdict(spec),
        "spec_digest": spec.digest,
        "rows": len(rows),
        "rows_digest": rows_digest(rows),
        "notes": list(notes),
        "curve": trainer.curve,
        "log": [
            {k: entry[k] for k in kept if k in entry}
            for entry in trainer.state.log_history
            if "loss" in entry
        ],
        "trainable": sum(p.numel() for p in trainable(model).values()),
        "dtypes": {
            n: str(p.dtype).removeprefix("torch.")
            for n, p in model.named_parameters()
            if p.dtype in (torch.float32, torch.bfloat16, torch.float16)
        },
        "frozen_before": digest_before,
        "frozen_after": digest_after,
        "seconds": round(seconds, 3),
    }
    write_json(folder / "run.json", run)
    return run


def reloaded_logits(spec: TrainSpec, folder: Path, dtypes: dict[str, str]) -> Any:
    """The final logits again, from a fresh base and the saved adapter.

    dtypes: each parameter's type when training ended; the libraries change some of them on the
    way (float32 norms, bfloat16 adapters), losslessly for values that began as bfloat16.
    """
    import torch
    from peft import PeftModel

    model, processor = _load(spec)
    model = PeftModel.from_pretrained(model, str(folder / "adapter"))
    for name, parameter in model.named_parameters():
        if name in dtypes:
            parameter.data = parameter.data.to(getattr(torch, dtypes[name]))
    rows = load_rows(spec.data, "train", limit=LOGIT_ROWS)
    return probe_logits(model, processor, rows, variant(spec.recipe))


def main(arguments: list[str]) -> int:
    """Run a spec file; Ctrl-C saves the state and says how to go on."""
    spec_path, folder = Path(arguments[0]), Path(arguments[1])
    try:
        spec = TrainSpec(**read_json(spec_path))
        run = train(spec, folder)
    except Interrupted:
        print(f"Stopped; the same command goes on from {newest(folder / 'state')}.",
              file=sys.stderr)  # fmt: skip
        return 130
    except KeyboardInterrupt:
        return 130
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"trained {len(run['curve'])} steps in {run['seconds']:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
