"""What a finished training leaves: its adapter, its final logits, `run.json`, and their seal."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.data.dataset import rows_digest
from harness.errors import Diverged
from harness.measuring.models import of
from harness.measuring.training.checkpoint import trainable
from harness.measuring.training.sharded import four_bit_weights, whole
from harness.measuring.training.spec import TrainSpec
from harness.recipe.published import Recipe, training_messages
from harness.records.files import write_atomically, write_json
from harness.records.seals import seal, unseal

# 2: the spec holds its whole recipe, no longer a name.
RUN_SCHEMA = 2
FINISHED = (
    "adapter/adapter_config.json",
    "adapter/adapter_model.safetensors",
    "final_logits.safetensors",
    "run.json",
    "trainer_state.json",
)
# Of every entry of a Trainer's log.
LOGGED = ("step", "epoch", "loss", "grad_norm", "learning_rate")
# Positions whose logits are kept to compare the adapter after it was saved and loaded again.
LOGIT_POSITIONS = 8
LOGIT_ROWS = 4


def frozen_digest(model: Any) -> str:
    """SHA-256 over every parameter and buffer but the adapter's: training must not change them.

    Of values, not of bytes: bitsandbytes holds a bias in the dtype that last went through its
    Linear, and k-bit preparation widened it from bfloat16, so the way back loses nothing. Of a
    sharded model every process must ask.
    """
    import torch

    digest = hashlib.sha256()
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name in sorted(n for n in named if "lora_" not in n):
        digest.update(name.encode())
        data = whole(named[name].detach()).cpu().contiguous()
        if data.dtype in (torch.bfloat16, torch.float16):
            data = data.float()
        digest.update(data.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def probe_logits(
    model: Any, processor: Any, rows: Any, recipe: Recipe, *, as_trained: bool = True
) -> Any:
    """float32 (rows, positions, vocabulary): logits at the last positions of some batch.

    as_trained: in a GPU's autocast, else in the model's own dtype.
    """
    import torch

    from harness.measuring.training.collate import make_collator

    collate = make_collator(processor, recipe, of(model))
    batch = collate([training_messages(r, recipe) for r in rows])
    batch.pop("labels")
    device = next(model.parameters()).device
    model.eval()
    # On a GPU the recipe trains under autocast, and accelerate leaves its wrapper on the trained
    # model's forward: a reloaded one is asked in the same arithmetic, or a rounding would count.
    casts = as_trained and device.type == "cuda"
    cast = torch.autocast("cuda", torch.bfloat16) if casts else nullcontext()
    with torch.no_grad(), cast:
        logits = model(**{k: v.to(device) for k, v in batch.items()}, use_cache=False).logits
    return logits[:, -LOGIT_POSITIONS:].float().cpu()


@dataclass(frozen=True)
class End:
    """A trained model's frozen digest, adapter tensors by name, and final logits."""

    digest: str
    adapter: dict[str, Any]
    logits: Any


def gather(spec: TrainSpec, trainer: Any, processor: Any, rows: Sequence[dict[str, Any]]) -> End:
    """What has to be gathered from the processes that share a model."""
    model = trainer.model
    # Before the logits: bitsandbytes repacks 4-bit weights for a CPU when they first infer.
    digest = frozen_digest(model)
    adapter = {n: whole(p.detach()).cpu() for n, p in trainable(model).items()}
    logits = probe_logits(model, processor, rows[:LOGIT_ROWS], spec.recipe)
    return End(digest, adapter, logits)


def optimizer_dtypes(optimizer: Any) -> list[str]:
    """Of the moments and whatever else is kept by parameter, sorted."""
    import torch

    states = getattr(optimizer, "optimizer", optimizer).state.values()
    kept = [v for state in states for v in state.values() if isinstance(v, torch.Tensor)]
    return sorted({str(tensor.dtype).removeprefix("torch.") for tensor in kept})


def logged(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A Trainer's entries of losses, by what is kept of them.

    Raises Diverged where one is no number: the last step's gradient may be, though its loss is
    one, and the adapter that it leaves is not.
    """
    entries = [{k: entry[k] for k in LOGGED if k in entry} for entry in history if "loss" in entry]
    for entry in entries:
        for name, value in entry.items():
            if not math.isfinite(value):
                raise Diverged(
                    f"{name} of step {entry.get('step')} is {value}, and so is the adapter after "
                    "it; nothing is kept. See trajectory.padded_gradient_is_finite: if padding is "
                    'the cause, set processor.tokenizer.padding_side = "right" and train again.'
                )
    return entries


def finish(
    spec: TrainSpec,
    folder: Path,
    notes: tuple[str, ...],
    trainer: Any,
    end: End,
    rows: Sequence[dict[str, Any]],
    digest_before: str,
    seconds: float,
    way: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Save the adapter and what the probes judge, then `run.json`, then the seal over all of it:
    it says 'finished'. way: what `Applied.to_json` says of the spec's, where it has one. Raises
    Diverged as `logged` does, with nothing written."""
    from safetensors.torch import save

    model, log = trainer.model, logged(trainer.state.log_history)
    unseal(folder)
    part = folder / "adapter.part"
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(str(part), state_dict=end.adapter, safe_serialization=True)
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    part.rename(folder / "adapter")
    write_atomically(folder / "final_logits.safetensors", save({"logits": end.logits.contiguous()}))
    trainer.state.save_to_json(str(folder / "trainer_state.json"))
    four_bit = four_bit_weights(model)
    run = {
        "schema": RUN_SCHEMA,
        "spec": asdict(spec),
        "spec_digest": spec.digest,
        "rows": len(rows),
        "rows_digest": rows_digest(rows),
        "notes": list(notes),
        "curve": trainer.curve,
        "log": log,
        "trainable": sum(p.numel() for p in trainable(model).values()),
        "dtypes": {
            n: str(p.dtype).removeprefix("torch.")
            for n, p in model.named_parameters()
            if n not in four_bit and p.dtype.is_floating_point
        },
        "optimizer_dtypes": optimizer_dtypes(trainer.optimizer),
        "trained_strays": sorted(n for n in trainable(model) if "lora_" not in n),
        "frozen_before": digest_before,
        "frozen_after": end.digest,
        "seconds": round(seconds, 3),
        **({} if way is None else {"way": way}),
    }
    write_json(folder / "run.json", run)
    seal(folder, FINISHED)
    return run
