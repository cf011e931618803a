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
        "a loss is divided once, not by accelerate again",
        "transformers",
        "5.5.3",
        "5.5.4",
        "update",
        'grad_acc_kwargs["num_steps"] = self.args.gradient_accumulation_steps → '
        'grad_acc_kwargs["num_steps"] = 1',
        TRAINER,
        "before, Accelerator.backward divided by the micro-batches once more: gradients "
        "were as many times too small",
        base="transformers-5.8.1",
        rungs=TRAINED,
        frozen=FROZEN,
    ),
    Change(
        "only what a label counts is in the logged entropy",
        "trl",
        "1.2.0",
        "1.3.0",
        "update",
        "entropy = torch.sum(per_token_entropy * attention_mask) / attention_mask.sum() →"
        " entropy_sum = (per_token_entropy * mask).sum(), mask = shift_labels != -100",
        SFT,
        "pictures' tokens count no more, nor does the last position",
        base="transformers-5.8.1",
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
        "a 4-bit model's adapter is narrowed to bfloat16",
        "trl",
        "0.25.1",
        "0.26.0",
        "update",
        "if args.bf16 and …: peft_module_casting_to_bf16(model) → if is_loaded_in_4bit or"
        " is_loaded_in_8bit: for param in model.parameters(): if param.requires_grad: "
        "param.data = param.data.to(torch.bfloat16)",
        SFT,
        "on a CPU, where bf16 is off, it stayed float32 before: what the optimizer "
        "updates is rounded",
        base="transformers-4.57.6",
        rungs=TRAINED,
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
