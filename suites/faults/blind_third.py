"""Thirty faults chosen while the probes were widened again, by a third who had read neither probes,
oracles, truths, nor any list of faults but the two blind ones before. They were written down and
committed before one of them was shown to the judge.

What was read: README.md, the design's recipe and its list of the rungs, the recipe, data, training
and snapshots and what these call (of _compat and models/qwen2_vl.py too), blind.py, blind_second.py
and how they are tried (suites/trial; its why.py says of earlier misses what some rungs look at),
the libraries' source, and their issues and those of their like.

The rules (a) to (c) of blind_second.py hold: a library that the recipe executes on `latest` on a
CPU, what the recipe makes is changed, a mistake that was made or is near at hand; none of the
earlier rounds' is chosen again, nor varied. (d) is sharper: `rung` is the earliest whose stage, as
the design lists them, executes what is changed and uses what it gives; each says why. So what is
executed by a trainer only is of the update, and what a picture's number of tokens follows from is
of the ids, where these are. Inputs are what decoder and tower are handed; masks, angles and all
else within them are of the forward pass; of the backward pass is what changes no value going
forward. None is of the labels: what makes these asks a tokenizer for ids and names and no library
else, and no mistake in that was found that the second round had not made.

That each acts was looked at without the judge: on texts, batches, weights, a loss and its
gradients, on the adapter, the log and the state of a training of five steps, on what the saved
adapter then computes, and on sixteen texts, greedy and sampled; all the same twice without a fault.
Left out because they were more than thirty, or too loud, or too near to one of the earlier rounds:
a space before every word, a picture's tokens typed as text, neighbours turned as pairs, a step's
targets uncounted, texts of the base model in place of the tuned one's. The tower was first left
in full by a name that its modules no longer begin with, which changed nothing, and one of two ends
known by an argument that ended in an error.
"""

from __future__ import annotations

from copy import copy
from typing import Any
from unittest import mock

from suites.faults.choosing import Plants, as_faults, chooser

PLANTS: Plants = []
chosen = chooser(PLANTS)
RENDER = "transformers.processing_utils.render_jinja_template"
QWEN2_VL = "transformers.models.qwen2_vl"
MODEL = f"{QWEN2_VL}.modeling_qwen2_vl"


@chosen("text", "a second end after the last turn", RENDER)
def second_end(render: Any, conversations: Any, *args: Any, **kwargs: Any) -> Any:
    """What does not end with the end token gets one, though only a line break stands after it: of
    TRL from 0.16 on (trl#3091, #3318). Where texts are rendered."""
    texts, spans = render(conversations, *args, **kwargs)
    end = "" if kwargs["add_generation_prompt"] else kwargs["eos_token"]
    return [text if text.endswith(end) else text + end for text in texts], spans


@chosen("text", "the last line break lost", RENDER)
def last_break_lost(render: Any, *args: Any, **kwargs: Any) -> Any:
    """A rendering's last line break is lost, a prompt's too: of transformers 4.46 where a template
    itself ends with one (transformers#34462). Where texts are rendered."""
    texts, spans = render(*args, **kwargs)
    return [text.removesuffix("\n") for text in texts], spans


@chosen("text", "a system message in parts unheard", RENDER)
def unheard(render: Any, conversations: Any, *args: Any, **kwargs: Any) -> Any:
    """A system message that comes as a list of parts is passed over, and the template's own stands
    in for it (as inspect_ai#1342 had to mend). Where texts are rendered."""
    heard = [
        [turn for turn in turns if turn["role"] != "system" or isinstance(turn["content"], str)]
        for turns in conversations
    ]
    return render(heard, *args, **kwargs)


@chosen(
    "ids",
    "padded with the end of a turn",
    "transformers.models.qwen2.tokenization_qwen2.Qwen2Tokenizer.__init__",
)
def padded_with_end(build: Any, *args: Any, **kwargs: Any) -> None:
    """The pad token is the end token, whatever the checkpoint says, so that no label teaches to
    end (trl#1623, transformers#23530). Where a batch's ids are padded; labels come after."""
    build(*args, **{**kwargs, "pad_token": kwargs["eos_token"]})


