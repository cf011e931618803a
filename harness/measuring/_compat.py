"""The only place with version branches. Each says which versions it covers and why.

Everything imports inside functions: the judging world may import this module for its texts.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version as _installed
from typing import Any, Literal

from packaging.version import Version

from harness.errors import Lack, NotRunnable

# How 4-bit values are rounded: bitsandbytes on CUDA, on a CPU, or to the nearest table entry.
Kernels = Literal["cuda", "cpu", "nearest"]


def installed(package: str) -> Version:
    """Installed version of a distribution. Raises PackageNotFoundError."""
    return Version(_installed(package))


def vision_to_text_class(config: Any = None) -> Any:
    """The auto class for image+text to text models, of this config's where there is one.

    AutoModelForVision2Seq until transformers 4.57 (gone in 5.0), AutoModelForImageTextToText
    since 4.46. The recipe names the former, which later families never were in.
    """
    import transformers

    named = getattr(transformers, "AutoModelForVision2Seq", None)
    # What its own from_pretrained and from_config look into.
    if named is not None and (config is None or type(config) in named._model_mapping):
        return named
    return transformers.AutoModelForImageTextToText


def on_meta(config: Any, architecture: str) -> Any:
    """The architecture of a config with every parameter on the meta device.

    architecture: transformers' class, whose module is loaded first: in torch 2.7 the first tensor
    made on that device imports torch._dynamo, which fails in the middle of another import.
    """
    import torch
    import transformers

    getattr(transformers, architecture)
    loader = vision_to_text_class(config)
    version = installed("transformers")
    with torch.device("meta"):
        if version >= Version("5"):
            model = loader.from_config(config)
        else:
            # Every weight is drawn there too, for nothing: most of the time that it took.
            from transformers.modeling_utils import no_init_weights

            with no_init_weights():
                model = loader.from_config(config)
    if version < Version("5.1"):
        # What is not drawn is not tied either; 5.0 draws nothing on this device by itself.
        model.tie_weights()
    return model


def dtype_argument() -> str:
    """`torch_dtype` until transformers 4.55, `dtype` since 4.56 (the old name warns)."""
    return "dtype" if installed("transformers") >= Version("4.56.0") else "torch_dtype"


def quantises_on_cpu() -> bool:
    """Whether from_pretrained with a BitsAndBytesConfig gives Linear4bit on a CPU.

    bitsandbytes has CPU kernels for 4 bit since 0.46; transformers asks for Intel's extension
    there until 4.52 and takes them as they are since 4.53.
    """
    return installed("bitsandbytes") >= Version("0.46.0") and installed("transformers") >= Version(
        "4.53.0"
    )


def lacks_sharded_four_bit() -> str | None:
    """What keeps FSDP2 from sharding bitsandbytes' 4-bit weights here; None where it can.

    accelerate knows FSDP2 since 1.6 and lets 4-bit weights keep their dtype there since 1.15;
    nothing older was measured.
    """
    release = installed("accelerate")
    if release >= Version("1.15.0"):
        return None
    return f"needs accelerate 1.15.0 or newer, here is {release}"


def nf4_kernels(device: str) -> Kernels:
    """Which rounding of nf4.py bitsandbytes has there, where it has kernels at all."""
    if device.startswith("cuda"):
        return "cuda"
    return "cpu" if installed("bitsandbytes") >= Version("0.50.0") else "nearest"


def core(model: Any) -> Any:
    """The transformers model inside peft's wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def active_adapters(module: Any) -> list[str]:
    """What a peft wrapper computes with: 0.13's of a whole module names one and lists none."""
    return list(getattr(module, "active_adapters", [getattr(module, "active_adapter", "")]))


def modelling(model: Any) -> Any:
    """The library module that defines a model's class."""
    return importlib.import_module(type(model).__module__)


def tower_takes_positions() -> bool:
    """Whether a vision tower's forward takes ready position ids, as transformers 5 has it."""
    return importlib.util.find_spec("transformers.vision_utils") is not None


