"""Where a model's classes, modules and names are, by release."""

from __future__ import annotations

import importlib.util
import inspect
from typing import Any

from packaging.version import Version

import harness.measuring._compat.releases as releases
from harness.errors import Lack, NotRunnable


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
    version = releases.installed("transformers")
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
    return "dtype" if releases.installed("transformers") >= Version("4.56.0") else "torch_dtype"


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
            f"transformers {releases.installed('transformers')} has no fast image processor "
            f"{plain}Fast.",
            Lack.LIBRARY,
        )
    return getattr(transformers, f"{plain}Fast")


def core(model: Any) -> Any:
    """The transformers model inside peft's wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def model_type(config: Any) -> str:
    """A config's own: transformers 4.57.1 hands out the text model's for a config that was saved
    with one and read again. '' for none."""
    return str(getattr(type(config), "model_type", "") or getattr(config, "model_type", ""))


def active_adapters(module: Any) -> list[str]:
    """What a peft wrapper computes with: 0.13's of a whole module names one and lists none."""
    return list(getattr(module, "active_adapters", [getattr(module, "active_adapter", "")]))


def modelling(model: Any) -> Any:
    """The library module that defines a model's class."""
    return importlib.import_module(type(model).__module__)


def without_peft(name: str) -> str:
    """A parameter's name without what peft's wrapper and its adapted Linears put into it."""
    name = name.removeprefix("base_model.model.")
    return name.replace(".base_layer.", ".").replace(".default.", ".")


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


def input_gradient_hooks(model: Any) -> list[Any]:
    """Handles of the hooks of `enable_input_require_grads`: one until transformers 4.5x, kept as
    `_require_grads_hook`; one per embedding, the vision tower's too, in the list
    `_require_grads_hooks` since 5."""
    several = getattr(model, "_require_grads_hooks", None)
    if several:
        return list(several)
    one = getattr(model, "_require_grads_hook", None)
    return [] if one is None else [one]


def training_attention(device: str) -> str | None:
    """The attention to train with: the library's default (None), or `eager` where that is wrong.

    Until 4.52 transformers hands torch a float mask whose forbidden entries are float32's
    smallest number. In a row whose every key is masked, as left padding makes them, the CPU
    kernel of torch's fused attention then keeps log-sum-exp only up to a rounding of 1e31 and
    weighs every key by 1 instead of 1/n in its backward: the adapter's gradient norm is 1e5 to
    1e6 times too large, with every torch from 2.4.0 to 2.15.0. Since 4.53 the mask is boolean
    and such rows are zero (or, before torch 2.5, opened). CUDA masks are opened by transformers.
    """
    if not device.startswith("cuda") and releases.installed("transformers") < Version("4.53.0"):
        return "eager"
    return None
