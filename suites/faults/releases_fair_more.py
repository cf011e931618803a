"""The other half of releases_fair.py, which says what they are and how they were chosen."""

from __future__ import annotations

from suites.faults.releases import BNB, FETCH, SFT, TRAINED, TRAINER, Change

TRANSFORMERS = "huggingface/transformers src/transformers/"
QWEN = TRANSFORMERS + "models/qwen2_vl/"
PEFT = "huggingface/peft src/peft/"
CONFIG = SFT.replace("sft_trainer.py", "sft_config.py")
REFERENCE = "reference"
# What the eleven were chosen for, and the others.
EARLIER, FROZEN = "fe8c84a", "feb68d7"
COSTED = f"{TRAINED},13"
TOLD = "1-12"
# transformers 5.2.0 trains nothing of this project's.
UNTRAINED = "1-9"

CHANGES: tuple[Change, ...] = (
    Change(
        "labels are moved, not the logits cut",
        "transformers",
        "4.51.3",
        "4.52.1",
        "cost",
        "shift_logits = logits[..., :-1, :].contiguous() → self.loss_function(…): labels "
        "= nn.functional.pad(labels, (0, 1), value=ignore_index)",
        QWEN + "modeling_qwen2_vl.py",
        "a copy of all logits less, and of their gradient",
        base="transformers-4.52.4",
        rungs=COSTED,
        frozen=FROZEN,
    ),
    Change(
        "what goes into the tower requires a gradient, too",
        "transformers",
        "4.57.6",
        "5.0.0",
        "backward",
        "self._require_grads_hook = self.get_input_embeddings().register_forward_hook(…) "
        "→ for module in self.modules(): … hooks.append(…)",
        TRANSFORMERS + "modeling_utils.py",
        "the frozen tower is gone through backwards, for nothing",
        base="transformers-5.0.0",
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
        "what is transparent is laid on white",
        "qwen-vl-utils",
        "0.0.8",
        "0.0.9",
        "images",
        'image = image_obj.convert("RGB") → image = to_rgb(image)',
        FETCH,
        "before, a transparent pixel showed the colour that it hides",
        base="transformers-4.49.0",
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
        "the last step alone does not save where epochs do",
        "transformers",
        "4.49.0",
        "4.50.0",
        "trajectory",
        "if args.save_strategy not in [SaveStrategy.NO, SaveStrategy.BEST]: → if "
        "args.save_strategy == SaveStrategy.STEPS:",
        TRANSFORMERS + "trainer_callback.py",
        "before, the last checkpoint of a training was written at its step and at its epoch's end",
        base=REFERENCE,
        frozen=EARLIER,
    ),
    Change(
        "the loss is divided before the backward pass",
        "transformers",
        "4.47.1",
        "4.48.3",
        "update",
        "return loss.detach() / self.args.gradient_accumulation_steps → loss = loss / "
        "self.args.gradient_accumulation_steps",
        TRAINER,
        "before, what is logged was not divided where the targets were counted",
        base=REFERENCE,
        frozen=EARLIER,
    ),
    Change(
        "the tower is checkpointed, too",
        "transformers",
        "4.46.3",
        "4.47.1",
        "backward",
        "hidden_states = blk(hidden_states, cu_seqlens=cu_seqlens, "
        "rotary_pos_emb=rotary_pos_emb) → self._gradient_checkpointing_func(",
        QWEN + "modeling_qwen2_vl.py",
        "a block's inner values are computed again where a gradient passes it; none going forward",
        base=REFERENCE,
        frozen=EARLIER,
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
        rungs=TRAINED,
        frozen=FROZEN,
    ),
    Change(
        "the positions' sections are a known key",
        "transformers",
        "4.45.1",
        "4.45.2",
        "interface",
        "rope_config_validation(self) → rope_config_validation(self, "
        'ignore_keys={"mrope_section"})',
        QWEN + "configuration_qwen2_vl.py",
        "before, a warning of unrecognized keys at every load of the config",
        base=REFERENCE,
        frozen=EARLIER,
    ),
    Change(
        "a batch says of each token whether it is a picture's",
        "transformers",
        "5.2.0",
        "5.3.0",
        "inputs",
        '"return_mm_token_type_ids": False → True; can_compute_mrope = input_ids is not '
        "None and mm_token_type_ids is not None and …",
        QWEN + "processing_qwen2_vl.py",
        "a key more that the processor makes and the model takes its positions from",
        base="transformers-5.3.0",
        rungs=UNTRAINED,
        frozen=FROZEN,
    ),
    Change(
        "logged every ten steps, in bfloat16",
        "trl",
        "0.18.2",
        "0.19.0",
        "interface",
        "logging_steps: float = 10, bf16: Optional[bool] = None (then not fp16): new",
        CONFIG,
        "defaults of SFTConfig; before, transformers' 500 and False",
        base="transformers-4.52.4",
        frozen=FROZEN,
    ),
    Change(
        "an adapter's config names the release that made it",
        "peft",
        "0.17.1",
        "0.18.0",
        "interface",
        "peft_version: Optional[str] = field(default=None, …); self.peft_version = "
        "self._get_peft_version(): new",
        PEFT + "config.py",
        "a key more of every config and of adapter_config.json",
        base="transformers-4.57.6",
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
        "a tower's mask is made once for all its blocks",
        "transformers",
        "4.53.0",
        "4.53.1",
        "cost",
        "attention_mask = torch.full( in every block → attention_mask = "
        "self._prepare_attention_mask(hidden_states, cu_seqlens=cu_seqlens)",
        QWEN + "modeling_qwen2_vl.py",
        "the same mask, filled once a forward pass of the tower; no value differs",
        base=REFERENCE,
        frozen=EARLIER,
    ),
    Change(
        "attention layers have no angles of their own",
        "transformers",
        "4.57.6",
        "5.0.0",
        "model",
        "self.rotary_emb = Qwen2VLRotaryEmbedding(config=config), in Qwen2VLAttention → gone",
        QWEN + "modeling_qwen2_vl.py",
        "a module and its buffer less in every layer of the decoder; the model's own stays",
        base="transformers-5.0.0",
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
        "only the last position's logits are made where generating begins",
        "transformers",
        "4.57.6",
        "5.0.0",
        "generation",
        "logits = self.lm_head(hidden_states) → self.lm_head(hidden_states[:, "
        "slice_indices, :]), logits_to_keep=0",
        QWEN + "modeling_qwen2_vl.py",
        "generate gives logits_to_keep=1 to a forward that has it: a prompt's other "
        "logits are not there",
        base="transformers-5.0.0",
        rungs=TOLD,
        frozen=FROZEN,
    ),
    Change(
        "what is left out of the adapter, and its bias",
        "peft",
        "0.13.2",
        "0.14.0",
        "interface",
        "self.exclude_modules, self.lora_bias: new",
        PEFT + "tuners/lora/config.py",
        "two defaults more of LoraConfig, in adapter_config.json",
        base=REFERENCE,
        frozen=EARLIER,
    ),
)
