"""Forty changes between releases, for a trial: none of them was tried before it was written down.

Eleven are of harness/ of fe8c84a and twenty-nine of feb68d7, each time from the libraries' source,
by one who had read neither the register nor probes nor truths, but the earlier lists. Those of
feb68d7 are split over this module and releases_fair_more.py: `CHANGES` holds all forty.

The rules: both releases lie next to each other among those that can be installed, and a stack of
`base` resolves with either (the direct pins of the base kept, all else free); the changed line
stands on a path that a training of the recipe, its generation or its reload executes on a CPU.
Both sources were read, comments and annotations aside, function by function. That values differ
was read, not measured, but for Pillow's, whose pictures were resized by both releases. Left out:
torchvision, whose releases want one of torch each; datasets, of which a list of numbers is asked
and no more; tokenizers, of which eleven releases gave the same ids and texts of the stand-in's.

`rung` follows blind_third.py's rule; signatures, defaults and warnings are of the interface, what
only a trainer executes is of the update. The order is that of a shuffle with the seed 2026.
"""

from __future__ import annotations

from suites.faults import releases_fair_more as more
from suites.faults.releases import BNB, FETCH, SFT, TRAINED, TRAINER, Change
from suites.faults.releases_fair_more import (
    CONFIG,
    COSTED,
    EARLIER,
    FROZEN,
    QWEN,
    REFERENCE,
    TOLD,
    TRANSFORMERS,
)

