"""A training state that survives a kill: safetensors and JSON, written whole or not at all.

Each state is a folder `step-<n>` with a seal over its files; `latest.json` names the newest
complete one and its seal, and is replaced atomically after it, so whatever moment the process dies
at, the pointer leads to whole files. A state of which one bit is another is refused by name.
Pickled trainer checkpoints are neither written nor read: torch 2.4.0 executes what they hold.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInput, Damaged
from harness.measuring.training.processes import ALONE, Crew
from harness.measuring.training.sharded import share_of, whole
from harness.records.files import read_json, read_object, write_atomically, write_json
from harness.records.seals import check_seal, seal
from harness.records.typed import Json, build

# History: 1 (2026-11) first format; 2 (2026-11) sealed.
STATE_SCHEMA = 2
POINTER = "latest.json"
FILES = ("state.json", "state.safetensors", "trainer_state.json")
MEND = "start a new run, in another folder"


@dataclass(frozen=True)
class Progress:
    """What the training loop holds besides tensors.

    pending_loss: sum of losses since the last logged step, logged_step: that step; the
    libraries forget both when they resume, and then log a wrong mean. curve: one entry per
    optimizer step.
    """

    step: int
    pending_loss: float
    logged_loss: float
    logged_step: int
    seconds: float
    curve: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class _Pointer:
    """folder: name of the newest complete state. seal: the digest of its manifest."""

    schema: int
    folder: str
    seal: str


def _pointer(path: Path) -> _Pointer:
    """What the pointer's file says. Raises Damaged."""
    try:
        raw = read_object(path, MEND)
        if raw.get("schema") != STATE_SCHEMA:
            raise ValueError(f"its schema is {raw.get('schema')!r}, not {STATE_SCHEMA}")
        pointer = build(_Pointer, raw)
        if Path(pointer.folder).name != pointer.folder or pointer.folder in {"", ".", ".."}:
            raise ValueError(f"{pointer.folder!r} is outside its folder")
        if not (path.parent / pointer.folder).is_dir():
            raise ValueError(f"there is no folder {pointer.folder}")
    except ValueError as error:
        raise Damaged(f"{path} names no training state ({error}); {MEND}.") from error
    except BadInput as error:
        raise Damaged(str(error)) from error
    return pointer


def newest(folder: Path) -> Path | None:
    """The newest complete state under a folder, None before the first.

    Raises Damaged where a file of it, or what names it, is not as it was written.
    """
    path = folder / POINTER
    if not path.is_file():
        return None
    pointer = _pointer(path)
    state = folder / pointer.folder
    check_seal(state, FILES, MEND, pointer.seal)
    return state


