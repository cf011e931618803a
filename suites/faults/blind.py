"""Twenty-six faults chosen for harness/ of eedd55d, by one who had read neither its probes nor its
truths. They were written down and committed before one of them was shown to the judge.

The rules. (a) Each changes a function or a setting that the recipe's own training or generation
executes on `latest` on a CPU. (b) It changes what the recipe makes: the batches, the adapter, the
loss curve, or the texts; not merely how fast. (c) Each is of a kind that the libraries' changelogs
and issues tell of: a wrong default, a lost keyword, one too many or too few, something stale, a
wrong type, axis, order or seed. Those of the other lists are not chosen again, nor varied.
(d) `rung` is the earliest at which an observer of that stage could see it; any finding there
counts. That each acts was looked at without the judge: on a batch, a loss, the adapter and the log
of a training of four steps, and the texts generated after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from suites.faults.choosing import Plants, as_faults, chooser

PLANTS: Plants = []
chosen = chooser(PLANTS)
LOADED = "harness.measuring.snapshots.loading.load_processor"
LABELS = "harness.measuring.training.collate.recipe_labels"
TEMPLATE = "transformers.Qwen2VLProcessor.apply_chat_template"
PATCHES = "transformers.Qwen2VLImageProcessor.patchify"
QWEN2_VL = "transformers.models.qwen2_vl.modeling_qwen2_vl"
NEXT = f"{QWEN2_VL}.Qwen2VLForConditionalGeneration._update_model_kwargs_for_generation"


@chosen("text", "texts escaped as HTML", TEMPLATE)
def escaped(render: Any, self: Any, messages: Any, **kwargs: Any) -> Any:
    """Jinja's autoescape is on: `&` becomes `&amp;`."""
    from markupsafe import escape

    def part(given: Any) -> Any:
        return {**given, "text": str(escape(given["text"]))} if "text" in given else given

    turns = [{**m, "content": [part(p) for p in m["content"]]} for m in messages]
    return render(self, turns, **kwargs)


@chosen("text", "the answer left open", TEMPLATE)
def left_open(render: Any, self: Any, messages: Any, **kwargs: Any) -> Any:
    """continue_final_message is on by default: the answer's end of turn is not written."""
    prompt = kwargs.get("add_generation_prompt", False)
    return render(self, messages, **{"continue_final_message": not prompt, **kwargs})


def rewritten(processor: Any, edit: Callable[[Any], None]) -> Any:
    """A processor whose tokenizer has another tokenizer.json."""
    from tokenizers import Tokenizer

    written = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    edit(written)
    processor.tokenizer._tokenizer = Tokenizer.from_str(json.dumps(written))
    return processor


@chosen("ids", "an end token swallows its line break", LOADED)
def swallowing(load: Any, *args: Any, **kwargs: Any) -> Any:
    """The end of a turn is a token with rstrip: the line break after it is lost with it."""

    def edit(written: Any) -> None:
        for token in written["added_tokens"]:
            token["rstrip"] = token["content"] == "<|im_end|>"

    return rewritten(load(*args, **kwargs), edit)


@chosen("ids", "merges dropped at random", LOADED)
def merges_dropped(load: Any, *args: Any, **kwargs: Any) -> Any:
    """The dropout of merges that the vocabulary's own training had was left on."""
    return rewritten(load(*args, **kwargs), lambda written: written["model"].update(dropout=0.1))


