"""Thirty faults chosen while the probes were widened from harness/ of 3679899 to that of df7f64c,
which judged them, by another who had read neither's probes, oracles, nor any list of faults but
blind.py. They were written down and committed before one of them was shown to the judge.

What was read: the recipe (harness/recipe), its data, training and snapshots and what these call
(harness/data, measuring/training, snapshots, some of _compat and models/qwen2_vl.py), blind.py, the
design's recipe and its list of the rungs, the installed libraries' source, and their issues. A
search for the rungs showed the design's line of example faults too; none of those is chosen.

The rules. (a) Each lies in a library that the recipe's own training or generation executes on
`latest` on a CPU: transformers, trl, peft, accelerate, bitsandbytes, torch, Pillow. None is in the
harness, none ends in an error. (b) It changes what the recipe makes: the batches, the adapter, the
loss curve, what is saved, or the texts. (c) Each is a mistake that a release really made, or that
the source shows to be near at hand; where one was found, the place that tells of it stands beside
it. Those of blind.py are not chosen again, nor varied. (d) `rung` is the earliest at which an
observer of that stage could see it, written down before anything was tried; any finding there
counts. The trainer's labels are labels, its loss is of the forward pass; what it does with the
gradient of several batches, and what it counts for it, is of the update.

That each acts was looked at without the judge: on texts, batches, weights, a loss and its
gradients, on the adapter, the log and the state of a training of four steps, and on sixteen texts
generated before and after it, all the same twice without a fault. A first penalty of 1.05 on
repetition changed none of the texts and was made 1.1; a first merge lost was chosen too, and left
out as one more of the tokenizer's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

from suites.faults.choosing import Plants, as_faults, chooser

PLANTS: Plants = []
chosen = chooser(PLANTS)
RENDER = "transformers.processing_utils.render_jinja_template"
TOKENIZER = "transformers.tokenization_utils_base.PreTrainedTokenizerBase"
BACKEND = "transformers.tokenization_utils_tokenizers.TokenizersBackend"
QWEN2 = "transformers.models.qwen2.tokenization_qwen2"
PICTURES = "transformers.models.qwen2_vl.image_processing_qwen2_vl"
QWEN2_VL = "transformers.models.qwen2_vl.modeling_qwen2_vl"
SDPA = "transformers.integrations.sdpa_attention"
SFT = "trl.trainer.sft_trainer.SFTTrainer"
HEAD = "trl.kernels.chunked_logprob"


def with_parts(conversations: Any, edit: Callable[[list[Any]], list[Any]]) -> Any:
    """Conversations with every message's parts edited, where it has parts."""

    def edited(message: Any) -> Any:
        parts = message["content"]
        return message if isinstance(parts, str) else {**message, "content": edit(list(parts))}

    return [[edited(message) for message in turns] for turns in conversations]


@chosen("text", "pictures before their text", RENDER)
def pictures_first(render: Any, conversations: Any, *args: Any, **kwargs: Any) -> Any:
    """A message's pictures come first, as TRL's own preparation of messages has them (trl#5508)."""
    moved = with_parts(conversations, lambda parts: sorted(parts, key=lambda p: "text" in p))
    return render(moved, *args, **kwargs)


@chosen("text", "parts on lines of their own", RENDER)
def on_lines(render: Any, conversations: Any, *args: Any, **kwargs: Any) -> Any:
    """A message's parts are joined by a line break, as vLLM's chat did (vllm#7905, #12885)."""

    def joined(parts: list[Any]) -> list[Any]:
        between = {"type": "text", "text": "\n"}
        return [p for i, part in enumerate(parts) for p in ([between, part] if i else [part])]

    return render(with_parts(conversations, joined), *args, **kwargs)


@chosen("text", "the generation prompt lost", RENDER)
def prompt_lost(render: Any, *args: Any, **kwargs: Any) -> Any:
    """add_generation_prompt does not reach the template (as in transformers#27926)."""
    return render(*args, **{**kwargs, "add_generation_prompt": False})


