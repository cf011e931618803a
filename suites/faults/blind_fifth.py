"""Thirty faults chosen by a fifth, who had read neither probes, oracles, truths, judge, golden
values, why.py, nor any list of faults but the four blind ones before. They were written down before
one of them was shown to the judge.

What was read: the design's recipe, and a search of its contract for the rungs, which showed the
line of example faults, too; the recipe, training, tiny snapshots, loading, models/qwen2_vl.py and
parts of source.py, dataset.py and instruments/exchange.py; blind.py to blind_fourth.py, choosing.py
and, of late.py, how it shortens a training, with which a search showed the beginning of its first
fault (a tensor lost) and the name of a module of the probes; the names of the lists, and of the
last three commits, one of which told of a planted GELU (left alone). Of the libraries' source in
`latest`: Qwen2-VL's model and pictures, parts of peft's layers, of the trainer and of the loading.
Of issues: a search's excerpts, not whole threads. README.md was not read.

The rules of blind_third.py and blind_fourth.py hold. As there, what a picture's number of tokens
follows from is of the ids, and what lies within decoder or tower of the forward pass. None is of
the labels, again. Where no issue was found for a fault, it says so; some that are cited are of the
reverse mistake, or of its like in another project.

That each acts was looked at without the judge, on the stand-in: on texts, batches, embeddings,
places, weights, a loss and its gradients; of those of later rungs, on greedy and sampled texts of
four products, and on curve, adapter, final and reloaded logits of a training of five steps of two
batches; all the same twice without a fault. Left out: runs of spaces as one (there are none),
Pillow's reducing_gap and every batch clipped by itself, which changed nothing; an adapter in half,
too near to a fault of the fourth round.
"""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import Any
from unittest import mock

from suites.faults.choosing import Plants, as_faults, chooser

PLANTS: Plants = []
chosen = chooser(PLANTS)
RENDER = "transformers.processing_utils.render_jinja_template"
TOKENIZER = "transformers.models.qwen2.tokenization_qwen2.Qwen2Tokenizer.__init__"
BACKEND = "transformers.image_processing_backends.TorchvisionBackend"
QWEN2_VL = "transformers.models.qwen2_vl"
MODEL = f"{QWEN2_VL}.modeling_qwen2_vl"
SIDES = "qwen_vl_utils.vision_process"
PATCHES = f"{QWEN2_VL}.image_processing_qwen2_vl.Qwen2VLImageProcessor.patchify"
LORA = "peft.tuners.lora.layer.LoraLayer"
NEXT = f"{MODEL}.Qwen2VLForConditionalGeneration._update_model_kwargs_for_generation"


@chosen("text", "the system message in the user's turn", RENDER)
def in_users_turn(render: Any, conversations: Any, *args: Any, **kwargs: Any) -> Any:
    """A system message is put before the user's text, as for a template that knows no such role
    (nobodywho#73, chat_templates#17). Where texts are rendered."""
    joined = []
    for turns in conversations:
        first, second = [*turns, {}, {}][:2]
        kinds = [type(turn.get("content")) for turn in (first, second)]
        if first.get("role") == "system" and kinds == [list, list]:
            content = [*first["content"], {"type": "text", "text": "\n\n"}, *second["content"]]
            turns = [{**second, "content": content}, *turns[2:]]
        joined.append(turns)
    return render(joined, *args, **kwargs)


@chosen("text", "an empty thought before the answer", RENDER)
def empty_thought(render: Any, *args: Any, **kwargs: Any) -> Any:
    """An answer begins with Qwen3's empty thought (trl#6363, tinker-cookbook#849: written for every
    answer, or not). Where texts are rendered."""
    texts, spans = render(*args, **kwargs)
    start = "<|im_start|>assistant\n"
    return [text.replace(start, f"{start}<think>\n\n</think>\n\n") for text in texts], spans


