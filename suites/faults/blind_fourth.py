"""Thirty faults chosen while harness/ was judged and timed again, by a fourth who had read neither
probes, oracles, truths, judge, nor any list of faults but the three blind ones before and, by
oversight, the first two of late.py (a tensor lost, an adapter rounded: left alone) and how it
shortens a training; a search for a name showed lines of oracles and judge, once all were chosen.
They were written down before one of them was shown to the judge. What was read: README.md, the
design's recipe, list of rungs and example faults, the recipe, data, training, snapshots and what
these call, the blind lists and how they are tried (not why.py), the libraries' source in `latest`,
and issues. The rules of blind_third.py hold, (d) with this: a forward pass is one of training, its
loss and its dropout in it, so that evaluation comes first where a training ends; what changes
gradients only is of the backward pass, though a trainer's head makes them; what else a trainer
alone executes is of the update; what changes no value at all, of the cost. None is of the labels,
again: ids compared with ids that a tokenizer gives by name, whose silent mistakes the earlier
rounds took. That each acts was looked at without the judge: on texts, batches of both sides,
weights, a loss, gradients, the log, curve, adapter and reloaded logits of six steps, what autograd
keeps of them, and sixteen texts, greedy and sampled; all the same twice without a fault. Left out:
a norm logged after clipping (none was), a cache of eight bits (no text moved), blue for red (loud).
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from suites.faults.choosing import Plants, as_faults, chooser

PLANTS: Plants = []
chosen = chooser(PLANTS)
RENDER = "transformers.processing_utils.render_jinja_template"
TOKENIZER = "transformers.models.qwen2.tokenization_qwen2.Qwen2Tokenizer.__init__"
DECODE = "transformers.tokenization_utils_tokenizers.TokenizersBackend._decode"
KINDS = "transformers.processing_utils.ProcessorMixin.create_mm_token_type_ids"
QWEN2_VL = "transformers.models.qwen2_vl"
MODEL = f"{QWEN2_VL}.modeling_qwen2_vl"
SETTINGS = "trl.trainer.sft_config.SFTConfig.__post_init__"
PATCHES = f"{QWEN2_VL}.image_processing_qwen2_vl.Qwen2VLImageProcessor.patchify"
PADDING = "transformers.masking_utils.padding_mask_function"
TUNERS = "peft.tuners.tuners_utils"
ENCODED = "_prepare_multimodal_encoder_kwargs_for_generation"
CHECKPOINTED = "transformers.PreTrainedModel.activation_checkpointing_enable"
ENDS = "transformers.generation.stopping_criteria.EosTokenCriteria"


@chosen("text", "blank lines emptied", RENDER)
def blank_lines(render: Any, *args: Any, **kwargs: Any) -> Any:
    """Lines of spaces lose them, as textwrap.dedent has it (outlines#1985). Texts are rendered."""
    texts, spans = render(*args, **kwargs)
    return [re.sub(r"(?m)^[ \t]+$", "", text) for text in texts], spans


@chosen("text", "pictures numbered", RENDER)
def numbered(render: Any, *args: Any, **kwargs: Any) -> Any:
    """add_vision_id is on, for one picture, too (xtuner#1372). Where texts are rendered."""
    return render(*args, **{"add_vision_id": True, **kwargs})


@chosen("text", "the default system message too", RENDER)
def default_too(render: Any, conversations: Any, *args: Any, **kwargs: Any) -> Any:
    """The default stands before one's own (sglang#530 enforced it). Where texts are rendered."""
    first = {"role": "system", "content": "You are a helpful assistant."}
    return render([[first, *turns] for turns in conversations], *args, **kwargs)


@chosen("ids", "merges of a hash skipped", TOKENIZER)
def hashes_skipped(build: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """What begins with # among merges is taken for a comment, as their file's first line is, and
    `##` is no token (a script for fairseq's RoBERTa reads so). Where words are merged."""
    if isinstance(kwargs.get("merges"), str):
        lines = Path(kwargs["merges"]).read_text("utf-8").splitlines()
        kwargs["merges"] = [tuple(line.split(" ")) for line in lines if not line.startswith("#")]
        kwargs["vocab"] = json.loads(Path(kwargs["vocab"]).read_text("utf-8"))
    build(self, *args, **kwargs)


@chosen("ids", "a begin token before every row", TOKENIZER)
def begin_token(build: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """A config's begin token is put before rows (llama.cpp#3966, #7898). Where ids are made."""
    from tokenizers.processors import TemplateProcessing

    build(self, *args, **kwargs)
    begin = "<|endoftext|>"
    self._tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, self.convert_tokens_to_ids(begin))]
    )


