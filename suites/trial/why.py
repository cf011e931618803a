"""What is known of the faults and changes that were not found at their own rung, by name.

NOTHING: what was tried changes no value that the recipe's training executes here, shown as said.
Written by hand after the trial; the figures against us count these too.
"""

from __future__ import annotations

from suites.faults.frozen import NOT_FOUND

NOTHING: dict[str, str] = {
    "blue for red": "the plant was wrong and changed nothing; below it stands as meant",
    "padded to a multiple of 64": "the plant was wrong and changed nothing; it stands as meant too",
    "checkpoints with other masks": "the plant was wrong and changed nothing, with dropout on "
    "neither; among the known ones it stands as meant (computed again with other masks)",
    "adapter saved in lower precision": "on `latest` adapters train in bfloat16 already: nothing "
    "is left to round",
    "the path is turned to RGB, not the picture": "the recipe hands over opened pictures, no path",
    "a picture in base64 is copied before its stream closes": "no picture comes in base64",
    "limits follow from the patch's size, and are held against each other": "no most is below its "
    "least",
    "a model is loaded in its checkpoint's dtype": "the recipe names the dtype",
    "pixels are cast to the model's dtype": "on a CPU pixels and model are both float32",
    "a quantised model is no longer prepared": "on a CPU norms, embedding and head are float32 "
    "with and without it; on a card they are not, and nothing here measures that",
    "a given compute dtype is kept": "the dtype that is given is that of what comes in, here and "
    "in the recipe",
    "4-bit weights are packed anew for a CPU when they infer": "4-bit models are held here as they "
    "train, where nothing is packed, as on the recipe's card",
    "a tokenizer's expression is held against Mistral's": "a checkpoint in a folder that names "
    "another type of model is left alone",
    "a batch may hold a row without a picture": "4.57.6 takes the slow processor for this family, "
    "which leaves empty lists out already",
}
DEFAULT = "rung 1 executes the recipe's calls and reads no default that the recipe does not name"
MISSED: dict[str, str] = {
    # Forty changes of the libraries.
    "a learning rate and a text field by default": DEFAULT,
    "limits of a picture are edges": DEFAULT,
    "a run has no name by default": DEFAULT,
    "a block of 4-bit weights has no size by default": DEFAULT,
    "logged every ten steps, in bfloat16": DEFAULT,
    "the tower's config has a type of its own": "no rung reads a config's own fields",
    "the tower's config says how its positions turn": "no rung reads a config's own fields",
    "what torch.compile put around a model can be taken off": "a signature of a call that the "
    "recipe makes within a library only",
    "a batch says of each token whether it is a picture's": "no rung names the tensors of a batch",
    "the entropy of what a step predicts is logged": "of a log rung 10 reads what it wants there, "
    "not what else stands in it",
    "the last step alone does not save where epochs do": "the project's training saves by its own "
    "steps",
    "a model's special tokens are set to its tokenizer's": "the base's accelerate trains nothing "
    "with transformers 4.56.0, which is what rung 10 says",
    "a step's loss is divided, by its targets": "the base's accelerate trains nothing with "
    "transformers 4.56.0, which is what rung 10 says",
    "only what a label counts is in the logged entropy": "rung 10 takes a mean over targets for "
    "right and one over tokens, and does not say which it was",
    "a 4-bit model's adapter is narrowed to bfloat16": "rung 10 trains unquantised weights on a "
    "CPU; a 4-bit model trains at rung 11, which was not measured",
    "a picture's limits have no default of their own": "rung 1 reads no default; what it does to a "
    "picture shows at rung 4",
    "tokens seen are counted in the log": "of a log rung 10 reads what it wants there, not what "
    "else stands in it",
    "what is logged of a step is its micro-batches' mean again": "rung 10 reads the loss that is "
    "logged of steps of one micro-batch each",
    "labels are moved, not the logits cut": "the same operations, and bytes are read on a GPU only",
    "only the last position's logits are made where generating begins": "rung 12 was not measured, "
    "which reads texts and no bytes",
    "a tower's mask is made once for all its blocks": "fills are no operations that are counted; "
    "before it TRL cannot be imported on that base",
    "nothing is set for compiling": "transformers 4.52.1 cannot be imported with the torch of that "
    "base, which is all that rung 1 says",
    "the tower is checkpointed, too": "the tower is frozen: no gradient passes it, and nothing of "
    "it is computed again",
    # The fourth blind round.
    "kinds as if padded right": "rung 3 holds a batch's ids and mask; which tokens are a picture's "
    "shows in their positions",
    "halved before they are quantised": "rung 6 holds weights of bfloat16, of which float16 keeps "
    "every bit but of the smallest; rung 8 also quantises float32",
    "the tower's places row by row": "rung 7 reads the decoder's positions; the tower's own show "
    "in the loss",
    "what is ignored is learnt from": "the trainer's own kernel, which no rung before 10 runs",
    "the trainer pads right": "no truth reads on which side the batches that a trainer makes are "
    "padded",
    "dropout left on": "found earlier: rung 8 asks that nothing is dropped in evaluation",
    # The third blind round.
    "the norms' epsilon of the class": "rung 6 reads what is quantised and stored, no setting of "
    "the config; rung 8's loss shows it",
    "no dropout in the adapter": "rung 6 reads the adapter's config, not the modules made of it; "
    "rung 8 looks at the masks that are drawn",
    "the first row's padding for all": "of rungs 7 to 10 no batch that is padded left has its "
    "longest row first; one padded right loses nothing with its mask",
    "one order for every seed": "rung 10 reads the order of rows",
    "biases lost token by token": "rung 12 generates with a model that is not quantised, as the "
    "recipe does: it acts where a 4-bit one generates, which is neither's",
    # The second blind round.
    "answers alone in the trainer": "rung 5 asks the recipe's collator; that the trainer gives the "
    "model something else shows where one trains, rung 10",
    "frequencies through bfloat16": "rung 6 counts and reads what is stored; angles are rung 8's",
    "rows for columns in the tower": "rung 7 reads the decoder's positions; the tower's own show "
    "in the loss",
    "another gelu": "rung 7 looks at what enters the tower and at what pictures make of each "
    "other, not at what it does inside",
    "the first token taught last": "rung 8 computes the model's loss; what the trainer makes of it "
    "shows at rung 10",
    "the head's products rounded": "the trainer's own kernel, which no rung before 10 runs",
    "gradients kept": "found a rung earlier: rung 9 sets gradients to zero by the same call",
    "the first batch dropped": "found a rung earlier, rung 10's own trainings miss their rows: the "
    "probe ends in an error",
    "alpha not written": "found earlier: rung 6 reads the adapter's config field by field",
    "pictures as text while generating": "found earlier: rung 7 asks for a prompt's positions too",
    "heads packed across groups": "found earlier: rung 8 holds decoding with a cache against none",
    "repetition punished": "greedy tokens are held with a penalty of one that is asked for; what "
    "nobody asks for shows in a comparison of texts only",
    "one LoRA tensor frozen": "rung 6 counts what trains",
    "a frozen norm trained": "rung 6 counts what trains",
    "masked targets count": "the loss itself shows it",
    "the learning rate decays": "rung 10 reads the rate off the optimizer",
    "minimum of pixels changed": "so many image tokens show at rung 3, before the pictures' own",
    "a message's limit unread": "the plant breaks rung 2's own call on the way",
    "the tower's frequencies rounded": "a comparison sees it at its own rung; the goldens' bands "
    "are wider than that rounding",
    "two layers share a B": "seen a rung earlier than thought: one matrix less trains",
    "norms in bfloat16": "at rung 6 the model is the recipe's, bfloat16 throughout: it shows only "
    "where the arithmetic is float32",
    "clipped at 1.0": "rung 10 sets its own thresholds and never reads the trainer's",
    "gradients never set to zero": "a comparison sees it at its own rung; the goldens have no "
    "truth of a second step's gradient",
    "rows never shuffled": "a comparison sees it a rung earlier; the goldens have no truth of the "
    "order of rows",
    "no end token": "of texts of 24 tokens hardly one ends by itself; longer ones were not tried",
    "the adapter is drawn after the trainer's own seed": "hidden by the change below: the trainer "
    "of 1.15.0 does not run on a CPU; and the harness seeds before it builds any trainer",
    "the loss is the whole head's again, not worked out in chunks": "rung 13 is a bare step "
    "without a trainer; the pair breaks at rung 10, where triton finds no driver (measured in two "
    "goes: rungs 2 to 11, and 13 alone)",
    "word embeddings are tied where the config does not say": "the small model's config says it, "
    "so that neither release has to guess",
    "sizes of a row of several pictures are passed over": "hidden: on 4.55.4 such a batch ends in "
    "another error, which 4.56.0 mended too and which was found at rung 8",
    "the last, shorter step of an epoch is divided by its own micro-batches": "the rows of the "
    "short training are a multiple of its steps' on purpose: none is left over",
    "an epoch has one step more where micro-batches are left over": "as above: none is left over",
    "a step's learning rate is logged, not the next one's": "rates are logged every five steps, "
    "and the warm-up of a short training is over before",
    "dropout before the base too": "no rung up to 10 trains with dropout on; rung 8 looks at an "
    "adapter's own mask",
    "back through bfloat16": "gradients are measured of models in float32 and of emulated 4-bit "
    "ones, never through bitsandbytes' own backward",
    "losses over all steps so far": "a comparison sees it at rung 10; no truth holds a log against "
    "its steps",
    "temperature unread": "a comparison sees it at its own rung; sampled texts have no truth but "
    "that they follow their seed",
    "fp4 for nf4": "rung 6 counts bytes, of which fp4 has as many; its values show in the "
    "quantised loss",
    "pictures attend to each other": "rung 7 looks at what enters the tower, not at what it does "
    "inside",
    "pixels through bfloat16": "as above: rounded inside the tower",
    "the next epoch's order": "rung 10 reads the order of rows",
    "padding seen while decoding": "rung 8 holds decoding with a cache against none",
    "several pictures of a row are not cut into tiles": "found at inputs, where 4.52.4 ends in an "
    "error; rung 4 looks at one picture a row",
}
# Of two releases: what moved for another change between them, by how its metrics begin.
OTHERS: dict[str, tuple[str, ...]] = {
    # The loss itself, which does not run on a CPU.
    "the adapter is drawn after the trainer's own seed": ("update.",),
    # A slow processor, a fast one; a rotary embedding's second buffer.
    "a batch may hold a row without a picture": ("interface.", "images.", "model."),
    "word embeddings are tied where the config does not say": ("model.buffer_bytes",),
    # A merged model's names, of the decoder that moved.
    "an epoch has one step more where micro-batches are left over": ("trajectory.merged_names",),
    # Rows without a picture.
    "sizes of a row of several pictures are passed over": ("forward.",),
}
# Of the forty that were chosen whether the register knows them or not: what shows them.
SHOWN: dict[str, tuple[str, ...]] = {
    "a loss by default is warned of": ("interface.warnings.sft_config_",),
    "a config's dtype has another key": ("interface.warnings.load_model_4bit",),
    "labels of a wrapped model are warned of": ("interface.warnings.sft_trainer_peft_config",),
    "callbacks are handed a processing class": ("interface.warnings.sft_trainer",),
    "the positions' sections are a known key": ("interface.warnings.",),
    "an adapter's config names the release that made it": ("interface.lora_fields_unprinted",),
    "what is left out of the adapter, and its bias": ("interface.lora_fields_unprinted",),
    "a picture's columns are resized before its rows": ("images.levels.", "images.pillow_gap."),
    "what is transparent is laid on white": ("images.decoder_gap.RGBA", "images.library_"),
    "padding stands at 0": ("inputs.position_tensor.",),
    "the loss is divided before the backward pass": ("update.accumulation_gap", "update.step_gap"),
    "a loss is divided once, not by accelerate again": ("update.accumulation_gap", "update.step_"),
    "a picture's limits have no default of their own": ("images.limited_grid.",),
    "attention layers have no angles of their own": ("model.buffer_bytes.",),
    "what goes into the tower requires a gradient, too": ("backward.tower_ran_backward.",),
    "a generation hands the model its positions": ("forward.cache_gap", "generation.batch_gap"),
    "a generated token stands behind its row's padding, too": (
        "forward.cache_gap",
        "generation.batch_gap",
    ),
    "the tower attends picture by picture, without a mask": ("cost.flops.",),
}
for _chosen, _why in NOT_FOUND.items():
    _kept = NOTHING if _why.startswith("it changes nothing") else MISSED
    _kept[_chosen.partition(": ")[2]] = _why
