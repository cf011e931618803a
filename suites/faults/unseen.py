"""Twenty-three more faults, for the probes, truths and bands of 1a775a4, which are frozen.

Each is a mistake of the kind that the libraries' changelogs tell of. Written down and committed
before one of them was tried; any finding at the rung that a fault names counts. Two of them changed
nothing, because the plant itself was wrong, and are planted again *as meant*; those two were added
while the others were tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from suites.faults import Fault, edited_arguments, edited_processor, edited_result
from suites.faults.frozen import each_module, rendered
from suites.faults.late import briefly
from suites.faults.model import lora, optimizer


def bare_prompt(text: str) -> str:
    """The line break after the assistant's header is lost where a generation begins."""
    return text.removesuffix("\n") if text.endswith("assistant\n") else text


def pictures_first() -> AbstractContextManager[None]:
    """A template that writes a turn's pictures before its texts, in whatever order they came."""

    def edited(processor: Any) -> None:
        render = processor.apply_chat_template

        def sort(message: Any) -> Any:
            if not isinstance(message.get("content"), list):
                return message
            parts = sorted(message["content"], key=lambda part: part.get("type") == "text")
            return {**message, "content": parts}

        def changed(messages: Any, *args: Any, **kwargs: Any) -> Any:
            return render([sort(m) for m in messages], *args, **kwargs)

        processor.apply_chat_template = changed

    return edited_processor(edited)


def batch(edit: Callable[[Any], Any]) -> AbstractContextManager[None]:
    """What the processor gives the collator is edited."""
    from harness.measuring.training import collate

    return edited_result(collate, "encoded", edit)


def first_token_hidden(inputs: Any) -> Any:
    """The mask begins one token late."""
    mask = inputs["attention_mask"].clone()
    mask[range(len(mask)), mask.argmax(dim=1)] = 0
    inputs["attention_mask"] = mask
    return inputs


def one_token_cut(inputs: Any) -> Any:
    """Truncation that keeps one token too few."""
    for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
        if name in inputs:
            inputs[name] = inputs[name][:, :-1]
    return inputs


def padded_to_64() -> AbstractContextManager[None]:
    """Batches are padded to a multiple of 64, as a default that came with a release."""
    from transformers import PreTrainedTokenizerBase

    def edit(args: Any, kwargs: Any) -> Any:
        return args, {**kwargs, "pad_to_multiple_of": 64}

    return edited_arguments(PreTrainedTokenizerBase, "pad", edit)


def padded_to_64_as_meant() -> AbstractContextManager[None]:
    """The above edits a method that no batch goes through."""
    from transformers import PreTrainedTokenizerFast

    def edit(args: Any, kwargs: Any) -> Any:
        return args, {**kwargs, "pad_to_multiple_of": 64}

    return edited_arguments(PreTrainedTokenizerFast, "set_truncation_and_padding", edit)


def turned(picture: Any) -> Any:
    """A picture, or each of them, with its channels in another order."""
    from PIL import Image

    if isinstance(picture, list | tuple):
        return type(picture)(turned(one) for one in picture)
    if isinstance(picture, Image.Image) and picture.mode == "RGB":
        return Image.merge("RGB", picture.split()[::-1])
    return picture


