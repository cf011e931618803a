"""One short QLoRA run described by a frozen spec: `harness train SPEC.json FOLDER`.

The folder gets `state/` (see checkpoint.py), `adapter/` (peft, safetensors), `logs/` for
TensorBoard, `trainer_state.json`, `progress.json`, and at the end `run.json` and a seal.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.data.dataset import rows_of
from harness.data.intake import added_tokens
from harness.errors import BadInput, NotRunnable
from harness.measuring import _compat
from harness.measuring.snapshots import loading
from harness.measuring.training.capacity import explaining, refuse_training
from harness.measuring.training.checkpoint import MEND, newest
from harness.measuring.training.console import first_interrupt_sets, progress
from harness.measuring.training.end import (
    FINISHED,
    LOGIT_ROWS,
    finish,
    frozen_digest,
    gather,
    probe_logits,
)
from harness.measuring.training.processes import Crew, here
from harness.measuring.training.sharded import group, shard, take_over
from harness.measuring.training.spec import (
    TrainSpec,
    check_position,
    read_spec,
    spec_to_json,
    total_steps,
)
from harness.measuring.training.stateful import Interrupted, with_state
from harness.measuring.training.trainer import Conversations, build_trainer
from harness.measuring.ways import Applied, apply
from harness.recipe.ways import variant as way_of
from harness.records.files import read_json, remove_strays, write_json
from harness.records.seals import check_seal, is_sealed


def train(
    spec: TrainSpec, folder: Path, *, bar: bool = True, callbacks: Sequence[Any] = ()
) -> dict[str, Any]:
    """Train, or go on from the newest state, or return the finished run's `run.json`.

    callbacks: of transformers' Trainer, beside its own. Raises BadInput where the folder holds
    another spec's run, Interrupted after Ctrl-C, NotRunnable where it cannot fit the card or did
    not (`out_of_memory.json` then says why).
    """
    import torch

    crew = here()
    if crew.shares:
        take_over()
    mine = crew.part(spec)
    done = folder / "run.json"
    # Without its seal a run ended before it had finished, and goes on from its state.
    if done.is_file() and is_sealed(folder):
        check_seal(folder, FINISHED, MEND)
        _same_spec(read_spec(done), spec, folder)
        finished: dict[str, Any] = read_json(done)
        return finished
    started_with = folder / "spec.json"
    if started_with.is_file():
        _same_spec(read_spec(started_with), spec, folder)
    state = newest(folder / "state")
    if crew.is_alone:
        remove_strays(folder)
    torch.set_num_threads(spec.threads)
    tokens = added_tokens(Path(spec.snapshot))
    rows = rows_of(spec, "train", limit=spec.rows, tokens=tokens)
    shares = crew.count if crew.shares else 1
    refuse_training(mine, shares)
    with explaining(mine, folder, shares):
        bar = bar and crew.is_first
        return _train(spec, mine, crew, folder, state, rows, callbacks, bar=bar)


def _train(
    spec: TrainSpec,
    mine: TrainSpec,
    crew: Crew,
    folder: Path,
    state: Path | None,
    rows: Sequence[dict[str, Any]],
    callbacks: Sequence[Any],
    *,
    bar: bool,
) -> dict[str, Any]:
    """spec: of all processes together. mine: what this one does. state: to go on from."""
    model, processor = _load(mine, crew.storage())
    if crew.is_first:
        # What is refused up to here leaves nothing.
        write_json(folder / "spec.json", spec_to_json(spec))
    flag = threading.Event()
    before = read_json(state / "state.json")["seconds"] if state else 0.0
    begun = time.monotonic()
    total = [0]

    def clock() -> float:
        return before + time.monotonic() - begun

    with progress(bar, folder, total, write=crew.is_first) as advance:
        built = build_trainer(
            model,
            processor,
            Conversations(rows, spec.recipe),
            spec.recipe,
            folder / "trainer",
            max_steps=spec.max_steps,
            micro_batch=mine.micro_batch,
            accumulation=mine.accumulation,
            learning_rate=spec.learning_rate,
            seed=spec.seed,
            dropout=spec.dropout,
            callbacks=callbacks,
            log_folder=folder / "logs",
            trainer_class=lambda base: with_state(
                base,
                folder / "state",
                every=spec.save_every,
                total=lambda: total[0],
                interrupted=flag.is_set,
                clock=clock,
                after_step=advance,
                crew=crew,
            ),
            **crew.arguments(),
        )
        trainer = built.trainer
        total[0] = total_steps(spec, len(rows), int(trainer.args.num_train_epochs))
        if state is not None:
            check_position(state, spec, len(rows))
        digest_before = frozen_digest(trainer.model)
        applied = put_on(trainer, spec.way, crew) if spec.way else None
        if crew.shares:
            shard(trainer)
            group(trainer.model)
        with first_interrupt_sets(flag) if crew.is_alone else contextlib.nullcontext():
            trainer.train(resume_from_checkpoint=str(state) if state else None)
        if applied is not None:
            # What is left is judged as it would be without a way.
            applied.undo()
    if not crew.is_first and not crew.shares:
        crew.wait()
        return {"curve": trainer.curve, "seconds": clock()}
    # Where each holds a share of the model, all have to bring it.
    end = gather(spec, trainer, processor, rows)
    if not crew.is_first:
        crew.wait()
        return {"curve": trainer.curve, "seconds": clock()}
    notes = (*built.notes, *_attention_notes(spec), *crew.notes(spec))
    way = None if applied is None else applied.to_json()
    run = finish(spec, folder, notes, trainer, end, rows, digest_before, clock(), way)
    crew.wait()
    if flag.is_set():
        raise Interrupted  # it came during the last step: nothing is left to do, but to stop
    return run


def put_on(trainer: Any, way: str, crew: Crew) -> Applied:
    """The spec's way on a trainer. Raises NotRunnable where it cannot be, in one sentence."""
    if crew.shares and way_of(way).unpacked != "no":
        raise NotRunnable(
            f"{way} unpacks 4-bit weights, and shares of a model stay packed; choose a way that "
            "keeps them packed, or train data parallel (--multi_gpu)."
        )
    return apply(trainer, way)


def _same_spec(begun: TrainSpec, spec: TrainSpec, folder: Path) -> None:
    if begun.digest != spec.digest:
        raise BadInput(f"{folder} holds a run with other settings; give another --out.")


def _load(spec: TrainSpec, storage: str = "uint8") -> tuple[Any, Any]:
    model = loading.load_model(
        Path(spec.snapshot),
        device=spec.device,
        dtype=spec.dtype,
        quantisation=spec.quantisation,
        recipe=spec.recipe,
        attention=_compat.training_attention(spec.device),
        storage=storage,
    )
    return model, loading.load_processor(Path(spec.snapshot), padding_side=spec.padding or None)


def _attention_notes(spec: TrainSpec) -> tuple[str, ...]:
    chosen = _compat.training_attention(spec.device)
    if chosen is None:
        return ()
    return (
        f"Attention is {chosen}: with this transformers the fused one gives wrong gradients on "
        "the CPU where left padding masks a whole row (trajectory.padded_gradient).",
    )


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
    rows = rows_of(spec, "train", limit=LOGIT_ROWS)
    return probe_logits(model, processor, rows, spec.recipe)