def tower_positions(grids: Any, merge: int) -> Any:
    """int64 (patches, 2): each patch's row and column, in the tower's order of patches.

    grids: int64 (pictures, 3). Only where `tower_takes_positions`.
    """
    from transformers.vision_utils import get_vision_position_ids

    return get_vision_position_ids(grids, merge)


def has_fused_head(model: Any) -> bool:
    """Whether TRL's SFTTrainer has given a model its fused head, as 1.16 does.

    It wraps the model's forward, which then takes `fused_lm_head`, under the old signature.
    """
    own = inspect.signature(model.forward, follow_wrapped=False).parameters
    return "fused_lm_head" in own


def reads_logits(trainer: Any) -> bool:
    """Whether a trainer's own loss may look at logits of every position.

    TRL's SFTTrainer takes the model's loss alone until 0.11, and with the fused head asks for no
    logits; what is between was not measured. Other trainers take the loss alone.
    """
    import trl

    if not isinstance(trainer, trl.SFTTrainer) or installed("trl") < Version("0.12.0"):
        return False
    return not has_fused_head(core(trainer.model))


def input_gradient_hooks(model: Any) -> list[Any]:
    """Handles of the hooks of `enable_input_require_grads`: one until transformers 4.5x, kept as
    `_require_grads_hook`; one per embedding, the vision tower's too, in the list
    `_require_grads_hooks` since 5."""
    several = getattr(model, "_require_grads_hooks", None)
    if several:
        return list(several)
    one = getattr(model, "_require_grads_hook", None)
    return [] if one is None else [one]


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


def without_peft(name: str) -> str:
    """A parameter's name without what peft's wrapper and its adapted Linears put into it."""
    name = name.removeprefix("base_model.model.")
    return name.replace(".base_layer.", ".").replace(".default.", ".")


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


def one_card(arguments: Any) -> None:
    """Keep transformers' Trainer on the one device that its model is on.

    One process that sees several cards otherwise multiplies the micro-batch by their number; the
    count is a private attribute that `n_gpu` reads, in every release from 4.45 to 5.23.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1


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


def refuses_list_datasets() -> bool:
    """Whether SFTTrainer insists on a `datasets.Dataset`: since TRL 1.0.

    Older ones hand a list straight to the data loader, which is what the recipe relies on.
    """
    return installed("trl") >= Version("1.0.0")


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


def training_attention(device: str) -> str | None:
    """The attention to train with: the library's default (None), or `eager` where that is wrong.

    Until 4.52 transformers hands torch a float mask whose forbidden entries are float32's
    smallest number. In a row whose every key is masked, as left padding makes them, the CPU
    kernel of torch's fused attention then keeps log-sum-exp only up to a rounding of 1e31 and
    weighs every key by 1 instead of 1/n in its backward: the adapter's gradient norm is 1e5 to
    1e6 times too large, with every torch from 2.4.0 to 2.15.0. Since 4.53 the mask is boolean
    and such rows are zero (or, before torch 2.5, opened). CUDA masks are opened by transformers.
    """
    if not device.startswith("cuda") and installed("transformers") < Version("4.53.0"):
        return "eager"
    return None


def image_processor_class(plain: str, *, fast: bool) -> Any:
    """An image processor on Pillow (the recipe's), or the fast one on torchvision.

    plain: the class's name. Only the former until transformers 4.48; `…Fast` is the latter until
    4.57; in 5.x the plain name is the fast one and the other ends in `Pil`. Raises NotRunnable
    where there is none.
    """
    import transformers

    slow_name = f"{plain}Pil"
    if hasattr(transformers, slow_name):
        return getattr(transformers, plain if fast else slow_name)
    if not fast:
        return getattr(transformers, plain)
    if not hasattr(transformers, f"{plain}Fast"):
        raise NotRunnable(
            f"transformers {installed('transformers')} has no fast image processor {plain}Fast.",
            Lack.LIBRARY,
        )
    return getattr(transformers, f"{plain}Fast")


def update_steps(batches: int, accumulation: int) -> int:
    """Optimizer steps that transformers' Trainer makes of an epoch's batches, at least one.

    The last, shorter one counts since 4.52; before, its batches were carried into the next epoch.
    """
    counts_rest = installed("transformers") >= Version("4.52.0")
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