CHANGES: tuple[Change, ...] = (
    Change(
        "batches come in order by an argument, two old ones are gone",
        "transformers",
        "5.14.1",
        "5.15.0",
        "interface",
        "dataloader_in_order: bool = True, dataloader_multiprocessing_context: new; "
        "warmup_ratio, logging_dir: gone",
        TRANSFORMERS + "training_args.py",
        "what the training's arguments take, and their defaults",
        frozen=FROZEN,
    ),
    Change(
        "a loss is divided once, not by accelerate again",
        "transformers",
        "5.5.3",
        "5.5.4",
        "update",
        'grad_acc_kwargs["num_steps"] = self.args.gradient_accumulation_steps → '
        'grad_acc_kwargs["num_steps"] = 1',
        TRAINER,
        "before, Accelerator.backward divided once more what the Trainer had divided: "
        "gradients were as many times too small",
        base="transformers-5.8.1",
        rungs=TRAINED,
        frozen=FROZEN,
    ),
    Change(
        "the entropy of what a step predicts is logged",
        "trl",
        "0.21.0",
        "0.22.0",
        "update",
        "per_token_entropy = entropy_from_logits(outputs.logits); "
        'self._metrics[mode]["entropy"].append(entropy): new',
        SFT,
        "an entry more of every step that is logged, and a softmax more of all its logits",
        base="transformers-4.57.6",
        rungs=TRAINED,
        frozen=FROZEN,
    ),
    Change(
        "a block of 4-bit weights has no size by default",
        "bitsandbytes",
        "0.46.1",
        "0.47.0",
        "interface",
        "blocksize: int = 64 → blocksize: Optional[int] = None, 64 if not HIP_ENVIRONMENT else 128",
        f"{BNB}/nn/modules.py",
        "a default of Params4bit; 64 all the same on a CPU",
        base="transformers-4.54.1",
        frozen=FROZEN,
    ),
    Change(
        "a learning rate and a text field by default",
        "trl",
        "0.11.4",
        "0.12.0",
        "interface",
        'dataset_text_field: Optional[str] = None → str = "text"; learning_rate: float = '
        "2.0e-5: new",
        CONFIG,
        "two defaults of SFTConfig",
        base="transformers-4.46.3",
        frozen=FROZEN,
    ),
    Change(
        "a patch's size is an argument",
        "qwen-vl-utils",
        "0.0.11",
        "0.0.13",
        "interface",
        "process_vision_info(conversations, return_video_kwargs=False) → …, "
        "return_video_metadata=False, image_patch_size=14); size_factor: int = "
        "IMAGE_FACTOR → image_patch_size: int = 14",
        FETCH,
        "signatures of what fetches a conversation's pictures, and defaults",
        frozen=FROZEN,
    ),
    Change(
        "a config's dtype has another key",
        "transformers",
        "4.55.4",
        "4.56.0",
        "interface",
        "self.dict_torch_dtype_to_str(output) → self.dict_dtype_to_str(output)",
        TRANSFORMERS + "generation/configuration_utils.py",
        "torch_dtype is dtype, in the call that loads a model and in the files",
        base=REFERENCE,
        frozen=EARLIER,
    ),
    Change(
        "the tower's config says how its positions turn",
        "transformers",
        "5.16.1",
        "5.17.0",
        "interface",
        'default_rope_type = "axial", rope_parameters: … = None: new in Qwen2VLVisionConfig',
        QWEN + "configuration_qwen2_vl.py",
        "a key more of the loaded config, from which the tower takes its base",
        frozen=FROZEN,
    ),
    Change(
        "labels of a wrapped model are warned of",
        "transformers",
        "4.48.3",
        "4.49.0",
        "interface",
        "if _is_peft_model(self.model) and self.args.label_names is None: "
        'logger.warning("No label_names provided for model class …"): new',
        TRAINER,
        "a warning at every trainer of an adapter",
        base="transformers-4.49.0",
        frozen=FROZEN,
    ),
    Change(
        "nothing is set for compiling",
        "transformers",
        "4.51.3",
        "4.52.1",
        "interface",
        'self.compile_config = kwargs.pop("compile_config", CompileConfig()) → '
        'self.compile_config = kwargs.pop("compile_config", None)',
        TRANSFORMERS + "generation/configuration_utils.py",
        "a default of the generation config",
        base=REFERENCE,
        frozen=EARLIER,
    ),
    Change(
        "the tower attends picture by picture, without a mask",
        "transformers",
        "4.53.3",
        "4.54.0",
        "cost",
        "attention_mask = torch.full([1, 1, seq_length, seq_length], …) → "
        "torch.split(tensor, lengths.tolist(), dim=2), attention_mask=None",
        QWEN + "modeling_qwen2_vl.py",
        "no square of all pictures' patches; the same sums, rounded otherwise",
        base="transformers-4.54.1",
        rungs=COSTED,
        frozen=FROZEN,
    ),
    Change(
        "a step's loss is divided by its micro-batches again",
        "transformers",
        "4.55.4",
        "4.56.0",
        "update",
        "accepts_loss_kwargs = False: new in Qwen2VLModel and above its head",
        QWEN + "modeling_qwen2_vl.py",
        "before, forward took **kwargs and passed none of them to the loss, so the "
        "Trainer left the division to it: gradients were as many times too large",
        base="transformers-4.54.1",
        rungs=TRAINED,
        frozen=FROZEN,
    ),
    Change(
        "a generation hands the model its positions",
        "transformers",
        "4.53.3",
        "4.54.0",
        "generation",
        'model_inputs["position_ids"] = None → torch.cat([text_positions, '
        "vision_positions], dim=0)",
        QWEN + "modeling_qwen2_vl.py",
        "four axes of positions, made before the forward pass; before, the model counted "
        "them itself",
        base="transformers-4.54.1",
        rungs=TOLD,
        frozen=FROZEN,
    ),
    Change(
        "limits of a picture are edges",
        "transformers",
        "4.48.3",
        "4.49.0",
        "interface",
        'self.size = {"min_pixels": min_pixels, "max_pixels": max_pixels} → self.size = '
        '{"shortest_edge": min_pixels, "longest_edge": max_pixels}',
        QWEN + "image_processing_qwen2_vl.py",
        "a default of the image processor has other keys, and so has the file it is saved in",
        base=REFERENCE,
        frozen=EARLIER,
    ),
    Change(
        "the tower's config has a type of its own",
        "transformers",
        "5.5.4",
        "5.6.0",
        "interface",
        'model_type = "qwen2_vl" → model_type = "qwen2_vl_vision"',
        QWEN + "configuration_qwen2_vl.py",
        "in the config and in the files it is saved in",
        base="transformers-5.8.1",
        frozen=FROZEN,
    ),
    Change(
        "what is logged of a step is its micro-batches' mean again",
        "transformers",
        "4.46.1",
        "4.46.2",
        "update",
        "loss *= self.args.gradient_accumulation_steps, return loss.detach() / "
        "self.args.gradient_accumulation_steps → the product gone, divided if "
        "num_items_in_batch is None",
        TRAINER,
        "before, a logged loss was as many times too large as a step has micro-batches",
        base="transformers-4.46.3",
        rungs=TRAINED,
        frozen=FROZEN,
    ),
    Change(
        "a run has no name by default",
        "transformers",
        "4.54.1",
        "4.55.0",
        "interface",
        "if self.run_name is None: self.run_name = self.output_dir → gone",
        TRANSFORMERS + "training_args.py",
        "a default of the training's arguments, in the file they are saved in",
        base=REFERENCE,
        frozen=EARLIER,
    ),
    Change(
        "a number of steps is given without a warning",
        "transformers",
        "4.46.3",
        "4.47.0",
        "interface",
        'logger.warning("max_steps is given, it will override any value given in '
        'num_train_epochs") → logger.info(…)',
        TRAINER,
        "a warning at every trainer that is told its steps",
        base="transformers-4.47.1",
        frozen=FROZEN,
    ),
    Change(
        "what torch.compile put around a model can be taken off",
        "accelerate",
        "1.2.1",
        "1.3.0",
        "interface",
        "def unwrap_model(self, model, keep_fp32_wrapper: bool = True) → …, "
        "keep_torch_compile: bool = True)",
        "huggingface/accelerate src/accelerate/accelerator.py",
        "what the Trainer unwraps its model with takes an argument more",
        base="transformers-4.49.0",
        frozen=FROZEN,
    ),
    Change(
        "callbacks are handed a processing class",
        "transformers",
        "4.45.2",
        "4.46.3",
        "interface",
        "self.tokenizer = tokenizer → self.processing_class = processing_class",
        TRANSFORMERS + "trainer_callback.py",
        "the trainer's argument and what every callback gets have another name",
        base=REFERENCE,
        frozen=EARLIER,
    ),
    *more.CHANGES,
)
