"""What a loop saves once it trains is not written: an audit leaves no model where a user's lies."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock


def _savers() -> Iterator[tuple[Any, str, str]]:
    """(whose it is, its name, what people call it) of what the libraries save models with."""
    import accelerate
    import safetensors.torch
    import torch
    import transformers

    for name in ("save_pretrained", "push_to_hub"):
        for kind in (
            transformers.PreTrainedModel,
            transformers.PreTrainedTokenizerBase,
            transformers.ProcessorMixin,
            transformers.PretrainedConfig,
        ):
            yield kind, name, f"{kind.__name__}.{name}"
    if importlib.util.find_spec("peft"):
        import peft

        yield peft.PeftModel, "save_pretrained", "PeftModel.save_pretrained"
    for name in ("save_state", "save_model", "save"):
        yield accelerate.Accelerator, name, f"Accelerator.{name}"
    yield torch, "save", "torch.save"
    for name in ("save_file", "save_model"):
        yield safetensors.torch, name, f"safetensors.torch.{name}"


@contextlib.contextmanager
def unsaved(trains: Callable[[], bool], noted: list[str]) -> Iterator[None]:
    """Inside, nothing is saved from when `trains` says yes; a sentence for each kind is noted.

    A script may save before that what it is going to load.
    """

    def silent(original: Callable[..., Any], spoken: str) -> Callable[..., Any]:
        @functools.wraps(original)
        def saved(*args: Any, **kwargs: Any) -> Any:
            if not trains():
                return original(*args, **kwargs)
            sentence = f"what the loop saves is not written ({spoken})"
            if sentence not in noted:
                noted.append(sentence)
            return None

        return saved

    with contextlib.ExitStack() as patches:
        for owner, name, spoken in _savers():
            instead = silent(getattr(owner, name), spoken)
            patches.enter_context(mock.patch.object(owner, name, instead))
        yield