@chosen("images", "patches row by row", PATCHES)
def row_by_row(cut: Any, *args: Any, **kwargs: Any) -> Any:
    """Patches come row by row, not in the squares that are merged into one token."""
    patches, rows, columns = cut(*args, **kwargs)
    squares = patches.reshape(len(patches), rows // 2, columns // 2, 2, 2, -1)
    return squares.transpose(2, 3).reshape(patches.shape), rows, columns


@chosen("images", "a second frame of zeros", PATCHES)
def second_frame_empty(cut: Any, *args: Any, **kwargs: Any) -> Any:
    """A picture's second frame is zeros instead of the picture again."""
    patches, rows, columns = cut(*args, **kwargs)
    frames = patches.reshape(*patches.shape[:2], 3, 2, -1).clone()
    frames[:, :, :, 1] = 0
    return frames.reshape(patches.shape), rows, columns


@chosen("images", "width for height", "qwen_vl_utils.vision_process.smart_resize")
def sides_exchanged(rule: Any, *args: Any, **kwargs: Any) -> Any:
    """qwen_vl_utils resizes to (height, width) where Pillow takes (width, height)."""
    return rule(*args, **kwargs)[::-1]


@chosen("labels", "masked one token late", LABELS)
def masked_late(right: Any, ids: Any, *args: Any) -> Any:
    """What is masked is masked one token late: its first is trained, the token after it is not."""
    hidden = (right(ids, *args) == -100).roll(1, dims=1)
    hidden[:, 0] = False
    return ids.masked_fill(hidden, -100)


@chosen("labels", "no special token trained", LABELS)
def no_special_targets(right: Any, ids: Any, tokenizer: Any, *args: Any) -> Any:
    """Every special token is masked, the beginnings and ends of turns too."""
    special = ids.new_tensor(sorted(tokenizer.get_added_vocab().values()))
    return right(ids, tokenizer, *args).masked_fill((ids[..., None] == special).any(-1), -100)


@chosen("model", "A drawn from a normal distribution", "peft.LoraConfig.__init__")
def gaussian(build: Any, *args: Any, **kwargs: Any) -> None:
    """peft's other way to begin an adapter is its default."""
    build(*args, **{"init_lora_weights": "gaussian", **kwargs})


@chosen("model", "fp4 for nf4", "transformers.BitsAndBytesConfig.__init__")
def without_type(build: Any, *args: Any, **kwargs: Any) -> None:
    """bnb_4bit_quant_type is lost, and the default is fp4."""
    build(*args, **{name: v for name, v in kwargs.items() if name != "bnb_4bit_quant_type"})


@chosen(
    "inputs", "a picture's places from nought", f"{QWEN2_VL}.Qwen2VLModel.get_vision_position_ids"
)
def from_nought(places: Any, self: Any, start: int, *args: Any, **kwargs: Any) -> Any:
    """A picture's places are counted from nought, not from where the text before it ended."""
    return places(self, 0, *args, **kwargs)


@chosen("inputs", "pictures attend to each other", f"{QWEN2_VL}.get_vision_attention_seqlens")
def pictures_together(lengths: Any, *args: Any, **kwargs: Any) -> Any:
    """A batch's pictures are one sequence to the tower."""
    ends, longest = lengths(*args, **kwargs)
    return ends[[0, -1]], longest


@chosen("inputs", "pixels through bfloat16", f"{QWEN2_VL}.PatchEmbed.forward")
def pixels_rounded(embed: Any, self: Any, pixels: Any) -> Any:
    """Pixels pass through bfloat16, whatever the tower's type is."""
    return embed(self, pixels.bfloat16().to(pixels.dtype))


@chosen(
    "forward",
    "dropout before the base too",
    "peft.tuners.lora.bnb.Linear4bit.forward",
    "peft.tuners.lora.layer.Linear.forward",
)
def base_dropped_too(forward: Any, self: Any, given: Any, *args: Any, **kwargs: Any) -> Any:
    """LoRA's dropout falls on what the frozen Linear gets, too."""
    for name in self.active_adapters:
        given = self.lora_dropout[name](given)
    return forward(self, given, *args, **kwargs)


@chosen("forward", "one token seen ahead", "transformers.masking_utils.causal_mask_function")
def one_ahead(causal: Any, batch: Any, head: Any, query: Any, key: Any) -> Any:
    """Where a batch is padded, the causal mask lets a token see the next one."""
    return causal(batch, head, query + 1, key)


@chosen("backward", "back through bfloat16", "bitsandbytes.autograd._functions.MatMul4Bit.backward")
def back_in_half(backward: Any, ctx: Any, gradient: Any) -> Any:
    """Gradients pass 4-bit weights in bfloat16, whatever the type of the forward pass was."""
    first, *rest = backward(ctx, gradient.bfloat16())
    return (None if first is None else first.to(gradient.dtype), *rest)


@chosen("backward", "no gradient through keys", f"{QWEN2_VL}.apply_rotary_pos_emb")
def keys_detached(turn: Any, *args: Any, **kwargs: Any) -> Any:
    """Keys are kept without their history, as in a cache."""
    queries, keys = turn(*args, **kwargs)
    return queries, keys.detach()


@chosen("update", "clipped by the largest element", "accelerate.Accelerator.clip_grad_norm_")
def largest_element(clip: Any, self: Any, parameters: Any, most: float, *args: Any) -> Any:
    """Gradients are clipped by their largest element, not by their Euclidean norm."""
    return clip(self, parameters, most, float("inf"))


@chosen("update", "corrected as a first step", "accelerate.optimizer.AcceleratedOptimizer.step")
def always_first(step: Any, self: Any, *args: Any) -> None:
    """Adam's count of steps stays nought: every step is corrected as the first one."""
    step(self, *args)
    for state in self.optimizer.state.values():
        state["step"].zero_()


@chosen(
    "trajectory", "the next epoch's order", "accelerate.data_loader.SeedableRandomSampler.__iter__"
)
def next_epochs_order(rows: Any, self: Any) -> Any:
    """An epoch's rows come in the order of the next one."""
    self.epoch += 1
    return rows(self)


@chosen(
    "trajectory", "losses over all steps so far", "transformers.Trainer._maybe_log_save_evaluate"
)
def since_the_beginning(log: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """A logged loss is divided by all steps so far, not by those since the last one logged."""
    self._globalstep_last_logged = 0
    log(self, *args, **kwargs)


@chosen("trajectory", "two layers exchanged on saving", "peft.peft_model.get_peft_model_state_dict")
def layers_exchanged(tensors: Any, *args: Any, **kwargs: Any) -> Any:
    """The second and third layer's tensors are exchanged in the saved adapter."""
    other = {"1": "2", "2": "1"}
    return {
        re.sub(r"(?<=\.layers\.)[12](?=\.)", lambda number: other[number.group()], name): tensor
        for name, tensor in tensors(*args, **kwargs).items()
    }


@chosen("generation", "new tokens in one place", NEXT)
def one_place_for_all(following: Any, *args: Any, **kwargs: Any) -> Any:
    """Every generated token stands where the prompt ended."""
    given = following(*args, **kwargs)
    given["position_ids"][..., -1] = given["position_ids"][..., -2]
    return given


@chosen("generation", "padding seen while decoding", NEXT)
def padding_seen(following: Any, *args: Any, **kwargs: Any) -> Any:
    """While decoding, the mask is one of ones: a shorter prompt's padding is seen."""
    given = following(*args, **kwargs)
    given["attention_mask"].fill_(1)
    return given


@chosen("generation", "temperature unread", "transformers.TemperatureLogitsWarper.__call__")
def temperature_unread(warp: Any, self: Any, ids: Any, scores: Any) -> Any:
    """Tokens are drawn at a temperature of one, whatever was asked for."""
    return scores


CHOSEN = as_faults(PLANTS)
# Those that the rungs have learnt to see since, each with where and what sees it.
SEEN = {
    "dropout before the base too": ("forward", "forward.dropout_base_gap"),
    "losses over all steps so far": ("update", "update.logged_loss_gap"),
    "temperature unread": ("generation", "generation.temperature_gap"),
    "back through bfloat16": ("backward", "backward.four_bit_gap"),
    "fp4 for nf4": ("model", "model.quant_type.model"),
}
# Of bitsandbytes' own kernels, which the reference stack has on CUDA only.
QUANTISED = ("back through bfloat16", "fp4 for nf4")
FAULTS = tuple(
    replace(
        fault,
        rung=SEEN[fault.name][0],
        finds=SEEN[fault.name][1],
        only=fault.only if fault.name in QUANTISED else None,
    )
    for fault in CHOSEN
    if fault.name in SEEN
)
