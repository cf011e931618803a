"""Faults of what is kept of a training: the adapter saved, loaded again and merged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from suites.faults import Fault, edited_result
from suites.faults.late import briefly
from suites.faults.values import edited_config


@contextmanager
def names_edited(edit: Callable[[str], str]) -> Iterator[None]:
    """The tensors of a saved adapter have other names."""
    from peft import PeftModel
    from safetensors.torch import load_file, save_file

    save = PeftModel.save_pretrained

    def saving(self: Any, folder: str, **kwargs: Any) -> None:
        save(self, folder, **kwargs)
        path = Path(folder) / "adapter_model.safetensors"
        save_file({edit(name): tensor for name, tensor in load_file(path).items()}, path)

    with mock.patch.object(PeftModel, "save_pretrained", saving):
        yield


@contextmanager
def reloaded(edit: Callable[[Any, bool], None]) -> Iterator[None]:
    """A model whose adapter was loaded is edited. edit: of it, and whether it is to train."""
    from peft import PeftModel

    load = PeftModel.from_pretrained

    def loading(*args: Any, **kwargs: Any) -> Any:
        model = load(*args, **kwargs)
        edit(model, bool(kwargs.get("is_trainable")))
        return model

    with mock.patch.object(PeftModel, "from_pretrained", loading):
        yield


def trains_anyway(model: Any, is_trainable: bool) -> None:
    """Adapters ask for gradients though they are to infer."""
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.requires_grad_(True)


def half_trains(model: Any, is_trainable: bool) -> None:
    """Of adapters that are to train the first B does not."""
    if is_trainable:
        named = [p for n, p in model.named_parameters() if "lora_B" in n]
        named[0].requires_grad_(False)


def says_it_trains(model: Any, is_trainable: bool) -> None:
    """The config of an adapter that is to infer says that it trains."""
    model.peft_config["default"].inference_mode = False


def merged_a_little_too_large() -> AbstractContextManager[None]:
    """What is merged is a twentieth of one per cent too large."""
    from peft.tuners.lora import Linear

    return edited_result(Linear, "get_delta_weight", lambda delta: delta * 1.0005)


def merged_wider() -> AbstractContextManager[None]:
    """Merging leaves the weights in float32."""
    from peft import LoraModel

    return edited_result(LoraModel, "merge_and_unload", lambda model: model.float())


def packed_merged_too_large() -> AbstractContextManager[None]:
    """Into a 4-bit weight a tenth more than the adapter is merged."""
    from peft.tuners.lora.bnb import Linear4bit

    return edited_result(Linear4bit, "get_delta_weight", lambda delta: delta * 1.1)


FAULTS = tuple(
    Fault("trajectory", name, f"trajectory.{finds}", briefly(plant), only=only, slow=True)
    for name, finds, plant, only in (
        (
            "an adapter's name stands in its tensors'",
            "saved_names",
            lambda: names_edited(lambda n: n.replace(".weight", ".default.weight")),
            None,
        ),
        (
            "another release of peft in the config",
            "saved_release",
            lambda: edited_config(lambda config: config.update(peft_version="0.0.1@UNKNOWN")),
            "latest",
        ),
        (
            "no release of peft in the config",
            "saved_release",
            lambda: edited_config(lambda config: config.update(peft_version=None)),
            "latest",
        ),
        (
            "an adapter that is to infer trains",
            "reload_trains.inferring",
            lambda: reloaded(trains_anyway),
            None,
        ),
        (
            "of an adapter that is to train one tensor does not",
            "reload_trains.training",
            lambda: reloaded(half_trains),
            None,
        ),
        (
            "a loaded config says that it trains",
            "reload_inference_mode.inferring",
            lambda: reloaded(says_it_trains),
            None,
        ),
        (
            "merging adds 0.05 % more than the adapter",
            "merged_weight_gap.float32",
            merged_a_little_too_large,
            None,
        ),
        ("merged into wider weights", "merged_dtypes.bfloat16", merged_wider, None),
        (
            "10 % more merged into 4-bit weights",
            "merged_rounded_gap.four_bit",
            packed_merged_too_large,
            "latest",
        ),
    )
)
