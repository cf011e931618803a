"""Faults of what a loaded model holds, of how an adapter begins, and of what is saved."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from suites.faults import Fault, edited_arguments, edited_result
from suites.faults.late import briefly
from suites.faults.model import lora


def loaded_norm_lost() -> AbstractContextManager[None]:
    """The last norm is not the snapshot's: nothing was loaded into it."""
    from harness.measuring.models import parts
    from harness.measuring.snapshots import loading

    def edit(model: Any) -> Any:
        parts(model).decoder.norm.weight.data.fill_(1.0)
        return model

    return edited_result(loading, "load_model", edit)


def biases_rounded() -> AbstractContextManager[None]:
    """Biases of the tower pass through eight bits."""
    import torch

    from harness.measuring.models import parts
    from harness.measuring.snapshots import loading

    def edit(model: Any) -> Any:
        for name, parameter in parts(model).tower.named_parameters():
            if name.endswith("bias"):
                parameter.data = parameter.data.to(torch.float8_e4m3fn).to(parameter.dtype)
        return model

    return edited_result(loading, "load_model", edit)


def edited_tensors(part: str, edit: Any) -> AbstractContextManager[None]:
    """Every A or B of a model that gets its LoRA is edited."""

    def edited(model: Any) -> Any:
        for name, parameter in model.named_parameters():
            if f".{part}." in name and not parameter.is_meta:
                edit(parameter.data)
        return model

    return lora(edited)


def factor_of_the_rank_alone() -> AbstractContextManager[None]:
    """An adapter is multiplied by one over its rank: its alpha is lost."""

    def edit(model: Any) -> Any:
        for module in model.modules():
            if isinstance(getattr(module, "scaling", None), dict):
                module.scaling.update(dict.fromkeys(module.scaling, 1 / 8))
        return model

    return lora(edit)


def absmax_not_added_back() -> AbstractContextManager[None]:
    """The mean that double quantisation takes off the blocks' largest values is not put back."""
    import bitsandbytes.functional as functional

    def edit(args: Any, kwargs: Any) -> Any:
        state = copy.copy(args[1])
        state.offset = state.offset * 0
        return (args[0], state, *args[2:]), kwargs

    return edited_arguments(functional, "dequantize_4bit", edit)


