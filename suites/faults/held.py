"""Faults of what loaded modules hold of a config's numbers, each adapter of its own, and of rows in
another order than usual."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from suites.faults import Fault, edited_result
from suites.faults.model import lora


def loaded(edit: Callable[[Any], None]) -> AbstractContextManager[None]:
    """Every model that is loaded with weights is edited."""
    from harness.measuring.snapshots import loading

    def edited(model: Any) -> Any:
        edit(model)
        return model

    return edited_result(loading, "load_model", edited)


def decoder_norm_of_class(model: Any) -> None:
    """One of the decoder's norms has the epsilon of another class's default."""
    from harness.measuring.models import parts

    parts(model).layers[1].input_layernorm.variance_epsilon = 1e-5


def tower_norm_of_torch(model: Any) -> None:
    """One of the tower's norms has torch's own default epsilon."""
    from harness.measuring.models import parts

    parts(model).blocks[0].norm1.eps = 1e-5


def gelu_for_silu(model: Any) -> None:
    """One layer's MLP has the activation of another family."""
    import torch

    from harness.measuring.models import parts

    parts(model).mlps[0].act_fn = torch.nn.GELU()


def heads_halved(model: Any) -> None:
    """One block of the tower has half as many heads, twice as wide."""
    from harness.measuring.models import parts

    attention = parts(model).blocks[1].attn
    attention.num_heads //= 2


def merged_larger(model: Any) -> None:
    """The merger behind the tower is 0.1 % too large."""
    import torch

    from harness.measuring.models import parts

    with torch.no_grad():
        parts(model).tower.merger.mlp[-1].weight.mul_(1.001)


def merged_by_three(model: Any) -> None:
    """The tower takes squares of three patches for one token."""
    from harness.measuring.models import parts

    parts(model).tower.spatial_merge_size = 3


def base_of_class(model: Any) -> None:
    """The decoder is built for the base of another class's default."""
    from harness.measuring.models import parts

    for module in parts(model).decoder.modules():
        if hasattr(module, "rope_theta"):
            module.rope_theta = 10000.0
        parameters = getattr(getattr(module, "config", None), "rope_parameters", None)
        if parameters:
            parameters["rope_theta"] = 10000.0


def a_number_of_the_class(model: Any) -> None:
    """One number of the config is the class's default: no module keeps it for itself."""
    from harness.measuring.models import parts

    parts(model).decoder.config.max_position_embeddings = 32768


def looks_ahead(model: Any) -> None:
    """One layer of the decoder does not hide what comes after a token."""
    from harness.measuring.models import parts

    parts(model).attention[3].is_causal = False


def axes_dealt_otherwise(model: Any) -> None:
    """The config deals a head's angles to time, height and width as another family's does."""
    from harness.measuring.models import parts

    config = parts(model).decoder.config
    (getattr(config, "rope_parameters", None) or config.rope_scaling)["mrope_section"] = [8, 4, 4]


def one_adapter_idle(model: Any) -> Any:
    """One adapter is switched off when it is put on."""
    *_, last = (m for m in model.modules() if hasattr(m, "lora_dropout"))
    last._disable_adapters = True
    return model


def first_dropout(model: Any) -> Any:
    """The first adapter has no dropout."""
    import torch

    first = next(m for m in model.modules() if hasattr(m, "lora_dropout"))
    first.lora_dropout["default"] = torch.nn.Identity()
    return model


def last_dropout_doubled(model: Any) -> Any:
    """The last adapter drops twice as much."""
    import torch

    *_, last = (m for m in model.modules() if hasattr(m, "lora_dropout"))
    last.lora_dropout["default"] = torch.nn.Dropout(0.1)
    return model


def no_dropout() -> AbstractContextManager[Any]:
    """lora_dropout does not reach the adapted Linears."""
    import torch

    def edit(model: Any) -> Any:
        for module in model.modules():
            if hasattr(module, "lora_dropout"):
                module.lora_dropout["default"] = torch.nn.Identity()
        return model

    return lora(edit)


def one_scaling_doubled(model: Any) -> Any:
    """One adapter is multiplied by twice its factor."""
    first = next(m for m in model.modules() if isinstance(getattr(m, "scaling", None), dict))
    first.scaling["default"] *= 2
    return model


def one_rank_less(model: Any) -> Any:
    """One adapter has a rank of four."""
    import torch

    first = next(m for m in model.modules() if hasattr(m, "lora_dropout"))
    for tensors, axis in ((first.lora_A, 0), (first.lora_B, 1)):
        linear = tensors["default"]
        linear.weight = torch.nn.Parameter(linear.weight.detach().narrow(axis, 0, 4).clone())
    return model


def mask_of_the_first_row() -> AbstractContextManager[Any]:
    """Whether a batch needs a mask is asked of its first row."""
    try:
        from transformers import masking_utils as owner
    except ImportError:
        from transformers.modeling_attn_mask_utils import AttentionMaskConverter as owner
    right = owner._ignore_causal_mask_sdpa

    def ignored(padding: Any, *args: Any, **kwargs: Any) -> Any:
        return right(None if padding is None else padding[:1], *args, **kwargs)

    return mock.patch.object(owner, "_ignore_causal_mask_sdpa", ignored)


FAULTS = (
    *(
        Fault("model", name, f"model.{finds}", lambda edit=edit: loaded(edit), slow=slow)  # type: ignore[misc]
        for name, finds, edit, slow in (
            ("one norm's epsilon of 1e-5", "held.decoder.epsilon", decoder_norm_of_class, False),
            ("a tower's norm of 1e-5", "held.tower.epsilon", tower_norm_of_torch, True),
            ("one MLP with GELU", "held.decoder.activation", gelu_for_silu, True),
            ("half of a block's heads", "held.tower.heads", heads_halved, True),
            ("merged by three", "held.tower.merge", merged_by_three, True),
            ("a base of 10,000", "held.decoder.base", base_of_class, True),
            ("positions of the class", "config_strays", a_number_of_the_class, True),
            ("a layer that looks ahead", "held.decoder.causal", looks_ahead, True),
            ("axes dealt otherwise", "config_strays", axes_dealt_otherwise, True),
        )
    ),
    *(
        Fault("model", name, f"model.{finds}.model", plant, slow=True)
        for name, finds, plant in (
            ("no adapter drops", "lora_dropouts", no_dropout),
            ("one adapter without dropout", "lora_dropouts", lambda: lora(first_dropout)),
            ("one adapter drops twice", "lora_dropouts", lambda: lora(last_dropout_doubled)),
            ("one adapter's factor doubled", "lora_scaling", lambda: lora(one_scaling_doubled)),
            ("one adapter of rank four", "lora_ranks", lambda: lora(one_rank_less)),
            ("one adapter switched off", "lora_idle", lambda: lora(one_adapter_idle)),
        )
    ),
    Fault(
        "inputs",
        "a merger 0.1 % too large",
        "inputs.image_features",
        lambda: loaded(merged_larger),
        slow=True,
    ),
    Fault(
        "forward",
        "masked as the first row is",
        "forward.alone_gap.longest_first",
        mask_of_the_first_row,
        slow=True,
    ),
)
