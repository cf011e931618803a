"""Changes between releases, for a trial of forty: eleven so far, written down before one was tried.

Chosen for harness/ of fe8c84a from the libraries' source, by one who had read neither the register
nor probes nor truths, but both earlier lists and why their misses were missed. A training of the
recipe, its generation and its reload were traced line by line, on `reference` (not quantised) and
on `latest` (4 bit); releases that lie next to each other among those at hand (some patch releases
were not) were compared function by function, and where a traced line of the same function begins
as a changed one does it could be chosen; the releases between were not traced. So a line that
neither end of the history executes was not seen. transformers after 5.2, and trl, qwen-vl-utils,
datasets, torchvision, Pillow and the later releases of peft, accelerate and bitsandbytes were not
gone through. That values differ was read, not measured.

`rung` follows blind_third.py's rule; signatures, defaults and warnings are of the interface. The
order is that of a shuffle with the seed 2026. Two were tried by hand, rung 1 only, harness of
fe8c84a: the first is found there, by a change that the register knows. The second is not: over
`reference` its later side cannot be imported, and over releases.OLDER with trl 0.19.1 three known
warnings differ and no default. The other bases were not tried; nothing is in the trial's record.
"""

from __future__ import annotations

from suites.faults.releases import Change

REFERENCE = "reference"
FROZEN = "fe8c84a"

CHANGES: tuple[Change, ...] = (
    Change(
        "the positions' sections are a known key",
        "transformers",
        "4.45.1",
        "4.45.2",
        "interface",
        "rope_config_validation(self) → rope_config_validation(self, "
        'ignore_keys={"mrope_section"})',
        "huggingface/transformers src/transformers/models/qwen2_vl/configuration_qwen2_vl.py",
        "before, a warning of unrecognized keys at every load of the config",
        base=REFERENCE,
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
        "huggingface/transformers src/transformers/generation/configuration_utils.py",
        "a default of the generation config",
        base=REFERENCE,
        frozen=FROZEN,
    ),
    Change(
        "the tower is checkpointed, too",
        "transformers",
        "4.46.3",
        "4.47.1",
        "backward",
        "hidden_states = blk(hidden_states, cu_seqlens=cu_seqlens, "
        "rotary_pos_emb=rotary_pos_emb) → self._gradient_checkpointing_func(",
        "huggingface/transformers src/transformers/models/qwen2_vl/modeling_qwen2_vl.py",
        "a block's inner values are computed again where a gradient passes it; none going forward",
        base=REFERENCE,
        frozen=FROZEN,
    ),
    Change(
        "the loss is divided before the backward pass",
        "transformers",
        "4.47.1",
        "4.48.3",
        "update",
        "return loss.detach() / self.args.gradient_accumulation_steps → loss = loss / "
        "self.args.gradient_accumulation_steps",
        "huggingface/transformers src/transformers/trainer.py",
        "before, what is logged was not divided where the targets were counted",
        base=REFERENCE,
        frozen=FROZEN,
    ),
    Change(
        "a config's dtype has another key",
        "transformers",
        "4.55.4",
        "4.56.0",
        "interface",
        "self.dict_torch_dtype_to_str(output) → self.dict_dtype_to_str(output)",
        "huggingface/transformers src/transformers/generation/configuration_utils.py",
        "torch_dtype is dtype, in the call that loads a model and in the files",
        base=REFERENCE,
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
        "huggingface/transformers src/transformers/models/qwen2_vl/image_processing_qwen2_vl.py",
        "a default of the image processor has other keys, and so has the file it is saved in",
        base=REFERENCE,
        frozen=FROZEN,
    ),
    Change(
        "a tower's mask is made once for all its blocks",
        "transformers",
        "4.53.0",
        "4.53.1",
        "cost",
        "attention_mask = torch.full( in every block → attention_mask = "
        "self._prepare_attention_mask(hidden_states, cu_seqlens)",
        "huggingface/transformers src/transformers/models/qwen2_vl/modeling_qwen2_vl.py",
        "the same mask, filled once a forward pass of the tower; no value differs",
        base=REFERENCE,
        frozen=FROZEN,
    ),
    Change(
        "what is left out of the adapter, and its bias",
        "peft",
        "0.13.2",
        "0.14.0",
        "interface",
        "self.exclude_modules, self.lora_bias: new",
        "huggingface/peft src/peft/tuners/lora/config.py",
        "two defaults more of LoraConfig, in adapter_config.json",
        base=REFERENCE,
        frozen=FROZEN,
    ),
    Change(
        "a run has no name by default",
        "transformers",
        "4.54.1",
        "4.55.0",
        "interface",
        "if self.run_name is None: self.run_name = self.output_dir → gone",
        "huggingface/transformers src/transformers/training_args.py",
        "a default of the training's arguments, in the file they are saved in",
        base=REFERENCE,
        frozen=FROZEN,
    ),
    Change(
        "the last step alone does not save where epochs do",
        "transformers",
        "4.49.0",
        "4.50.0",
        "trajectory",
        "if args.save_strategy not in [SaveStrategy.NO, SaveStrategy.BEST]: → if "
        "args.save_strategy == SaveStrategy.STEPS:",
        "huggingface/transformers src/transformers/trainer_callback.py",
        "before, the last checkpoint of a training was written at its step and at its epoch's end",
        base=REFERENCE,
        frozen=FROZEN,
    ),
    Change(
        "callbacks are handed a processing class",
        "transformers",
        "4.45.2",
        "4.46.3",
        "interface",
        "self.tokenizer = tokenizer → self.processing_class = processing_class",
        "huggingface/transformers src/transformers/trainer_callback.py",
        "the trainer's argument and what every callback gets have another name",
        base=REFERENCE,
        frozen=FROZEN,
    ),
)