@chosen("ids", "split as GPT-2 splits", f"{QWEN2}.Qwen2Tokenizer.__init__")
def gpt2_split(build: Any, *args: Any, **kwargs: Any) -> None:
    """Words are cut by another pattern than the vocabulary's (transformers#42299): line breaks no
    longer go with the sign before them."""
    older = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    with mock.patch(f"{QWEN2}.PRETOKENIZE_REGEX", older):
        build(*args, **kwargs)


@chosen("ids", "padded to a multiple of eight", f"{BACKEND}.set_truncation_and_padding")
def in_eights(pad: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """pad_to_multiple_of is 8 where nothing else was asked for, as collators have it."""
    asked = kwargs.get("pad_to_multiple_of")
    pad(self, *args, **{**kwargs, "pad_to_multiple_of": 8 if asked is None else asked})


@chosen("images", "the nearest pixel", "PIL.Image.Image.resize")
def nearest(resize: Any, self: Any, size: Any, resample: Any = None, *args: Any, **kw: Any) -> Any:
    """Pillow's default when it resizes is the nearest pixel, as before 7.0 (Pillow#4255)."""
    return resize(self, size, 0 if resample is None else resample, *args, **kw)


@chosen(
    "images",
    "a rounded factor",
    "transformers.image_processing_backends.TorchvisionBackend.rescale_and_normalize",
)
def rounded_factor(
    scale: Any, self: Any, images: Any, do_rescale: Any, factor: float, *args: Any
) -> Any:
    """1/255 was written with two digits: pixels are multiplied by 0.0039."""
    return scale(self, images, do_rescale, float(f"{factor:.2g}"), *args)


@chosen("images", "pictures left in groups", f"{PICTURES}.reorder_images")
def left_in_groups(order: Any, *args: Any, **kwargs: Any) -> Any:
    """A batch's pictures stay in the groups of one shape that they were resized in: a row may get
    another's, and the tokens for it."""
    pictures = order(*args, **kwargs)
    if not pictures or getattr(pictures[0], "ndim", 0) != 3:
        return pictures
    shapes = [tuple(picture.shape) for picture in pictures]
    return sorted(pictures, key=lambda picture: shapes.index(tuple(picture.shape)))


@chosen("labels", "tokens around a picture unknown", f"{TOKENIZER}.convert_tokens_to_ids")
def around_unknown(convert: Any, self: Any, tokens: Any) -> Any:
    """In a list, special tokens that have no name of their own are unknown: transformers 5 renamed
    what holds them (transformers#43689)."""
    if isinstance(tokens, str):
        return convert(self, tokens)
    lost = ("<|vision_start|>", "<|vision_end|>")
    return [self.unk_token_id if token in lost else convert(self, token) for token in tokens]


@chosen("labels", "answers alone in the trainer", f"{SFT}.__init__")
def answers_alone(build: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """The trainer masks all before the last answer in what a collator of one's own gives, as was
    asked of it to do by default (trl#3315)."""
    collate, start = kwargs["data_collator"], "<|im_start|>assistant\n"
    header = kwargs["processing_class"].encode(start, add_special_tokens=False)

    def masked(examples: Any) -> Any:
        batch = collate(examples)
        ids = batch["input_ids"]
        headers = (ids.unfold(1, len(header), 1) == ids.new_tensor(header)).all(-1)
        for row, place in headers.nonzero().tolist():
            batch["labels"][row, : place + len(header)] = -100
        return batch

    build(self, *args, **{**kwargs, "data_collator": masked})


@chosen("model", "alpha lost on the way", "peft.tuners.lora.bnb.Linear4bit.__init__")
def alpha_lost(build: Any, *args: Any, **kwargs: Any) -> None:
    """lora_alpha does not reach the adapter of a 4-bit Linear, whose own default is 1
    (as diffusers#6087 found out)."""
    build(*args, **{name: v for name, v in kwargs.items() if name != "lora_alpha"})


@chosen("model", "blocks of 128", "bitsandbytes.functional.quantize_4bit")
def larger_blocks(quantise: Any, *args: Any, **kwargs: Any) -> Any:
    """128 values share a scale, not 64: AMD's default until bitsandbytes#1873."""
    return quantise(*args, **{**kwargs, "blocksize": 128})


@chosen(
    "model",
    "frequencies through bfloat16",
    f"{QWEN2_VL}.Qwen2VLRotaryEmbedding.compute_default_rope_parameters",
)
def frequencies_rounded(compute: Any, *args: Any, **kwargs: Any) -> Any:
    """The rotary embedding's frequencies went through bfloat16 with the model
    (transformers#25681)."""
    frequencies, scaling = compute(args[-1], **kwargs)
    return frequencies.bfloat16().float(), scaling


@chosen("inputs", "rows for columns in the tower", f"{QWEN2_VL}.get_vision_position_ids")
def rows_for_columns(places: Any, *args: Any, **kwargs: Any) -> Any:
    """A patch's row is its column to the tower's rotary embedding, and the other way round, where
    transformers#48105 gave that embedding a new interface."""
    return places(*args, **kwargs).flip(-1)


@chosen("inputs", "another gelu", "transformers.activations.QuickGELUActivation.forward")
def exact_gelu(quick: Any, self: Any, given: Any) -> Any:
    """quick_gelu is computed as the exact one (open_clip#771)."""
    from torch.nn.functional import gelu

    return gelu(given)


@chosen("inputs", "text begins in the picture", f"{QWEN2_VL}.Qwen2VLModel.get_rope_index")
def begins_inside(index: Any, self: Any, ids: Any, *args: Any, **kwargs: Any) -> Any:
    """Text after a picture begins at the picture's last place, not after it (places were wrong in
    transformers#36013, #45381)."""
    places, deltas = index(self, ids, *args, **kwargs)
    types = kwargs["mm_token_type_ids"] if "mm_token_type_ids" in kwargs else args[0]
    ends = ((types[:, :-1] == 1) & (types[:, 1:] != 1)).cumsum(-1)
    seen = kwargs.get("attention_mask")
    behind = ends if seen is None else ends * seen[:, 1:]
    places[..., 1:] -= behind.to(places.dtype)
    return places, deltas - ends[:, -1:].to(deltas.dtype)


@chosen("forward", "heads repeated as a whole", f"{SDPA}.repeat_kv")
def repeated_whole(repeat: Any, states: Any, times: int) -> Any:
    """Keys and values are repeated as a, b, a, b, not as a, a, b, b, where a mask is given
    (axlearn#842, onnx#7274)."""
    return states.repeat(1, times, 1, 1)


@chosen(
    "forward", "an adapter active twice", "peft.tuners.tuners_utils.BaseTunerLayer.active_adapters"
)
def active_twice(active: Any, self: Any) -> Any:
    """An adapter is in the list of the active ones twice, and counts twice (that list was wrong in
    peft#1051, #1659)."""
    names = active(self)
    return names if len(set(names)) < len(names) else names * 2


@chosen("forward", "the first token taught last", f"{SFT}.compute_loss")
def wrapped_around(loss: Any, self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
    """Labels are shifted by rolling them: a row's last place is taught its first token
    (verl#6475)."""
    rolled = inputs["labels"].roll(-1, dims=1)
    return loss(self, model, {**inputs, "shift_labels": rolled}, *args, **kwargs)


@chosen("backward", "other masks in the second pass", "transformers.modeling_utils.checkpoint")
def other_masks(checkpoint: Any, *args: Any, **kwargs: Any) -> Any:
    """Recomputing a checkpointed layer draws new dropout masks (OLMo-core#828)."""
    return checkpoint(*args, **{**kwargs, "preserve_rng_state": False})


@chosen("backward", "a norm's scale held constant", f"{QWEN2_VL}.Qwen2VLRMSNorm.forward")
def scale_constant(norm: Any, self: Any, states: Any) -> Any:
    """The backward pass of a norm takes what it divides by for a constant: its forward pass stays
    right, as in FlagGems#5771."""
    wide = states.float()
    scale = (wide.detach().pow(2).mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()
    return self.weight * (wide * scale).to(states.dtype)


@chosen("backward", "the head's products rounded", f"{HEAD}._addmm_fp32")
def products_rounded(add: Any, total: Any, left: Any, right: Any) -> None:
    """The head's gradient is rounded to bfloat16 before it is summed, which TRL's own comment on
    this function warns of."""
    total += (left.bfloat16() @ right.bfloat16()).float()


@chosen("update", "the optimizer's own decay", "torch.optim.AdamW.__init__")
def own_decay(build: Any, self: Any, groups: Any, *args: Any, **kwargs: Any) -> None:
    """No weight decay was asked for, and torch's default of 0.01 holds; transformers' own AdamW had
    0 (transformers#7214)."""
    for group in (groups := list(groups)):
        if isinstance(group, dict):
            group.pop("weight_decay", None)
    build(self, groups, *args, **kwargs)


@chosen("update", "gradients kept", "peft.peft_model.PeftModel.zero_grad")
def gradients_kept(clear: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """After a step the base model's gradients are cleared, not its adapter's
    (tt-blacksmith#711)."""
    for name, parameter in self.named_parameters():
        if "lora_" not in name:
            parameter.grad = None


@chosen("update", "first tokens counted", "transformers.Trainer._get_num_items_in_batch")
def first_counted(count: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """A step's targets are counted before they are shifted: a row's first is one, too, as until
    transformers#46204."""
    with mock.patch.object(self, "_loss_shifts_labels", False):
        return count(self, *args, **kwargs)


@chosen("trajectory", "the first batch dropped", "accelerate.data_loader.DataLoaderShard.__init__")
def first_dropped(build: Any, *args: Any, **kwargs: Any) -> None:
    """An epoch's first batch is fetched and not given out; what is skipped once was skipped for
    good in accelerate#1451."""
    build(*args, **{**kwargs, "skip_batches": 1})


@chosen("trajectory", "alpha not written", "peft.tuners.lora.config.LoraConfig.to_dict")
def alpha_unwritten(written: Any, self: Any) -> Any:
    """A saved adapter's config has no lora_alpha, and is read with the default of 8
    (diffusers#6087)."""
    return {name: value for name, value in written(self).items() if name != "lora_alpha"}


@chosen(
    "generation",
    "pictures as text while generating",
    f"{QWEN2_VL}.Qwen2VLForConditionalGeneration._prepare_position_ids_for_generation",
)
def as_text(places: Any, self: Any, ids: Any, given: Any) -> Any:
    """While generating, a picture's tokens have text's places, one after the other
    (transformers#40136, #40490)."""
    return places(self, ids, {k: v for k, v in given.items() if k != "mm_token_type_ids"})


@chosen(
    "generation",
    "repetition punished",
    "transformers.GenerationConfig._get_default_generation_params",
)
def repetition_punished(defaults: Any, *args: Any) -> Any:
    """repetition_penalty is 1.1 where neither caller nor model says anything (ollama#17679)."""
    return {**defaults(), "repetition_penalty": 1.1}


@chosen("generation", "heads packed across groups", f"{SDPA}.pack_gqa")
def across_groups(pack: Any, states: Any, times: int) -> Any:
    """While decoding with a mask, a key's queries are packed as if they lay one group apart."""
    if states is None or states.shape[1] == 1:
        return states
    batch, heads, _, size = states.shape
    return states.reshape(batch, times, heads // times, size).transpose(1, 2)


CHOSEN = as_faults(PLANTS)