def random_states() -> tuple[dict[str, Json], dict[str, Any]]:
    """(JSON, tensors) of the generators of python, numpy and torch, CUDA's included."""
    import numpy as np
    import torch

    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    plain: dict[str, Json] = {
        "python": [version, list(words), gauss],
        "numpy": [kind, [int(k) for k in keys], int(position), int(has_gauss), float(cached)],
    }
    tensors = {"random.torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        for i, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"random.cuda.{i}"] = state
    return plain, tensors


def restore_random_states(plain: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Inverse of random_states."""
    import numpy as np
    import torch

    version, words, gauss = plain["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *rest = plain["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(tensors["random.torch"])
    cuda = [t for n, t in sorted(tensors.items()) if n.startswith("random.cuda.")]
    # A process that goes on with fewer cards in sight has fewer generators.
    for card, state in enumerate(cuda[: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, card)


def _optimizer(trainer: Any) -> Any:
    """The torch optimizer inside accelerate's wrapper."""
    return getattr(trainer.optimizer, "optimizer", trainer.optimizer)


def trainable(model: Any) -> dict[str, Any]:
    """The parameters that training changes, by name."""
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def save_state(trainer: Any, folder: Path, progress: Progress, crew: Crew = ALONE) -> Path:
    """Write adapter, optimizer, scheduler, random states and history; return the state's folder.

    crew: every one of its processes must call it; the first writes, each other one leaves its
    random states beside. Raises OutOfSpace where the disk is full; the previous state then stays
    the newest.
    """
    import torch

    target = folder / f"step-{progress.step:06d}"
    if crew.is_first:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
    parameters = trainable(trainer.model)
    tensors = {f"adapter.{n}": whole(p.detach()) for n, p in parameters.items()}
    state = _optimizer(trainer).state
    for name, parameter in parameters.items():
        for key, value in state[parameter].items():
            tensors[f"optimizer.{key}.{name}"] = whole(torch.as_tensor(value))
    crew.wait()
    plain, generators = random_states()
    if not crew.is_first:
        _write(target / f"random-{crew.rank}", generators, {"random": plain})
        crew.wait()
        return target
    scheduler: dict[str, Json] = {
        k: v
        for k, v in trainer.lr_scheduler.state_dict().items()
        if isinstance(v, bool | int | float | list) and k != "lr_lambdas"
    }
    history: dict[str, Json] = {
        "schema": STATE_SCHEMA,
        "step": progress.step,
        "pending_loss": progress.pending_loss,
        "logged_loss": progress.logged_loss,
        "logged_step": progress.logged_step,
        "seconds": progress.seconds,
        "curve": list(progress.curve),
        "scheduler": scheduler,
        "random": plain,
    }
    _write(target / "state", tensors | generators, history)
    trainer.state.save_to_json(str(target / "trainer_state.json"))
    crew.wait()
    beside = (f"random-{rank}" for rank in range(1, crew.count))
    names = [*FILES, *(f"{name}.{kind}" for name in beside for kind in ("json", "safetensors"))]
    pointer = _Pointer(STATE_SCHEMA, target.name, seal(target, names))
    write_json(folder / POINTER, asdict(pointer))
    for old in folder.glob("step-*"):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    return target


def _write(path: Path, tensors: Mapping[str, Any], plain: Mapping[str, Json]) -> None:
    """Tensors and JSON of one name."""
    from safetensors.torch import save

    on_host = {n: t.detach().cpu().clone().contiguous() for n, t in tensors.items()}
    write_atomically(path.with_suffix(".safetensors"), save(on_host))
    write_json(path.with_suffix(".json"), dict(plain))


def restore_random(checkpoint: Path, rank: int) -> None:
    """A process's own random states; of a state without such a process, whatever it has drawn."""
    from safetensors.torch import load_file

    path = checkpoint / (f"random-{rank}.json" if rank else "state.json")
    if path.is_file():
        tensors = load_file(str(path.with_suffix(".safetensors")))
        restore_random_states(read_json(path)["random"], tensors)


def read_state(checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(JSON, tensors) of a state whose seal was checked. Raises BadInput where it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    plain = read_json(checkpoint / "state.json")
    if plain.get("schema") != STATE_SCHEMA:
        raise BadInput(f"{checkpoint} is a training state of another version; {MEND}.")
    try:
        return plain, load_file(str(checkpoint / "state.safetensors"))
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{checkpoint} is damaged ({error}); {MEND}.") from error


def restore_adapter(model: Any, tensors: Mapping[str, Any]) -> None:
    """Copy the saved adapter into the model. Raises BadInput where the names differ."""
    parameters = trainable(model)
    saved = {n.removeprefix("adapter.") for n in tensors if n.startswith("adapter.")}
    if saved != set(parameters):
        odd = sorted(saved ^ set(parameters))[0]
        raise BadInput(f"The saved state does not fit this model ({odd}); start a new run.")
    for name, parameter in parameters.items():
        parameter.data.copy_(share_of(tensors[f"adapter.{name}"], parameter.data))


def restore_optimizer(trainer: Any, plain: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Put moments, step counts and the scheduler back."""
    optimizer = _optimizer(trainer)
    for name, parameter in trainable(trainer.model).items():
        state = {}
        for key, value in tensors.items():
            kind, _, rest = key.partition(".")
            entry, _, owner = rest.partition(".")
            if kind == "optimizer" and owner == name:
                state[entry] = share_of(value, parameter.data)
        optimizer.state[parameter] = state
    scheduler = dict(plain["scheduler"])
    trainer.lr_scheduler.load_state_dict({**trainer.lr_scheduler.state_dict(), **scheduler})
    for group, rate in zip(optimizer.param_groups, scheduler["_last_lr"], strict=True):
        group["lr"] = rate
