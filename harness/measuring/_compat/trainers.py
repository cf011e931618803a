"""What a trainer takes, and what it makes of it, by release."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from packaging.version import Version

import harness.measuring._compat.releases as releases
from harness.measuring._compat.models import core, has_fused_head


def known_arguments(function: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    """Those of the arguments that the installed function has."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in wanted.items() if name in parameters}


def sft_arguments(config_class: Any, wanted: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """SFTConfig arguments that the installed class takes, and what had to change.

    transformers 5 takes a ratio in `warmup_steps` and has no `warmup_ratio`; anything else that
    the class does not know is left out and named.
    """
    from dataclasses import fields

    known = {f.name for f in fields(config_class)}
    arguments, notes = dict(wanted), []
    if "warmup_ratio" in arguments and "warmup_ratio" not in known:
        arguments["warmup_steps"] = arguments.pop("warmup_ratio")
        notes.append("SFTConfig: warmup_ratio is gone, its value is passed as warmup_steps.")
    for name in [n for n in arguments if n not in known]:
        notes.append(f"SFTConfig: {name}={arguments.pop(name)!r} is not known and left out.")
    return arguments, notes


def sft_keywords(trainer_class: Any, wanted: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """SFTTrainer keywords that the installed class takes, and what had to change.

    `tokenizer` is `processing_class` since TRL 0.12 (and gone in 0.16); `dataset_text_field`
    left the trainer for its config in 0.13.
    """
    known = inspect.signature(trainer_class.__init__).parameters
    keywords, notes = dict(wanted), []
    if "tokenizer" in keywords and "tokenizer" not in known:
        keywords["processing_class"] = keywords.pop("tokenizer")
        notes.append("SFTTrainer: tokenizer is now called processing_class.")
    for name in [n for n in keywords if n not in known]:
        notes.append(f"SFTTrainer: {name}={keywords.pop(name)!r} is not known and left out.")
    return keywords, notes


def one_card(arguments: Any) -> None:
    """Keep transformers' Trainer on the one device that its model is on.

    One process that sees several cards otherwise multiplies the micro-batch by their number; the
    count is a private attribute that `n_gpu` reads, in every release from 4.45 to 5.23.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1


def refuses_list_datasets() -> bool:
    """Whether SFTTrainer insists on a `datasets.Dataset`: since TRL 1.0.

    Older ones hand a list straight to the data loader, which is what the recipe relies on.
    """
    return releases.installed("trl") >= Version("1.0.0")


def logs_counts() -> bool:
    """Whether SFTTrainer logs num_tokens, mean_token_accuracy and entropy of every step: trl 1.0
    and later do, 0.11 does not."""
    return releases.installed("trl") >= Version("1.0")


def indexed_dataset(rows: int) -> Any:
    """A `datasets.Dataset` that holds only row numbers; the collator looks the rows up.

    The conversations themselves hold pictures, which must not travel through Arrow: the
    datasets image feature would re-encode them and lose what our decoder did.
    """
    from datasets import Dataset

    return Dataset.from_dict({"row": list(range(rows))})


def log_folder(config_class: Any, folder: Any) -> dict[str, Any]:
    """The argument that sends TensorBoard's files to a folder.

    `logging_dir` until transformers 4.57; 5.x reads the variable TENSORBOARD_LOGGING_DIR.
    """
    import os
    from dataclasses import fields

    if "logging_dir" in {f.name for f in fields(config_class)}:
        return {"logging_dir": str(folder)}
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder)
    return {}


def update_steps(batches: int, accumulation: int) -> int:
    """Optimizer steps that transformers' Trainer makes of an epoch's batches, at least one.

    The last, shorter one counts since 4.52; before, its batches were carried into the next epoch.
    """
    counts_rest = releases.installed("transformers") >= Version("4.52.0")
    return max(batches // accumulation + (counts_rest and batches % accumulation > 0), 1)


def warmup_steps(declared: Mapping[str, Any], total: int) -> int:
    """Steps of warm-up that a Trainer's arguments ask for, of a training of `total` steps.

    `warmup_ratio` (gone in 5.0) counts where `warmup_steps` is 0; since 5.0 a `warmup_steps` below
    1 is the ratio.
    """
    steps = float(declared.get("warmup_steps") or 0)
    ratio = float(declared.get("warmup_ratio") or 0)
    if steps >= 1:
        return int(steps)
    return math.ceil(total * (steps or ratio))


def reads_logits(trainer: Any) -> bool:
    """Whether a trainer's own loss may look at logits of every position.

    TRL's SFTTrainer takes the model's loss alone until 0.11, and with the fused head asks for no
    logits; what is between was not measured. Other trainers take the loss alone.
    """
    import trl

    if not isinstance(trainer, trl.SFTTrainer) or releases.installed("trl") < Version("0.12.0"):
        return False
    return not has_fused_head(core(trainer.model))


@contextmanager
def checkpointed(model: Any, arguments: Any) -> Iterator[None]:
    """Gradient checkpointing as Trainer.train switches it on; undone afterwards.

    `gradient_checkpointing_enable`, called `activation_checkpointing_enable` since transformers
    5.2x, where the old name warns. Both set a flag and a function on modules, and may hook the
    embeddings so that what leaves them requires gradients.
    """
    if not arguments.gradient_checkpointing:
        yield
        return
    names = ("gradient_checkpointing", "_gradient_checkpointing_func", *_INPUT_HOOKS)
    kept = [
        (module, name, vars(module).get(name, _NOTHING))
        for module in model.modules()
        for name in names
    ]
    hooks = [dict(module._forward_hooks) for module in model.modules()]
    options = dict(arguments.gradient_checkpointing_kwargs or {})
    try:
        if hasattr(model, "activation_checkpointing_enable"):
            # The Trainer takes these two out of what it hands to torch.
            own = {n: options.pop(n) for n in ("every_n_layers", "offload") if n in options}
            model.activation_checkpointing_enable(
                activation_checkpointing_kwargs=options or None, **own
            )
        else:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options or None)
        yield
    finally:
        for module, had in zip(model.modules(), hooks, strict=True):
            for number in [n for n in module._forward_hooks if n not in had]:
                del module._forward_hooks[number]
        for module, name, value in kept:
            if value is not _NOTHING:
                setattr(module, name, value)
            else:
                vars(module).pop(name, None)


# Where a model keeps the handles of `enable_input_require_grads`.
_INPUT_HOOKS = ("_require_grads_hook", "_require_grads_hooks")
_NOTHING = object()