@chosen("text", "a picture without its frame", RENDER)
def unframed(render: Any, *args: Any, **kwargs: Any) -> Any:
    """A picture's token stands without those of its beginning and end, as other families write it
    (osaurus#2340 looked for Qwen's in such a one). Where texts are rendered."""
    texts, spans = render(*args, **kwargs)
    framed, bare = "<|vision_start|><|image_pad|><|vision_end|>", "<|image_pad|>"
    return [text.replace(framed, bare) for text in texts], spans


@chosen("text", "a space for a role's line break", RENDER)
def role_space(render: Any, *args: Any, **kwargs: Any) -> Any:
    """A role is followed by a space, as where a template's line break was folded: no issue, but
    near at hand. Where texts are rendered."""
    texts, spans = render(*args, **kwargs)
    for role in ("system", "user", "assistant"):
        texts = [t.replace(f"<|im_start|>{role}\n", f"<|im_start|>{role} ") for t in texts]
    return texts, spans


def normalised(self: Any, normaliser: Any) -> None:
    """Puts a normaliser before a tokenizer's own."""
    from tokenizers.normalizers import Sequence

    own = self._tokenizer.normalizer
    self._tokenizer.normalizer = normaliser if own is None else Sequence([own, normaliser])


@chosen("ids", "words in small letters", TOKENIZER)
def small_letters(build: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """The tokenizer lowers its texts, by a default (transformers#343, #3823). Ids are made."""
    from tokenizers.normalizers import Lowercase

    build(self, *args, **kwargs)
    normalised(self, Lowercase())


@chosen(
    "ids",
    "pictures masked as padding",
    "transformers.tokenization_utils_tokenizers.TokenizersBackend._convert_encoding",
)
def masked_as_padding(convert: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """The attention mask leaves out what stands for a picture, as if that were the pad token: no
    issue, but near at hand where one token is both. The tokenizer makes it with the ids."""
    columns, encodings = convert(self, *args, **kwargs)
    picture = self.convert_tokens_to_ids("<|image_pad|>")
    columns["attention_mask"] = [
        [int(seen and token != picture) for seen, token in zip(mask, ids, strict=True)]
        for mask, ids in zip(columns["attention_mask"], columns["input_ids"], strict=True)
    ]
    return columns, encodings


@chosen("ids", "sides rounded down", f"{SIDES}.round_by_factor")
def rounded_down(_round: Any, number: int, factor: int) -> int:
    """A picture's sides are rounded down where they are to be rounded (Qwen3-VL#1145 tells of what
    rounding down did beside it). A picture's number of tokens follows, and ids hold them."""
    return number // factor * factor


@chosen("ids", "at least 256 tokens a picture", f"{SIDES}.smart_resize")
def at_least(rule: Any, height: int, width: int, factor: int, *_a: Any, **kwargs: Any) -> Any:
    """min_pixels is that of the model card's example (a family's of its own was PaddleX#5087's).
    A picture's number of tokens follows from it, and ids hold them."""
    return rule(height, width, factor, **{**kwargs, "min_pixels": 256 * factor**2})


@chosen("images", "a mean of one with levels", f"{BACKEND}._fuse_mean_std_and_rescale_factor")
def mean_of_one(fuse: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """A mean of pixels up to one is taken off levels up to 255 (apex#21, EfficientDet.Pytorch#137).
    Where pixels are made."""
    mean, deviation, scales = fuse(self, *args, **kwargs)
    return mean / 255, deviation, scales


@chosen("images", "a patch on its side", PATCHES)
def on_its_side(cut: Any, *args: Any, **kwargs: Any) -> Any:
    """A patch's columns come before its rows (their order was asked for in Qwen3-VL#263, and
    exchanged in open_clip#1182). Where a patch is cut."""
    patches, rows, columns = cut(*args, **kwargs)
    turned = patches.reshape(*patches.shape[:2], 6, 14, 14).transpose(-1, -2)
    return turned.reshape(patches.shape), rows, columns


@chosen("images", "scaled twice", f"{BACKEND}.normalize")
def scaled_twice(normalise: Any, self: Any, images: Any, *args: Any, **kwargs: Any) -> Any:
    """What was divided by 255 is divided by it again (transformers#25688, devtrack#927), here after
    the fused mean was made for levels. Where pixels are made."""
    return normalise(self, images / 255, *args, **kwargs)


@chosen("images", "left for right", f"{SIDES}.to_rgb")
def mirrored(convert: Any, picture: Any) -> Any:
    """Pictures are mirrored, by an augmentation that was left on: no issue, but near at hand. Where
    pictures are fetched; their sizes stay, and so do the ids."""
    from PIL import ImageOps

    return ImageOps.mirror(convert(picture))


@chosen("model", "the base of a shorter context", f"{MODEL}.Qwen2VLTextModel.__init__")
def shorter_base(build: Any, self: Any, config: Any) -> None:
    """rope_theta is not found and 10000 stands in for it: DeepSpeed's with transformers 5
    (DeepSpeed#8345, SpecForge#265). When a model is loaded."""
    config.rope_parameters = {**config.rope_parameters, "rope_theta": 10000.0}
    build(self, config)


@chosen("model", "scales in full", "bitsandbytes.functional.quantize_4bit")
def scales_in_full(quantise: Any, *args: Any, **kwargs: Any) -> Any:
    """That scales are quantised, too, is lost on the way (Soup#418: a switch that nothing read).
    When a model is quantised."""
    return quantise(*args, **{**kwargs, "compress_statistics": False})


@chosen("model", "gate and up exchanged", "transformers.PreTrainedModel.tie_weights")
def exchanged(tie: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """They are told apart by their order in a file (nntrainer#4194). When a model is loaded."""
    tie(self, *args, **kwargs)
    if "missing_keys" in kwargs:
        for module in self.modules():
            if hasattr(module, "gate_proj"):
                module.gate_proj, module.up_proj = module.up_proj, module.gate_proj


@chosen("model", "alpha by the root of the rank", f"{LORA}.update_layer")
def by_root(update: Any, self: Any, *args: Any, config: Any, **kwargs: Any) -> None:
    """use_rslora is on (it was unread in TensorRT-LLM#1668, sglang#40835). When LoRA is put on."""
    config = copy(config)
    config.use_rslora = True
    update(self, *args, config=config, **kwargs)


@chosen("inputs", "a picture one place early", f"{MODEL}.Qwen2VLModel.get_placeholder_mask")
def one_early(places: Any, *args: Any, **kwargs: Any) -> Any:
    """It begins in place of the token before it, and its last keeps a word's embedding: no issue,
    but near at hand. Where the decoder's input is put together."""
    pictures, videos = places(*args, **kwargs)
    return pictures.roll(-1, dims=1), videos


@chosen("inputs", "the tower's places by token", f"{MODEL}.get_vision_position_ids")
def by_token(places: Any, *args: Any, **kwargs: Any) -> Any:
    """The four patches of a token share its place (a tower's places were counted wrongly in
    vmlx-swift#225). Where the tower gets its places."""
    return places(*args, **kwargs) // 2


@chosen("forward", "biases added twice", "bitsandbytes.matmul_4bit")
def biases_twice(multiply: Any, states: Any, *args: Any, **kwargs: Any) -> Any:
    """As each of two ranks adds it before they are summed (text-generation-inference#1036,
    MinivLLM#80). Within decoder and tower, whose weights and inputs are right."""
    result, bias = multiply(states, *args, **kwargs), kwargs.get("bias")
    return result if bias is None else result + bias.to(result.dtype)


@chosen("forward", "norms of one more", f"{MODEL}.Qwen2VLRMSNorm.forward")
def one_more(norm: Any, self: Any, states: Any) -> Any:
    """A norm multiplies by one more than its weight, as Gemma's does (mold#1078; Liger-Kernel#74
    the other way round). Within the decoder."""
    return norm(self, states) * (1 + self.weight) / self.weight


@chosen("forward", "kept for dropped", "torch.nn.Dropout.forward")
def kept_for_dropped(drop: Any, self: Any, given: Any) -> Any:
    """The share to be dropped is the share that is kept (Inception-v4#5, pytorch-i3d#58). Dropout
    in training is of the forward pass."""
    with mock.patch.object(self, "p", 1 - self.p):
        return drop(self, given)


@chosen("forward", "the nearest 64 seen", f"{MODEL}.create_causal_mask")
def nearest_seen(mask: Any, config: Any, *args: Any, **kwargs: Any) -> Any:
    """A sliding window that the config switches off is on (transformers#38002, lmdeploy#3614), and
    short enough for short texts. Within the decoder."""
    from transformers.masking_utils import sliding_window_overlay

    return mask(config, *args, **{**kwargs, "and_mask_function": sliding_window_overlay(64)})


def with_gradient_of(right: Any, other: Any) -> Any:
    """The one's values, to the last bit, with the other's gradient."""
    return right.detach() + (other - other.detach())


@chosen("backward", "dropped going forward only", "torch.nn.Dropout.forward")
def forward_only(drop: Any, self: Any, given: Any) -> Any:
    """Its gradient takes no mask (numpy-ml#94, kaldi#3890). No value changes going forward."""
    return with_gradient_of(drop(self, given), given)


def divided(scale: float, _module: Any, _given: Any, out: Any) -> Any:
    """A forward hook: what comes out, with a gradient divided by the scale."""
    return with_gradient_of(out, out / scale)


@chosen("backward", "adapters' gradients unscaled", f"{LORA}.set_adapter")
def unscaled(choose: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """alpha/r is left out of them (of the forward pass in FastVideo#870, the rank of it in
    mlx-vlm#845). No value changes going forward."""
    choose(self, *args, **kwargs)
    for name, second in self.lora_B.items():
        if not second._forward_hooks:
            second.register_forward_hook(partial(divided, self.scaling[name]))


@chosen("update", "betas of pretraining", "torch.optim.AdamW.__init__")
def pretraining_betas(build: Any, *args: Any, **kwargs: Any) -> None:
    """The second is 0.95, as for pretraining (gpt-neox#228, maxtext#17). An optimizer's step is the
    update."""
    build(*args, **{**kwargs, "betas": (0.9, 0.95)})


@chosen("update", "trained without dropout", "trl.trainer.sft_trainer.SFTTrainer.compute_loss")
def left_in_eval(loss: Any, self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
    """The trainer's model is left as for evaluation (mmd#14, mcan-vqa#26). By a trainer only."""
    model.eval()
    return loss(self, model, *args, **kwargs)


@chosen("update", "cleared before every batch", "accelerate.Accelerator.backward")
def cleared_before(back: Any, self: Any, loss: Any, **kwargs: Any) -> None:
    """Gradients are cleared for every batch of a step (RAE#67). Accumulated in an update."""
    for model in self._models:
        model.zero_grad()
    back(self, loss, **kwargs)


@chosen("trajectory", "rows in their order", "transformers.Trainer._get_train_sampler")
def in_order(_sampler: Any, self: Any, *_args: Any) -> Any:
    """They are not shuffled (NeMo-Aligner#29, lightning-transformers#272). A step takes its rows as
    they come; their order is the whole training's."""
    from torch.utils.data import SequentialSampler

    return SequentialSampler(self.train_dataset)


@chosen("trajectory", "merged into four bits", "peft.PeftModel.from_pretrained")
def merged(load: Any, model: Any, folder: Any, *args: Any, **kwargs: Any) -> Any:
    """A loaded adapter is merged, and what it learnt is rounded away with the weights
    (peft#2321, #1043). A training's end loads it again."""
    loaded = load(model, folder, *args, **kwargs)
    loaded.merge_adapter()
    return loaded


@chosen("generation", "written on as text", NEXT)
def as_text(following: Any, *args: Any, **kwargs: Any) -> Any:
    """New tokens stand as if a picture's had been words (mlx-vlm#1527, #1619). Where texts are
    generated, token by token."""
    given = following(*args, **kwargs)
    places = given["position_ids"]
    if places.ndim == 3 and len(places) == 4:
        places[1:, :, -1] = places[0, :, -1]
    return given


CHOSEN = as_faults(PLANTS)
