"""Forty changes between releases, for a trial: none of them was tried before it was written down.

Eleven were chosen when harness/ was that of fe8c84a and twenty-nine for feb68d7, which tried all
of them; each time from the libraries' source, by one who had read neither the register nor probes
nor truths, but the earlier lists. `CHANGES` holds all forty, releases_fair_more.py half of them.

The rules: both releases lie next to each other among those that can be installed (of the eleven,
some have patch releases between them), and a stack of `base` resolves with either, its direct pins
kept and all else free; the changed line stands on a path that a training of the recipe, its
generation or its reload executes on a CPU. Both sources were read, without comments and
annotations. That values differ was read, not measured, but for Pillow's, where both releases
resized pictures. Left out: torchvision, whose releases want one of torch each; datasets, of which
a list of numbers is asked and no more; tokenizers, of which eleven releases gave the same ids and
texts of the stand-in's vocabulary. Beside the recipe, data, training and snapshots, _compat and
models/qwen2_vl.py were read, whose comments name some changes of the libraries.

`rung` follows blind_third.py's rule; signatures, defaults and warnings are of the interface, what
only a trainer executes is of the update. The order is that of a shuffle with the seed 2026.
"""

from __future__ import annotations

from suites.faults import releases_fair_more as more
from suites.faults.releases import SFT, TRAINER, Change
from suites.faults.releases_fair_more import (
    CONFIG,
    FROZEN,
    QWEN,
    REFERENCE,
    TRANSFORMERS,
)

CHANGES: tuple[Change, ...] = (
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
        "a loss by default is warned of",
        "trl",
        "1.5.1",
        "1.6.0",
        "interface",
        'loss_type: str = "nll" → str | None = None; if self.loss_type is None: '
        'warnings.warn("The default `loss_type` will change …"): new',
        CONFIG,
        "a warning at every SFTConfig that names no loss",
        base="transformers-5.8.1",
        frozen=FROZEN,
    ),
    Change(
        "a generated token stands behind its row's padding, too",
        "transformers",
        "4.56.2",
        "4.57.1",
        "generation",
        'position_ids = model_inputs["position_ids"][None, ...] → '
        "torch.arange(seq_length, device=device) …; delta = cache_position[0] + "
        "self.model.rope_deltas",
        QWEN + "modeling_qwen2_vl.py",
        "before, each generated token of a row padded on the left stood as many positions"
        " too early as the row has padding",
        base="transformers-4.57.6",
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
        frozen=FROZEN,
    ),
    Change(
        "padding stands at 0",
        "transformers",
        "5.1.0",
        "5.2.0",
        "inputs",
        "position_ids = torch.ones(3, input_ids.shape[0], input_ids.shape[1], …) → torch.zeros(…)",
        QWEN + "modeling_qwen2_vl.py",
        "positions of padded tokens, which no mask lets through",
        base="transformers-5.3.0",
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
        frozen=FROZEN,
    ),
    Change(
        "tokens seen are counted in the log",
        "trl",
        "0.15.2",
        "0.16.0",
        "update",
        'self._metrics[mode]["num_tokens"] = [self._total_train_tokens]: new',
        SFT,
        "an entry more of every step that is logged",
        base="transformers-4.49.0",
        frozen=FROZEN,
    ),
    Change(
        "a picture's limits have no default of their own",
        "transformers",
        "4.49.0",
        "4.50.0",
        "interface",
        "min_pixels: int = 56 * 56, max_pixels: int = 28 * 28 * 1280 → size: Dict[str, "
        "int] = None, min_pixels: int = None, max_pixels: int = None",
        QWEN + "image_processing_qwen2_vl.py",
        "two defaults of the image processor, and an argument more of it and of its call",
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
        frozen=FROZEN,
    ),
    Change(
        "a model's special tokens are set to its tokenizer's",
        "transformers",
        "4.55.4",
        "4.56.0",
        "update",
        "self._align_special_tokens(), in train: new",
        TRAINER,
        "a tokenizer without a begin token takes that of the config and of the generation"
        " config away, with a warning",
        base="transformers-4.54.1",
        frozen=FROZEN,
    ),
    Change(
        "a step's loss is divided, by its targets",
        "transformers",
        "4.55.4",
        "4.56.0",
        "update",
        "loss = self.loss_function(logits=logits, labels=labels, "
        "vocab_size=self.config.vocab_size) → "
        "vocab_size=self.config.text_config.vocab_size, **kwargs)",
        QWEN + "modeling_qwen2_vl.py",
        "before, the Trainer handed over how many there are and left the division to the "
        "loss, which was not told: gradients were as many times too large as a step has "
        "micro-batches",
        base="transformers-4.54.1",
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
        frozen=FROZEN,
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
        "a picture's columns are resized before its rows",
        "pillow",
        "12.3.0",
        "13.0.0",
        "images",
        "int horizontal_first = !((imIn->ysize - ysize) > 0 && (imIn->ysize - ysize) > "
        "(imIn->xsize - xsize) * 2): new; before, the horizontal pass always came first",
        "python-pillow/Pillow src/libImaging/Resample.c",
        "a picture that loses more than twice as many rows as columns: of noise, three "
        "levels of ten differ, by up to 20",
        frozen=FROZEN,
    ),
    *more.CHANGES,
)
