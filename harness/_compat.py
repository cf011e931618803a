"""The only place with version branches. Each says which versions it covers and why.

Everything imports inside functions: the judging world may import this module for its texts.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version as _installed
from typing import Any

from packaging.version import Version


def installed(package: str) -> Version:
    """Installed version of a distribution. Raises PackageNotFoundError."""
    return Version(_installed(package))


def vision_to_text_class() -> Any:
    """The auto class for image+text to text models.

    AutoModelForVision2Seq until transformers 4.57 (gone in 5.0), AutoModelForImageTextToText
    since 4.46. The recipe names the former.
    """
    import transformers

    if hasattr(transformers, "AutoModelForVision2Seq"):
        return transformers.AutoModelForVision2Seq
    return transformers.AutoModelForImageTextToText


def dtype_argument() -> str:
    """`torch_dtype` until transformers 4.55, `dtype` since 4.56 (the old name warns)."""
    return "dtype" if installed("transformers") >= Version("4.56.0") else "torch_dtype"


def backbone(model: Any) -> Any:
    """The language model's decoder (embed_tokens, layers, norm) inside a Qwen2-VL model.

    `model.model` until transformers 4.51 (vision tower at `model.visual`); since 4.52
    `model.model.language_model` with the tower at `model.model.visual`. Works through peft.
    """
    core = model.get_base_model() if hasattr(model, "get_base_model") else model
    inner = core.model
    return inner.language_model if hasattr(inner, "language_model") else inner


def vision_tower(model: Any) -> Any:
    """The vision transformer; see `backbone` for where it sits."""
    core = model.get_base_model() if hasattr(model, "get_base_model") else model
    return core.visual if hasattr(core, "visual") else core.model.visual


def canonical_name(name: str) -> str:
    """A parameter's name as transformers 4.45.1 spells it, whatever the installed stack does.

    Strips peft's `base_model.model.` prefix and the `.base_layer`, `.default` infixes; maps
    `model.language_model.` to `model.` and `model.visual.` to `visual.` (since 4.52).
    """
    name = name.removeprefix("base_model.model.")
    name = name.replace(".base_layer.", ".").replace(".default.", ".")
    if name.startswith("model.language_model."):
        return "model." + name.removeprefix("model.language_model.")
    if name.startswith("model.visual."):
        return name.removeprefix("model.")
    return name


def rope_index(model: Any, inputs: Any) -> Any:
    """M-RoPE position ids by the library's own get_rope_index: int64 (3, batch, sequence).

    A method of the conditional-generation class until transformers 4.51, of its inner model
    since 4.52; since 5.x it also wants mm_token_type_ids.
    """
    core = model.get_base_model() if hasattr(model, "get_base_model") else model
    owner = core if hasattr(core, "get_rope_index") else core.model
    parameters = inspect.signature(owner.get_rope_index).parameters
    arguments: dict[str, Any] = {
        "input_ids": inputs["input_ids"],
        "image_grid_thw": inputs.get("image_grid_thw"),
        "video_grid_thw": inputs.get("video_grid_thw"),
        "attention_mask": inputs["attention_mask"],
    }
    if "mm_token_type_ids" in parameters:
        image_id = core.config.image_token_id
        types = inputs.get("mm_token_type_ids")
        arguments["mm_token_type_ids"] = (
            (inputs["input_ids"] == image_id).int() if types is None else types
        )
    return owner.get_rope_index(**arguments)[0]