def blue_for_red() -> AbstractContextManager[None]:
    """Pictures reach the image processor with their channels in another order."""
    from transformers import Qwen2VLImageProcessor

    def edit(args: Any, kwargs: Any) -> Any:
        if args:
            return (turned(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "images": turned(kwargs["images"])}

    return edited_arguments(Qwen2VLImageProcessor, "preprocess", edit)


def blue_for_red_as_meant() -> AbstractContextManager[None]:
    """The above took the processor itself for the pictures, and changed nothing."""
    from transformers import Qwen2VLImageProcessor

    def edit(args: Any, kwargs: Any) -> Any:
        if len(args) > 1:
            return (args[0], turned(args[1]), *args[2:]), kwargs
        return args, {**kwargs, "images": turned(kwargs["images"])}

    return edited_arguments(Qwen2VLImageProcessor, "preprocess", edit)


def sides_rounded_down() -> AbstractContextManager[None]:
    """A picture's sides are rounded down to the grid, not to the nearest."""
    from transformers.models.qwen2_vl import image_processing_qwen2_vl as module

    resize = module.smart_resize

    def smaller(height: int, width: int, factor: int = 28, *args: Any, **kwargs: Any) -> Any:
        down = [max(factor, side // factor * factor) for side in (height, width)]
        return resize(*down, factor, *args, **kwargs)

    return mock.patch.object(module, "smart_resize", smaller)


def a_token_unmasked() -> AbstractContextManager[None]:
    """The list of tokens that are no targets lacks its first."""
    from harness.measuring.training import collate

    def edit(args: Any, kwargs: Any) -> Any:
        ids, tokens, chat = args
        return (ids, tokens, replace(chat, masked=chat.masked[1:])), kwargs

    return edited_arguments(collate, "recipe_labels", edit)


def by_the_rank_s_root() -> AbstractContextManager[None]:
    """LoRA's scale is alpha over the rank's root by default."""
    from peft import LoraConfig

    def edit(args: Any, kwargs: Any) -> Any:
        return args, {"use_rslora": True, **kwargs}

    return edited_arguments(LoraConfig, "__init__", edit)


def norms_in_half() -> AbstractContextManager[None]:
    """The decoder's norms are loaded in bfloat16."""
    import torch

    from harness.measuring.snapshots import loading

    def edit(model: Any) -> Any:
        for norm in each_module(model, "RMSNorm"):
            norm.to(torch.bfloat16)
        return model

    return edited_result(loading, "load_model", edit)


def positions_from_one() -> AbstractContextManager[None]:
    """Positions begin with 1."""
    from transformers.models.qwen2_vl import modeling_qwen2_vl as module

    owner = module.Qwen2VLForConditionalGeneration
    if not hasattr(owner, "get_rope_index"):
        owner = module.Qwen2VLModel
    return edited_result(owner, "get_rope_index", lambda given: (given[0] + 1, *given[1:]))


def tower_angles_rounded(model: Any) -> Any:
    """The tower's rotary frequencies were once in bfloat16."""
    import torch

    for rotary in each_module(model, "VisionRotaryEmbedding"):
        rotary.inv_freq = rotary.inv_freq.to(torch.bfloat16).float()
    return model


def logits_rounded(model: Any) -> Any:
    """Logits are no longer upcast: they pass through bfloat16 before the loss."""
    import torch

    head = model.get_output_embeddings()
    head.register_forward_hook(lambda module, given, out: out.to(torch.bfloat16).to(out.dtype))
    return model


def attention_sharper() -> AbstractContextManager[Any]:
    """The decoder's attention is scaled by one per cent too much."""
    import torch

    attend = torch.nn.functional.scaled_dot_product_attention

    def scaled(query: Any, *args: Any, **kwargs: Any) -> Any:
        if query.ndim == 4 and (kwargs.get("is_causal") or kwargs.get("attn_mask") is not None):
            kwargs["scale"] = 1.01 * (kwargs.get("scale") or query.shape[-1] ** -0.5)
        return attend(query, *args, **kwargs)

    return mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", scaled)


def mean_over_all() -> AbstractContextManager[Any]:
    """The loss is a mean over all tokens, masked ones among them."""
    import torch

    entropy = torch.nn.functional.cross_entropy

    def diluted(logits: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        loss = entropy(logits, target, *args, **kwargs)
        return loss * (target != -100).float().mean() if loss.ndim == 0 else loss

    return mock.patch.object(torch.nn.functional, "cross_entropy", diluted)


def other_masks_again() -> AbstractContextManager[None]:
    """Checkpointing computes again with other dropout masks."""
    from torch.utils import checkpoint

    def edit(args: Any, kwargs: Any) -> Any:
        return args, {**kwargs, "preserve_rng_state": False}

    return edited_arguments(checkpoint, "checkpoint", edit)


def adapters_detached(model: Any) -> Any:
    """No gradient leads through an adapter to the layers before it."""
    for name, module in model.named_modules():
        if name.endswith("lora_A.default"):
            module.register_forward_pre_hook(lambda module, given: (given[0].detach(),))
    return model


def argument(**changes: Any) -> AbstractContextManager[None]:
    """The trainer's arguments with another value."""
    from harness.measuring.training import trainer

    return edited_result(trainer, "recipe_arguments", lambda given: {**given, **changes})


def gradients_kept() -> AbstractContextManager[Any]:
    """Gradients of one step are added to the next one's."""
    import torch

    return mock.patch.object(torch.nn.Module, "zero_grad", return_value=None)


def never_shuffled() -> AbstractContextManager[Any]:
    """Rows are trained in the order of the data."""
    from torch.utils.data import SequentialSampler
    from transformers import Trainer

    return mock.patch.object(
        Trainer,
        "_get_train_sampler",
        lambda self, dataset=None: SequentialSampler(dataset or self.train_dataset),
    )


@contextmanager
def alpha_not_saved() -> Iterator[None]:
    """The saved adapter's config has no alpha, so that peft's default is read."""
    import json

    from peft import PeftModel

    save = PeftModel.save_pretrained

    def saving(self: Any, folder: str, **kwargs: Any) -> None:
        save(self, folder, **kwargs)
        path = Path(folder) / "adapter_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("lora_alpha")
        path.write_text(json.dumps(config), encoding="utf-8")

    with mock.patch.object(PeftModel, "save_pretrained", saving):
        yield


def without_an_end() -> AbstractContextManager[None]:
    """generation_config has lost its end token."""
    from harness.measuring.snapshots import loading

    def edit(model: Any) -> Any:
        model.generation_config.eos_token_id = None
        return model

    return edited_result(loading, "load_model", edit)


_PLANTS: tuple[tuple[str, str, Callable[[], AbstractContextManager[Any]]], ...] = (
    ("text", "a generation's prompt without its line break", lambda: rendered(bare_prompt)),
    ("text", "pictures before texts, whatever their order", pictures_first),
    ("ids", "the mask begins a token late", lambda: batch(first_token_hidden)),
    ("ids", "truncated a token too early", lambda: batch(one_token_cut)),
    ("ids", "padded to a multiple of 64", padded_to_64),
    ("images", "blue for red", blue_for_red),
    ("images", "blue for red, as meant", blue_for_red_as_meant),
    ("ids", "padded to a multiple of 64, as meant", padded_to_64_as_meant),
    ("images", "sides rounded down", sides_rounded_down),
    ("labels", "a token of pictures is a target", a_token_unmasked),
    ("model", "scaled by the rank's root", by_the_rank_s_root),
    ("model", "norms in bfloat16", norms_in_half),
    ("inputs", "positions from one", positions_from_one),
    ("forward", "the tower's frequencies rounded", lambda: lora(tower_angles_rounded)),
    ("forward", "logits rounded", lambda: lora(logits_rounded)),
    ("forward", "attention one per cent sharper", attention_sharper),
    ("forward", "a mean over masked tokens too", mean_over_all),
    ("backward", "checkpoints with other masks", other_masks_again),
    ("backward", "no gradient through adapters", lambda: lora(adapters_detached)),
    ("update", "an epsilon of 1e-6", lambda: optimizer(eps=1e-6)),
    ("update", "clipped at 1.0", lambda: argument(max_grad_norm=1.0)),
    ("update", "gradients never set to zero", gradients_kept),
    ("trajectory", "rows never shuffled", briefly(never_shuffled)),
    ("trajectory", "alpha not saved", briefly(alpha_not_saved)),
    ("generation", "no end token", briefly(without_an_end)),
)
CHOSEN = tuple(Fault(rung, name, rung, plant, slow=True) for rung, name, plant in _PLANTS)
# Of those that were found, the ones of rungs that are measured in a second or less.
_QUICK = ("text", "ids", "labels")
FAULTS = tuple(
    replace(fault, slow=False)
    for fault in CHOSEN
    if fault.rung in _QUICK and fault.plant is not padded_to_64
)
