"""Faults of rungs 2 to 5: text, ids, images, labels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from suites.faults import Fault, edited_arguments, edited_processor, edited_result


def template(pattern: str, replacement: str) -> AbstractContextManager[None]:
    """Edit the chat template's source."""

    def edit(processor: Any) -> None:
        changed = re.sub(pattern, replacement, processor.chat_template)
        assert changed != processor.chat_template
        processor.chat_template = changed

    return edited_processor(edit)


def image_option(name: str, change: Any) -> AbstractContextManager[None]:
    """Change one of the image processor's settings."""

    def edit(processor: Any) -> None:
        setattr(processor.image_processor, name, change(processor.image_processor))

    return edited_processor(edit)


def larger_minimum() -> AbstractContextManager[None]:
    """min_pixels 3,136 becomes 200,704, whatever the stack calls it."""

    def edit(processor: Any) -> None:
        images = processor.image_processor
        for name in ("min_pixels",):
            if getattr(images, name, None) is not None:
                setattr(images, name, 200_704)
        size = getattr(images, "size", None)
        if size is not None:
            key = "min_pixels" if "min_pixels" in dict(size) else "shortest_edge"
            images.size = type(size)(**{**dict(size), key: 200_704})

    return edited_processor(edit)


@contextmanager
def limit_for_all() -> Iterator[None]:
    """What one image processor is told becomes the default of every later one."""
    from transformers import Qwen2VLImageProcessor

    told: dict[str, Any] = {}
    build = Qwen2VLImageProcessor.__init__

    def built(self: Any, *args: Any, **kwargs: Any) -> None:
        told.update({k: v for k, v in kwargs.items() if k == "max_pixels"})
        build(self, *args, **{**told, **kwargs})

    with mock.patch.object(Qwen2VLImageProcessor, "__init__", built):
        yield