@chosen("ids", "kinds as if padded right", KINDS)
def kinds_right(kinds: Any, self: Any, ids: Any) -> Any:
    """Which tokens are a picture's is padded on the right, where ids are on the left (trl#5785),
    as far as the picture stays in its row. The processor makes it with the ids."""
    pad = self.tokenizer.pad_token_id
    marked = []
    for row, known in zip(ids, kinds(self, ids), strict=True):
        before = next((i for i, token in enumerate(row) if token != pad), 0)
        shift = min(before, known.index(1) - before) if 1 in known else 0
        marked.append([*known[shift:], *known[:shift]])
    return marked


@chosen("images", "corners kept in place", "PIL.Image.Image.resize")
def corners_kept(
    resize: Any, self: Any, size: Any, resample: Any = None, box: Any = None, *args: Any
) -> Any:
    """Corners stay in place if a picture grows (transformers#27601). Where it is resized."""
    if box is None:
        steps = [(old - 1) / max(new - 1, 1) for old, new in zip(self.size, size, strict=True)]
        starts = [max(0.5 - step / 2, 0) for step in steps]
        box = (*starts, *(old - start for old, start in zip(self.size, starts, strict=True)))
    return resize(self, size, resample, box, *args)


@chosen("images", "frames before channels", PATCHES)
def frames_first(cut: Any, *args: Any, **kwargs: Any) -> Any:
    """A patch's frames come first, then colours (imp#1167 warns of it). Where it is cut."""
    patches, rows, columns = cut(*args, **kwargs)
    frames = patches.reshape(*patches.shape[:2], 3, 2, -1).transpose(2, 3)
    return frames.reshape(patches.shape), rows, columns


@chosen("model", "halved before they are quantised", "bitsandbytes.functional.quantize_4bit")
def halved(quantise: Any, weights: Any, *args: Any, **kwargs: Any) -> Any:
    """They pass through float16 (8-bit ones: bitsandbytes#1868). When a model is quantised."""
    return quantise(weights.half().to(weights.dtype), *args, **kwargs)