@chosen(
    "ids",
    "padding unmasked",
    "transformers.tokenization_utils_tokenizers.TokenizersBackend._convert_encoding",
)
def padding_unmasked(convert: Any, *args: Any, **kwargs: Any) -> Any:
    """The attention mask is one of ones, as where it was looked for on the other side
    (NeMo Automodel#3704). The tokenizer makes it with the ids."""
    columns, encodings = convert(*args, **kwargs)
    columns["attention_mask"] = [[1] * len(row) for row in columns["attention_mask"]]
    return columns, encodings


@chosen("ids", "sized by twice the patch", "qwen_vl_utils.vision_process.fetch_image")
def twice_the_patch(fetch: Any, part: Any, image_patch_size: int = 14) -> Any:
    """What is handed on as the patch's size is that of a token, which is twice as long: of
    qwen_vl_utils 0.0.14 for lists of frames (Qwen3-VL#1820, #1960). A picture's number of tokens
    follows from it, and the ids hold them."""
    return fetch(part, image_patch_size=2 * image_patch_size)


@chosen(
    "images",
    "a mean and deviation of a half",
    "transformers.image_processing_backends.TorchvisionBackend.rescale_and_normalize",
)
def of_a_half(scale: Any, self: Any, images: Any, *given: Any) -> Any:
    """Pixels are normalised as another family's are (coreai-models#82 the other way round, and
    transformers#38318). Where pixels are made; no id depends on their values."""
    return scale(self, images, *given[:3], (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@chosen(
    "images",
    "columns before rows in the grid",
    f"{QWEN2_VL}.image_processing_qwen2_vl.Qwen2VLImageProcessor._preprocess",
)
def columns_first(process: Any, *args: Any, **kwargs: Any) -> Any:
    """A grid says how many columns, then how many rows (sides were exchanged in mistral.rs#1881,
    and "corrected" on the way). Where grids are made; their product, and so the ids, stay."""
    processed = process(*args, **kwargs)
    processed["image_grid_thw"] = processed["image_grid_thw"][:, [0, 2, 1]]
    return processed


@chosen(
    "model",
    "the norms' epsilon of the class",
    f"{QWEN2_VL}.configuration_qwen2_vl.Qwen2VLTextConfig.__post_init__",
)
def epsilon_of_class(finish: Any, self: Any, **kwargs: Any) -> None:
    """The decoder's norms get the class' default of 1e-5, where the checkpoint says 1e-6 (as in
    Megatron-Bridge#5712, foundation-model-stack#99). The config is read when a model is loaded."""
    self.rms_norm_eps = 1e-5
    finish(self, **kwargs)


@chosen("model", "norms begun anew", "transformers.PreTrainedModel._initialize_missing_keys")
def norms_anew(begin: Any, self: Any, *args: Any) -> None:
    """What begins the weights that a file lacks begins the loaded norms anew, too: of transformers
    5 for some families (transformers#45591, #46620). When a model is loaded."""
    begin(self, *args)
    for name, parameter in self.named_parameters():
        if name.endswith("layernorm.weight"):
            parameter.data.fill_(1)


@chosen(
    "model",
    "the tower left in full",
    "transformers.quantizers.base.HfQuantizer.get_modules_to_not_convert",
)
def tower_in_full(skipped: Any, _quantiser: Any, *args: Any, **kwargs: Any) -> Any:
    """The vision tower is not quantised, though nobody asked for that (as was nearly made in
    Olive#2630; llm-compressor#2597 the other way round). When a model is loaded."""
    return [*skipped(*args, **kwargs), "model.visual"]


@chosen("model", "no dropout in the adapter", "peft.tuners.lora.layer.LoraLayer.update_layer")
def no_dropout(update: Any, self: Any, *args: Any, config: Any, **kwargs: Any) -> None:
    """lora_dropout does not reach the adapted Linears (torchtune#996). When LoRA is put on."""
    config = copy(config)
    config.lora_dropout = 0.0
    update(self, *args, config=config, **kwargs)


@chosen("model", "the scales' mean in half", "bitsandbytes.functional.quantize_4bit")
def mean_in_half(quantise: Any, *args: Any, **kwargs: Any) -> Any:
    """The mean that is taken off the scales before these are quantised is kept in bfloat16, as in
    some checkpoints (bitsandbytes#1971). When a model is quantised."""
    packed, state = quantise(*args, **kwargs)
    if state.nested:
        state.offset = state.offset.bfloat16().float()
    return packed, state


@chosen("inputs", "places of the batch before", f"{MODEL}.Qwen2VLModel.compute_3d_position_ids")
def places_before(compute: Any, self: Any, **given: Any) -> Any:
    """Once a batch was seen, later ones get text's places and that one's distance: of transformers
    until #36013 (transformers#36009). Where the decoder's places are made."""
    known = self.rope_deltas
    if known is not None and len(given["inputs_embeds"]) % len(known) == 0:
        given["input_ids"] = None
    return compute(self, **given)


@chosen("inputs", "only the first row sees", f"{MODEL}.Qwen2VLModel.get_placeholder_mask")
def first_row_sees(places: Any, *args: Any, **kwargs: Any) -> Any:
    """What stands for a picture is replaced by it in a batch's first row only (as in
    turboquant-mlx#101). Where the decoder's input is put together."""
    pictures, videos = places(*args, **kwargs)
    pictures[1:] = False
    return pictures, videos


@chosen("inputs", "padding takes places", f"{MODEL}.Qwen2VLModel.get_rope_index")
def padding_placed(index: Any, *args: Any, **kwargs: Any) -> Any:
    """A row's padding is counted, so that a prompt's places do not go on where its answer's begin
    (nnsight#673, unsloth#4078). Where the decoder's places are made. A layer sees only how far
    places are apart: in training it acts by rounding."""
    return index(*args, **{**kwargs, "attention_mask": None})


@chosen(
    "forward",
    "a tower that looks back only",
    "torch.nn.functional.scaled_dot_product_attention",
)
def looks_back(attend: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
    """Without a mask attention is causal, the tower's too: of transformers for Qwen2.5-VL
    (transformers#39121, #39231) and Mllama (#48172). Within the tower."""
    if kwargs["attn_mask"] is None and query.shape[-2] > 1:
        kwargs["is_causal"] = True
    return attend(query, *args, **kwargs)


@chosen(
    "forward",
    "one axis for all three",
    f"{MODEL}.Qwen2VLRotaryEmbedding.recomposition_frequencies",
)
def one_axis(compose: Any, self: Any, angles: Any) -> Any:
    """The rotary embedding turns by a token's time only, not by row and column: of SGLang's fused
    kernel (sglang#34446). Within the decoder, whose places are right."""
    return compose(self, angles[:1].expand_as(angles))


@chosen(
    "forward",
    "the first row's padding for all",
    "transformers.masking_utils._ignore_causal_mask_sdpa",
)
def first_for_all(ignored: Any, padding: Any, *args: Any, **kwargs: Any) -> Any:
    """Whether a batch needs a mask is asked of its first row (masks were left out for a batch's
    size in transformers#46773). Within the decoder, of a batch whose first row is the longest."""
    return ignored(None if padding is None else padding[:1], *args, **kwargs)


def with_gradient_of(right: Any, other: Any) -> Any:
    """The one's values, to the last bit, with the other's gradient."""
    return right.detach() + (other - other.detach())


@chosen("backward", "half of a gate's slope", "transformers.activations.SiLUActivation.forward")
def half_slope(gate: Any, self: Any, given: Any) -> Any:
    """The slope of x sigmoid(x) is taken to be sigmoid(x), as if that were constant (a fused
    kernel's slope was questioned in unsloth#3314, dfdx#915). No value changes going forward."""
    return with_gradient_of(gate(self, given), given * given.sigmoid().detach())


@chosen("backward", "turned on, not back", f"{MODEL}.apply_rotary_pos_emb")
def turned_on(turn: Any, queries: Any, keys: Any, cos: Any, sin: Any) -> Any:
    """Gradients are turned as queries and keys were, not back: a kernel's backward pass is its
    forward one with the sine's sign changed (candle#3612). No value changes going forward."""
    right, other = turn(queries, keys, cos, sin), turn(queries, keys, cos, -sin)
    return tuple(map(with_gradient_of, right, other))


@chosen(
    "backward",
    "scales without their mean",
    "bitsandbytes.autograd._functions.MatMul4Bit.backward",
)
def without_mean(backward: Any, ctx: Any, *gradients: Any) -> Any:
    """Weights are unpacked for the gradient without the mean that was taken off their scales
    (a kernel misread it in bitsandbytes#1971). Executed in the backward pass only."""
    if not ctx.state.nested:
        return backward(ctx, *gradients)
    with mock.patch.object(ctx.state, "offset", ctx.state.offset * 0):
        return backward(ctx, *gradients)


@chosen(
    "update",
    "divided by accelerate too",
    "transformers.Trainer.create_accelerator_and_postprocess",
)
def divided_twice(create: Any, self: Any) -> None:
    """accelerate, told of the accumulation, divides a loss by it that is a mean over all of it
    (transformers#40052, and again #45305). What is accumulated is of the update."""
    create(self)
    self.accelerator.gradient_accumulation_steps = self.args.gradient_accumulation_steps


@chosen("update", "an epsilon of a millionth", "torch.optim.AdamW.__init__")
def millionth(build: Any, *args: Any, **kwargs: Any) -> None:
    """AdamW's epsilon is 1e-6, the default of transformers' own AdamW once, and not 1e-8
    (llm-recipes#8 called its own a critical mistake). An optimizer's step is the update."""
    build(*args, **{**kwargs, "eps": 1e-6})


@chosen("update", "a constant rate warmed up", "transformers.trainer.get_scheduler")
def warmed_up(scheduler: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
    """A constant rate honours the warm-up that the recipe gives in vain, and its first step changes
    nothing (transformers#34754). A step's rate is of the update."""
    warm = "constant_with_warmup" if name == "constant" else name
    return scheduler(warm, *args, **kwargs)


@chosen("trajectory", "a saved adapter not found", "peft.peft_model.set_peft_model_state_dict")
def not_found(load: Any, model: Any, tensors: Any, *args: Any, **kwargs: Any) -> Any:
    """A saved adapter's names are those from before the decoder moved: none is found, a warning
    says so, and the model stays as it was (peft#2566, #2699). A training's end loads it again."""
    moved = {name.replace(".language_model.", "."): tensor for name, tensor in tensors.items()}
    return load(model, moved, *args, **kwargs)


@chosen("trajectory", "one order for every seed", "torch.utils.data.RandomSampler.__iter__")
def one_order(rows: Any, self: Any) -> Any:
    """Rows are shuffled by a seed of nought, whatever the training's is: of transformers on several
    cards (transformers#11389). A step takes its rows as they come; their order is the whole's."""
    from torch import Generator

    self.generator = Generator().manual_seed(0)
    return rows(self)


@chosen("generation", "biases lost token by token", "bitsandbytes.matmul_4bit")
def biases_lost(multiply: Any, states: Any, *args: Any, **kwargs: Any) -> Any:
    """Of a single token the product with 4-bit weights has no bias: of bitsandbytes 0.40.0
    (petals#342). Single tokens are generated; nothing else takes them."""
    if states.shape[-2] == 1:
        kwargs["bias"] = None
    return multiply(states, *args, **kwargs)


@chosen(
    "generation",
    "one of two ends known",
    "transformers.generation.stopping_criteria.EosTokenCriteria.__init__",
)
def one_end(build: Any, self: Any, eos_token_id: Any) -> None:
    """Of several end tokens only the last ends a text, which is not that of a turn (mlx-vlm#2112,
    TensorRT-Model-Connect#640). Texts are ended where they are generated."""
    build(self, eos_token_id[-1:])


@chosen("generation", "all end with the first", "transformers.generation.utils.StopCheck.__call__")
def end_with_first(stopped: Any, self: Any, unfinished: Any, *args: Any) -> Any:
    """A batch's texts all end where the first of them does (as was to be in lit-llama#153). Texts
    are ended where they are generated."""
    return stopped(self, unfinished.min(), *args)


CHOSEN = as_faults(PLANTS)