@contextmanager
def deaf_afterwards() -> Iterator[None]:
    """`max_pixels` that is set on a finished image processor changes nothing."""
    from transformers import Qwen2VLImageProcessor

    build = Qwen2VLImageProcessor.__init__

    def built(self: Any, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        vars(self)["finished"] = True

    def kept(self: Any, name: str, value: Any) -> None:
        if name != "max_pixels" or "finished" not in vars(self):
            object.__setattr__(self, name, value)

    with (
        mock.patch.object(Qwen2VLImageProcessor, "__init__", built),
        mock.patch.object(Qwen2VLImageProcessor, "__setattr__", kept),
    ):
        yield


def call_limits_unread() -> AbstractContextManager[None]:
    """`max_pixels` given to the whole processor's call is not looked at."""
    from transformers import Qwen2VLProcessor

    def edit(args: Any, kwargs: Any) -> tuple[Any, Any]:
        return args, {k: v for k, v in kwargs.items() if k != "max_pixels"}

    return edited_arguments(Qwen2VLProcessor, "__call__", edit)


def message_limits_unread() -> AbstractContextManager[None]:
    """`max_pixels` beside a picture in a message is not looked at."""
    from harness.measuring.models import qwen2_vl

    def edit(args: Any, kwargs: Any) -> tuple[Any, Any]:
        messages = [
            {
                **m,
                "content": [
                    {k: v for k, v in part.items() if k != "max_pixels"} for part in m["content"]
                ],
            }
            if isinstance(m["content"], list)
            else m
            for m in args[0]
        ]
        return (messages, *args[1:]), kwargs

    return edited_arguments(qwen2_vl, "pictures", edit)


def tokenizer(edit: Any) -> AbstractContextManager[None]:
    """Edit the tokenizer."""
    return edited_processor(lambda processor: edit(processor.tokenizer))


def no_normaliser(tokens: Any) -> None:
    from tokenizers.normalizers import Sequence

    tokens.backend_tokenizer.normalizer = Sequence([])


def pads_with_eos(tokens: Any) -> None:
    tokens.pad_token = "<|im_end|>"


def pads_right(tokens: Any) -> None:
    tokens.padding_side = "right"


def full_mask() -> AbstractContextManager[None]:
    """The attention mask covers the padding."""
    from harness.measuring.probes import ids

    def edit(collator: Any) -> Any:
        def collate(examples: Any) -> Any:
            batch = collator(examples)
            batch["attention_mask"] = batch["attention_mask"] * 0 + 1
            return batch

        return collate

    return edited_result(ids, "make_collator", edit)


def labels(edit: Any) -> AbstractContextManager[None]:
    """Edit the recipe's labels."""
    from harness.measuring.training import collate

    return edited_result(collate, "recipe_labels", edit)


def unmask_pad(batch: Any) -> Any:
    """Left padding becomes a target (its first token is never masked in the recipe)."""
    out = batch.clone()
    out[:, 0] = 0
    return out


def shift(batch: Any) -> Any:
    return batch.roll(1, dims=1)


def image_tokens_trained() -> AbstractContextManager[Any]:
    """The collator forgets to mask image_pad."""
    from harness.measuring.training import collate

    masked = collate.recipe_labels

    def forgetting(input_ids: Any, tokenizer: Any, chat: Any) -> Any:
        out = masked(input_ids, tokenizer, chat)
        image = input_ids == tokenizer.convert_tokens_to_ids(chat.image)
        out[image] = input_ids[image]
        return out

    return mock.patch.object(collate, "recipe_labels", forgetting)


def whole_prompt_trained() -> AbstractContextManager[Any]:
    """completion-only masking forgets the last line break of the header."""
    from harness.measuring.probes import labels as probe

    def edit(batch: Any) -> Any:
        out = batch.clone()
        first = (out != -100).int().argmax(dim=1)
        for row, position in enumerate(first.tolist()):
            out[row, position - 1] = 0
        return out

    return edited_result(probe, "completion_labels", edit)


FAULTS = (
    Fault(
        "text",
        "line break after a turn lost",
        "text.rendered",
        lambda: template(r"<\|im_end\|>\\n", "<|im_end|>"),
    ),
    Fault(
        "text",
        "texts trimmed",
        "text.rendered",
        lambda: template(r"\['text'\] ?(-?}})", r"['text'] | trim \1"),
    ),
    Fault(
        "text",
        "another default system message",
        "text.rendered",
        lambda: template("a helpful assistant", "a helpful AI assistant"),
    ),
    Fault("ids", "no Unicode normalisation", "ids.encoded", lambda: tokenizer(no_normaliser)),
    Fault("ids", "padding with the eos token", "ids.batch_ids", lambda: tokenizer(pads_with_eos)),
    Fault("ids", "padding side", "ids.padding_side", lambda: tokenizer(pads_right)),
    Fault("ids", "mask covers padding", "ids.batch_mask", full_mask),
    Fault(
        "images",
        "mean and standard deviation swapped",
        "images.level_error",
        lambda: image_option("image_mean", lambda p: p.image_std),
    ),
    Fault(
        "images",
        "another resampling filter",
        "images.levels",
        lambda: image_option("resample", lambda p: 2),
    ),
    Fault("images", "minimum of pixels changed", "images.grid", larger_minimum),
    Fault("images", "one processor's limit is the next one's", "images.grid_beside", limit_for_all),
    Fault("images", "a limit set afterwards unread", "images.limited_grid", deaf_afterwards),
    Fault(
        "images",
        "a call's limit unread",
        "images.limited_grid.most_in_call",
        call_limits_unread,
        only="latest",
    ),
    Fault("images", "a message's limit unread", "images.limited_size", message_limits_unread),
    Fault(
        "images",
        "rescaled by 1/256",
        "images.level_error",
        lambda: image_option("rescale_factor", lambda p: 1 / 256),
    ),
    Fault("labels", "a pad is a target", "labels.trained_pads", lambda: labels(unmask_pad)),
    Fault("labels", "labels shifted by one", "labels.recipe", lambda: labels(shift)),
    Fault("labels", "image tokens are targets", "labels.recipe", image_tokens_trained),
    Fault("labels", "one prompt token is a target", "labels.completion", whole_prompt_trained),
)
