"""A Trainer from a user's file: what its function returns, or what it was about to train.

Nothing outside a scratch folder is written: the arguments' output folder, reports, pushes and
checkpoints are put out of action before the Trainer is built, and each is named.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import inspect
import os
import runpy
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

from harness.errors import BadInput
from harness.measuring.audit.steps.generators import noted
from harness.measuring.audit.steps.loop import Loop, Reached

# What a file's function is called where the user names none.
FUNCTION = "make_trainer"
_MODULE = "training_under_audit"
_ENDLESS = 1_000_000
# Settings that would leave something behind, and what stands in for them.
SILENT: Mapping[str, Any] = {
    "push_to_hub": False,
    "save_strategy": "no",
    "eval_strategy": "no",
    "load_best_model_at_end": False,
    "disable_tqdm": True,
    "dataloader_num_workers": 0,
    "dataloader_persistent_workers": False,
    "dataloader_prefetch_factor": None,
    "dataloader_pin_memory": False,
    "torch_compile": False,
}


@dataclasses.dataclass
class OpenTrainer:
    """A Trainer and how it was come by. way: as in `Opened`. declared: its arguments as the user
    wrote them, before anything was put out of action. quantisations: the BitsAndBytesConfigs that
    it made, used or not. trace: the steps that a loop without Trainer took (`watching.Run`)."""

    trainer: Any
    way: str
    changed: list[str]
    declared: dict[str, Any] = dataclasses.field(default_factory=dict)
    quantisations: list[Any] = dataclasses.field(default_factory=list)
    trace: Any = None


def open_training(
    path: Path,
    function: str,
    scratch: Path,
    words: Sequence[str] = (),
    steps: int = 2,
    given: Sequence[Mapping[str, Any]] = (),
) -> OpenTrainer:
    """The Trainer of a user's file. scratch: takes what it would write. words: the script's own
    command line. steps: that a loop without Trainer may take; they are undone. given: another
    stack's batches, which such a loop takes in place of its own.

    Raises BadInput in one sentence where the file cannot be run, has no such function, trains
    nothing, or raises: with the line of the user's file.
    """
    changed: list[str] = []
    originals: list[tuple[Any, dict[str, Any]]] = []
    quantisations: list[Any] = []
    silenced = _silenced(scratch, changed, originals)
    with _in_its_folder(path), silenced, _noted_quantisations(quantisations), noted():
        try:
            trainer, way = _from_file(path, function, words, Loop(steps, given))
        except (BadInput, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise _refusal(path, error) from error
    trace = trainer.result if isinstance(trainer, Loop) else None
    changed += trainer.changed if isinstance(trainer, Loop) else []
    trainer, way = _as_trainer(trainer, way, path, scratch)
    declared = next((had for args, had in originals if args is trainer.args), {})
    silent = list(dict.fromkeys(changed))
    return OpenTrainer(trainer, way, silent, declared, quantisations, trace)


def _from_file(path: Path, function: str, words: Sequence[str], loop: Loop) -> tuple[Any, str]:
    if function or _defines(path, FUNCTION):
        return _called(path, function or FUNCTION), "function"
    return _intercepted(path, words, loop)


def _defines(path: Path, name: str) -> bool:
    import ast

    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{path}:{line}" if line else str(path)
        raise BadInput(f"{place} is no Python ({error}); give a training script.") from error
    return any(isinstance(n, ast.FunctionDef) and n.name == name for n in tree.body)


def _called(path: Path, name: str) -> Any:
    """What the file's function returns."""
    if not _defines(path, name):
        raise BadInput(f"{path} defines no function {name}; name the one that returns a Trainer.")
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{path} is no Python file; give a training script.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    spec.loader.exec_module(module)
    needed = [
        p.name
        for p in inspect.signature(getattr(module, name)).parameters.values()
        if p.default is p.empty and p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}
    ]
    if needed:
        raise BadInput(f"{name} in {path} needs {', '.join(needed)}; it is called without any.")
    return getattr(module, name)()