@contextmanager
def edited_config(edit: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """The saved adapter's config is edited."""
    from peft import PeftModel

    save = PeftModel.save_pretrained

    def saving(self: Any, folder: str, **kwargs: Any) -> None:
        save(self, folder, **kwargs)
        path = Path(folder) / "adapter_config.json"
        config = json.loads(path.read_text("utf-8"))
        edit(config)
        path.write_text(json.dumps(config), "utf-8")

    with mock.patch.object(PeftModel, "save_pretrained", saving):
        yield


@contextmanager
def template_not_saved() -> Iterator[None]:
    """A saved processor has lost its template."""
    from transformers import ProcessorMixin

    save = ProcessorMixin.save_pretrained

    def saving(self: Any, folder: str, *args: Any, **kwargs: Any) -> Any:
        saved = save(self, folder, *args, **kwargs)
        for path in Path(folder).glob("chat_template*"):
            path.unlink()
        path = Path(folder) / "tokenizer_config.json"
        config = json.loads(path.read_text("utf-8"))
        config.pop("chat_template", None)
        path.write_text(json.dumps(config), "utf-8")
        return saved

    with mock.patch.object(ProcessorMixin, "save_pretrained", saving):
        yield


def pictures_of_a_row_turned_round() -> AbstractContextManager[None]:
    """A conversation's pictures are fetched in reverse."""
    import qwen_vl_utils

    def edit(fetched: Any) -> Any:
        pictures, *rest = fetched
        return (pictures and pictures[::-1], *rest)

    return edited_result(qwen_vl_utils, "process_vision_info", edit)


def size_in_message_unread() -> AbstractContextManager[None]:
    """The size that a message asks for is not read."""
    from qwen_vl_utils import vision_process

    def edit(args: Any, kwargs: Any) -> Any:
        asked = {n: v for n, v in args[0].items() if not n.startswith("resized_")}
        return (asked, *args[1:]), kwargs

    return edited_arguments(vision_process, "fetch_image", edit)


def a_third_picture_brighter() -> AbstractContextManager[None]:
    """Of a batch of three pictures the last one's pixels are raised."""
    from transformers import Qwen2VLProcessor

    def edit(batch: Any) -> Any:
        if len(batch.get("image_grid_thw", ())) == 3:
            batch["pixel_values"][-1] += 0.1
        return batch

    return edited_result(Qwen2VLProcessor, "__call__", edit)


def codes_for_scales() -> AbstractContextManager[None]:
    """A double-quantised weight is multiplied with its scales' 8-bit codes as the scales."""
    import torch
    from bitsandbytes.autograd._functions import MatMul4Bit

    def multiply(args: Any, kwargs: Any) -> Any:
        state = copy.copy(kwargs.get("quant_state") or args[5])
        state.absmax = state.absmax.to(torch.float32)
        state.nested, state.state2, state.offset = False, None, None
        return (*args[:5], state, *args[6:]), {}

    return edited_arguments(MatMul4Bit, "forward", multiply)


def larger_where_it_infers() -> AbstractContextManager[Any]:
    """A 4-bit Linear that infers gives 2 % too much."""
    from bitsandbytes.nn import Linear4bit

    right = Linear4bit.forward

    def forward(self: Any, given: Any) -> Any:
        return right(self, given) * (1.0 if self.training else 1.02)

    return mock.patch.object(Linear4bit, "forward", forward)


def gradient_of_nothing(name: str, edit: Callable[[Any], Any]) -> AbstractContextManager[None]:
    """The gradient of one tensor, by the end of its name, is edited."""

    def edited(model: Any) -> Any:
        named = [p for n, p in model.named_parameters() if n.endswith(name) and p.requires_grad]
        named[0].register_hook(edit)
        return model

    return lora(edited)


def half_of_it_lost(gradient: Any) -> Any:
    """Its second half of columns is nothing."""
    kept = gradient.clone()
    kept[:, kept.shape[1] // 2 :] = 0
    return kept


FAULTS = (
    *(
        Fault("backward", name, "backward.direction_gap", plant, slow=True)
        for name, plant in (
            (
                "one tensor's gradient is nothing",
                lambda: gradient_of_nothing("v_proj.lora_B.default.weight", lambda g: g * 0),
            ),
            (
                "half of a gradient is nothing",
                lambda: gradient_of_nothing("v_proj.lora_A.default.weight", half_of_it_lost),
            ),
        )
    ),
    Fault(
        "forward",
        "4-bit inference 2 % too large",
        "forward.four_bit_inference_gap.inferring",
        larger_where_it_infers,
        only="latest",
        slow=True,
    ),
    Fault(
        "forward",
        "codes taken for scales",
        "forward.four_bit_gap.training",
        codes_for_scales,
        only="latest",
        slow=True,
    ),
    Fault(
        "images",
        "a row's pictures in reverse",
        "images.mixed_grids",
        pictures_of_a_row_turned_round,
        slow=True,
    ),
    Fault(
        "images",
        "a message's size unread",
        "images.limited_size.size_in_message",
        size_in_message_unread,
        slow=True,
    ),
    Fault(
        "images",
        "a third picture brighter",
        "images.mixed_pixels",
        a_third_picture_brighter,
        slow=True,
    ),
    *(
        Fault("trajectory", name, f"trajectory.{finds}", briefly(plant), slow=True)
        for name, finds, plant in (
            (
                "dropout not saved",
                "saved_field.lora_dropout",
                lambda: edited_config(lambda config: config.update(lora_dropout=0.0)),
            ),
            (
                "the base is not named",
                "saved_base",
                lambda: edited_config(lambda config: config.update(base_model_name_or_path=None)),
            ),
            ("a processor saved without its template", "saved_processor", template_not_saved),
        )
    ),
    Fault("model", "a norm that nothing is loaded into", "model.loaded_strays", loaded_norm_lost),
    *(
        Fault("model", name, f"model.{finds}.model", plant, only=only, slow=True)
        for name, finds, plant, only in (
            ("the tower's biases in eight bits", "loaded_strays", biases_rounded, None),
            (
                "B begins at something",
                "start_of_b",
                lambda: edited_tensors("lora_B", lambda values: values.fill_(0.01)),
                None,
            ),
            (
                "A twice as wide",
                "start_reach",
                lambda: edited_tensors("lora_A", lambda values: values.mul_(2.0)),
                None,
            ),
            (
                "A half as wide",
                "start_spread",
                lambda: edited_tensors("lora_A", lambda values: values.mul_(0.5)),
                None,
            ),
            ("alpha is lost", "lora_scaling", factor_of_the_rank_alone, None),
            ("absmax without its mean", "nf4_gap", absmax_not_added_back, "latest"),
        )
    ),
)