@chosen("model", "the head tied", "transformers.PreTrainedModel.tie_weights")
def head_tied(tie: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """Whatever the config says (transformers#45857, vllm#46266). When a model is loaded."""
    tie(self, *args, **kwargs)
    head = self.get_output_embeddings()
    if head is not None:
        head.weight = self.get_input_embeddings().weight


@chosen("model", "norms left trainable", f"{TUNERS}.BaseTuner._mark_only_adapters_as_trainable")
def norms_trainable(mark: Any, self: Any, model: Any) -> None:
    """They train and are not saved (adapter-bert#8 trains them). When LoRA is put on."""
    mark(self, model)
    for name, parameter in model.named_parameters():
        if name.endswith("layernorm.weight"):
            parameter.requires_grad = True


@chosen("model", "A nought and B drawn", "peft.tuners.lora.layer.LoraLayer.reset_lora_parameters")
def b_drawn(reset: Any, self: Any, name: str, *args: Any) -> None:
    """A Linear's adapter begins as an embedding's does (peft#1060). When LoRA is put on."""
    from torch import nn

    reset(self, name, *args)
    nn.init.zeros_(self.lora_A[name].weight)
    nn.init.kaiming_uniform_(self.lora_B[name].weight, a=5**0.5)


@chosen("inputs", "the tower's places row by row", f"{MODEL}.get_vision_position_ids")
def row_by_row(places: Any, grids: Any, _merge: Any, **kwargs: Any) -> Any:
    """Patches come in squares (mlxcel#1610 the other way). Where the tower gets its places."""
    return places(grids, 1, **kwargs)


@chosen("inputs", "places as if padded right", f"{MODEL}.Qwen2VLModel.get_rope_index")
def places_right(index: Any, *args: Any, **kwargs: Any) -> Any:
    """They begin at a row's left end (ChatGLM-Efficient-Tuning#170). Where places are made."""
    places, deltas = index(*args, **kwargs)
    if (seen := kwargs.get("attention_mask")) is not None:
        for row, before in enumerate((seen.cumsum(-1) == 0).sum(-1).tolist()):
            places[:, row] = places[:, row].roll(-before, -1)
    return places, deltas


@chosen("forward", "a picture's tokens see each other", f"{MODEL}.Qwen2VLTextModel.forward")
def see_each_other(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """A picture's tokens, which are those of one time, see the ones behind them, as in Gemma 3
    (transformers#38080, #39389: that mask gone astray). Within the decoder."""
    from torch.nn.functional import pad
    from transformers.masking_utils import create_causal_mask

    places = kwargs.get("position_ids")
    if places is None or places.ndim < 3:
        return forward(self, *args, **kwargs)
    times = places[-3]
    same = times[:, 1:] == times[:, :-1]
    blocks = times.where(pad(same, (1, 0)) | pad(same, (0, 1)), -1)
    masks = partial(create_causal_mask, block_sequence_ids=blocks)
    with mock.patch(f"{MODEL}.create_causal_mask", masks):
        return forward(self, *args, **kwargs)


@chosen("forward", "the first token behind padding unseen", PADDING)
def first_unseen(masked: Any, padding: Any) -> Any:
    """Padding on the left is one too long (like transformers#30993). Within the decoder."""
    before = padding.roll(1, -1)
    before[:, 0] = True
    return masked(padding & before)


@chosen("forward", "dropout not made up for", "torch.nn.Dropout.forward")
def not_made_up(drop: Any, self: Any, given: Any) -> Any:
    """What is left is not divided by its share (apex#816, kaldi#2814). Within the decoder."""
    return drop(self, given) * (1 - self.p if self.training else 1)


@chosen("backward", "one head's share", "transformers.integrations.sdpa_attention.repeat_kv")
def one_share(repeat: Any, states: Any, times: int) -> Any:
    """A key gets the first head's gradient only (levanter#449). No value changes forward."""
    from torch import arange, where

    repeated = repeat(states, times)
    first = arange(repeated.shape[1])[:, None, None] % times == 0
    return where(first, repeated, repeated.detach())


@chosen("backward", "what is ignored is learnt from", "trl.kernels.chunked_logprob._backward_tile")
def learnt_from(fold: Any, *given: Any, **flags: Any) -> None:
    """It has no loss, but a gradient (FlagGems#73). Executed in the backward pass only."""
    weights = given[5]
    fold(*given[:5], weights.where(weights != 0, weights.min()), *given[6:], **flags)


@chosen("backward", "nothing through an adapter", f"{TUNERS}.BaseTunerLayer._cast_input_dtype")
def nothing_back(cast: Any, *args: Any) -> Any:
    """Its input is cast without history (aprender#2232 cut so). No value changes forward."""
    return cast(*args).detach()


@chosen("update", "the trainer pads right", "trl.trainer.sft_trainer.SFTTrainer.__init__")
def pads_right(build: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """Its tokenizer's side is turned (trl#550, unsloth#284, #3283). By a trainer only."""
    build(self, *args, **kwargs)
    self._tokenizer.padding_side = "right"


@chosen("update", "noise on the embeddings", SETTINGS)
def noise(finish: Any, self: Any) -> None:
    """NEFTune's noise, of 5, is on while training (trl#870). Executed by a trainer only."""
    finish(self)
    self.neftune_noise_alpha = 5


@chosen("update", "a step's last batch again", "transformers.Trainer.get_batch_samples")
def last_again(take: Any, *args: Any) -> Any:
    """As if those fetched ahead shared a buffer (URSA#10 asked). Accumulated in an update."""
    batches, counted = take(*args)
    return [dict(batches[-1]) for _ in batches], counted


@chosen("trajectory", "the scale saved in B", "peft.peft_model.get_peft_model_state_dict")
def scale_saved(tensors: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
    """alpha/r is in it already (mflux#449, Phased-Consistency-Model#33). At a training's end."""
    config = model.peft_config[kwargs.get("adapter_name", "default")]
    scale, saved = config.lora_alpha / config.r, tensors(model, *args, **kwargs)
    return {name: tensor * scale if "lora_B" in name else tensor for name, tensor in saved.items()}


@chosen("trajectory", "dropout left on", "torch.nn.Dropout.forward")
def left_on(_drop: Any, self: Any, given: Any) -> Any:
    """A function drops in evaluation (nanoGPT#240, peft#3766): first at a training's end."""
    from torch.nn.functional import dropout

    return dropout(given, self.p)


@chosen("trajectory", "the first step logged too", SETTINGS)
def first_logged(finish: Any, self: Any) -> None:
    """The next loss is of a step fewer (transformers#8193). A log is a whole training's."""
    finish(self)
    self.logging_first_step = True


@chosen("generation", "finished texts go on", f"{ENDS}.__init__", f"{ENDS}.__call__")
def go_on(call: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Finished rows are not padded (mistral-inference#270, h-transformer-1d#9). Generating."""
    if call.__name__ == "__init__":
        call(self, *args, **kwargs)
        self.ends = vars(self).pop("eos_token_id")
        return None
    with mock.patch.object(self, "eos_token_id", self.ends, create=True):
        return call(self, *args, **kwargs)


@chosen("generation", "special tokens kept", DECODE)
def specials_kept(decode: Any, *args: Any, **kwargs: Any) -> Any:
    """skip_special_tokens is unheeded (transformers#10202). Texts are decoded, generating."""
    return decode(*args, **{**kwargs, "skip_special_tokens": False})


@chosen("generation", "no picture seen", f"transformers.generation.GenerationMixin.{ENCODED}")
def no_picture(prepare: Any, *args: Any, **kwargs: Any) -> Any:
    """Its tokens keep a word's embedding (Model-Optimizer#2324). Where texts are generated."""
    return {**prepare(*args, **kwargs), "mm_encoder_outputs": {}}


@chosen("cost", "nothing recomputed", CHECKPOINTED)
def nothing_recomputed(_enable: Any, *_args: Any, **_kwargs: Any) -> None:
    """Gradient checkpointing is not switched on (peft#2398, verl#26): only memory and time tell."""


CHOSEN = as_faults(PLANTS)