def _intercepted(path: Path, words: Sequence[str], loop: Loop) -> tuple[Any, str]:
    """The Trainer that a script would train, or its loop over accelerate after a few steps."""
    import transformers

    caught: list[Any] = []

    def train(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        caught.append(self)
        raise Reached

    with (
        loop.watching(),
        mock.patch.object(transformers.Trainer, "train", train),
        mock.patch.object(sys, "argv", [str(path), *words]),
        contextlib.suppress(Reached),
    ):
        runpy.run_path(str(path), run_name="__main__")
    if caught:
        return caught[0], "intercepted"
    if loop.is_reached:
        return loop, "loop"
    raise BadInput(
        f"{path} ran to its end without training: no Trainer.train and no "
        f"accelerator.backward was called; define {FUNCTION}() that returns the Trainer."
    )


def _as_trainer(given: Any, way: str, path: Path, scratch: Path) -> tuple[Any, str]:
    """A Trainer around what was given: itself, a mapping of its arguments, or a loop's parts."""
    import transformers

    if isinstance(given, transformers.Trainer):
        return given, way
    if isinstance(given, Loop):
        return _around(given, path, scratch), way
    if not isinstance(given, Mapping) or "model" not in given:
        raise BadInput(
            f"The function of {path} returns a {type(given).__name__}; return the Trainer, or a "
            "dict with model, train_dataset, data_collator and args."
        )
    return transformers.Trainer(**given), "parts"


def _around(loop: Loop, path: Path, scratch: Path) -> Any:
    """A Trainer of a loop's parts, for what needs one; its batches are the loop's own."""
    import torch
    import transformers

    parts = loop.parts
    loader, accelerator = parts.get("loader"), parts["accelerator"]
    if loader is None:
        raise BadInput(f"{path} prepares no DataLoader with accelerate; hand yours to prepare().")
    streams = isinstance(loader.dataset, torch.utils.data.IterableDataset)
    if "model" not in parts:
        raise BadInput(f"{path} prepares no model with accelerate; hand yours to prepare().")
    arguments = transformers.TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=loader.batch_size or 1,
        gradient_accumulation_steps=accelerator.gradient_accumulation_steps,
        # A Trainer wants to know where rows that have no number end.
        max_steps=_ENDLESS if streams else -1,
        max_grad_norm=0.0,
        remove_unused_columns=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        bf16=accelerator.mixed_precision == "bf16",
        fp16=accelerator.mixed_precision == "fp16",
        use_cpu=accelerator.device.type == "cpu",
    )
    scheduler = parts.get("scheduler")
    trainer = transformers.Trainer(
        model=parts["model"],
        args=arguments,
        train_dataset=loader.dataset,
        data_collator=loader.collate_fn,
        optimizers=(parts.get("optimizer"), getattr(scheduler, "scheduler", scheduler)),
    )

    def batches() -> Any:
        size, sampler = {"batch_size": loader.batch_size}, {"batch_sampler": loader.batch_sampler}
        return torch.utils.data.DataLoader(
            loader.dataset, collate_fn=trainer.data_collator, **(size if streams else sampler)
        )

    trainer.get_train_dataloader = batches
    return trainer


@contextlib.contextmanager
def _in_its_folder(path: Path) -> Iterator[None]:
    """A script finds the modules beside it, as when it is run."""
    folder = str(path.parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


@contextlib.contextmanager
def _silenced(
    scratch: Path, changed: list[str], originals: list[tuple[Any, dict[str, Any]]]
) -> Iterator[None]:
    """Arguments made inside write to `scratch` only; what that changed is added to `changed`."""
    import transformers
    from transformers.trainer_callback import CallbackHandler

    settle = transformers.TrainingArguments.__post_init__

    def quiet(self: Any) -> None:
        originals.append((self, {n: getattr(self, n) for n in vars(self)}))
        for name, silent in SILENT.items():
            if hasattr(self, name) and _chosen(self, name, silent):
                changed.append(f"{name} is {silent!r}")
            if hasattr(self, name):
                setattr(self, name, silent)
        if self.report_to not in ([], "none", ["none"]):
            changed.append("report_to is off")
        self.report_to = []
        changed.append("output_dir is a scratch folder")
        self.output_dir = str(scratch)
        settle(self)

    variables = {"WANDB_MODE": "disabled", "TENSORBOARD_LOGGING_DIR": str(scratch)}

    def unheard(self: Any, event: str, args: Any, state: Any, control: Any, **rest: Any) -> Any:
        return control

    with (
        mock.patch.object(transformers.TrainingArguments, "__post_init__", quiet),
        # A user's callbacks hear of nothing, not even that the Trainer was built.
        mock.patch.object(CallbackHandler, "call_event", unheard),
        mock.patch.dict(os.environ, variables),
    ):
        yield


@contextlib.contextmanager
def _noted_quantisations(noted: list[Any]) -> Iterator[None]:
    """Every BitsAndBytesConfig that is made inside is added to `noted`."""
    import transformers

    settle = transformers.BitsAndBytesConfig.post_init

    def note(self: Any) -> None:
        noted.append(self)
        settle(self)

    with mock.patch.object(transformers.BitsAndBytesConfig, "post_init", note):
        yield


def _chosen(arguments: Any, name: str, silent: Any) -> bool:
    """Whether the user asked for something else there: neither the default nor what is silent."""
    value = getattr(arguments, name)
    spelled = str(getattr(value, "value", value))
    field = next((f for f in dataclasses.fields(arguments) if f.name == name), None)
    return spelled != str(silent) and (field is None or value != field.default)


def _refusal(path: Path, error: BaseException) -> BadInput:
    """One sentence with the line of the user's file that an error came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
    place = f"{path}:{frames[-1].lineno}" if frames else str(path)
    if isinstance(error, SyntaxError) and error.filename == str(path):
        place = f"{path}:{error.lineno}"
    lines = str(error).strip().splitlines()
    error_text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    traceback.print_exception(error)
    return BadInput(f"{place} raises {error_text[:400]}; the training cannot be built.")
