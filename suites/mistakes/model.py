"""Mistakes in what is trained, what reaches the model, its loss and its gradients."""

from __future__ import annotations

from suites.audits import Mistake

WRAPPED = "model = get_peft_model(model, lora)\n"
TORCH = ("import os\n", "import os\n\nimport torch\n")
TARGETS = 'target_modules=["q_proj", "v_proj"]'
LOADED = "from_pretrained(MODEL).float()"
LABELLED = '    batch["labels"] = labels\n'
ARGUMENTS = "    remove_unused_columns=False,\n"
TRAINER = "trainer = Trainer(\n"


def _after(name: str, finds: str, added: str, fast: bool = False) -> Mistake:
    """Lines after the model got its adapters."""
    return Mistake(name, "plain_trainer", (TORCH, (WRAPPED, WRAPPED + added)), finds, fast=fast)


def _loss(name: str, finds: str, *body: str) -> Mistake:
    """A Trainer with a compute_loss of its own."""
    lines = "".join(f"        {line}\n" for line in body)
    own = (
        "class OwnLoss(Trainer):\n"
        "    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):\n"
        '        labels = inputs["labels"]\n'
        "        outputs = model(**inputs)\n"
        f"{lines}"
        "        return (loss, outputs) if return_outputs else loss\n\n\n"
    )
    return Mistake(name, "plain_trainer", (TORCH, (TRAINER, f"{own}trainer = OwnLoss(\n")), finds)


def _batch(name: str, finds: str, line: str, fast: bool = False) -> Mistake:
    """A line of the collator before it returns."""
    return Mistake(
        name, "plain_trainer", (TORCH, (LABELLED, f"{LABELLED}    {line}\n")), finds, fast=fast
    )


MISTAKES = [
    # What trains.
    Mistake(
        "lora_on_the_tower",
        "plain_trainer",
        ((TARGETS, 'target_modules=["qkv"]'),),
        "model.decoder_layers_adapted",
        fast=True,
    ),
    Mistake(
        "half_of_the_layers",
        "plain_trainer",
        ((TARGETS, r'target_modules=r".*layers\.[01]\..*\.(q_proj|v_proj)"'),),
        "model.decoder_layers_adapted",
    ),
    Mistake(
        "layers_to_transform",
        "plain_trainer",
        ((TARGETS, f"{TARGETS}, layers_to_transform=[0, 1]"),),
        "model.layers_left_out",
    ),
    _after(
        "frozen_adapter",
        "model.adapters_frozen",
        'for name, parameter in model.named_parameters():\n    if "layers.0." in name:\n'
        "        parameter.requires_grad = False\n",
    ),
    Mistake(
        "inference_mode",
        "plain_trainer",
        ((TARGETS, f"{TARGETS}, inference_mode=True"),),
        "model.adapters_frozen",
    ),
    _after(
        "base_weights_left_trainable",
        "model.trained_beside_adapters",
        "for parameter in model.parameters():\n    parameter.requires_grad = True\n",
        fast=True,
    ),
    _after("bf16_adapters", "model.adapters_in_16_bits", "model.to(torch.bfloat16)\n"),
    Mistake(
        "tied_weights_broken",
        "plain_trainer",
        (
            TORCH,
            ("    AutoProcessor,\n", "    AutoConfig,\n    AutoProcessor,\n"),
            # Weights of its own: a checkpoint that holds a head of its own keeps it, whatever the
            # config says, since transformers 5.
            (
                f"Qwen2VLForConditionalGeneration.{LOADED}",
                "Qwen2VLForConditionalGeneration(\n"
                "    AutoConfig.from_pretrained(MODEL, tie_word_embeddings=True)\n).float()",
            ),
            (
                WRAPPED,
                f"{WRAPPED}head = model.get_base_model().lm_head\n"
                "head.weight = torch.nn.Parameter(head.weight.detach().clone(), False)\n",
            ),
        ),
        "model.tied",
    ),
    _after(
        "scaling_set_by_hand",
        "model.adapters_scaled_otherwise",
        "for module in model.modules():\n"
        '    if isinstance(getattr(module, "scaling", None), dict):\n'
        '        module.scaling["default"] = 16.0\n',
    ),
    _after(
        "adapters_drawn_as_zero",
        "model.adapters_dead",
        "for name, parameter in model.named_parameters():\n"
        '    if "lora_" in name:\n        torch.nn.init.zeros_(parameter)\n',
    ),
    Mistake(
        "quantisation_made_and_not_used",
        "plain_trainer",
        (
            (
                "model = Qwen2VL",
                "from transformers import BitsAndBytesConfig\n\n"
                'quantisation = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")\n'
                "model = Qwen2VL",
            ),
        ),
        "model.quantised",
    ),
    # What reaches the inside.
    _batch(
        "positions_by_the_collator",
        "inputs.positions",
        'batch["position_ids"] = batch["attention_mask"].cumsum(-1) - 1',
        fast=True,
    ),
    _batch("mask_dropped", "ids.padding_attended", 'del batch["attention_mask"]'),
    _batch(
        "mask_of_ones",
        "ids.padding_attended",
        'batch["attention_mask"] = torch.ones_like(batch["attention_mask"])',
    ),
    _batch(
        "blank_pictures",
        "inputs.pictures_blank",
        'batch["pixel_values"] = torch.zeros_like(batch["pixel_values"])',
    ),
    _batch(
        "pixels_normalised_twice",
        "images.levels_off",
        'batch["pixel_values"] = (batch["pixel_values"] - 0.5) / 0.25',
    ),
    _after(
        "pixels_cut_to_whole_numbers",
        "inputs.pixels_cut",
        "tower = model.get_base_model().model.visual\n"
        "tower.patch_embed.register_forward_pre_hook(\n"
        "    lambda module, args: (args[0].to(torch.int8).float(), *args[1:])\n)\n",
    ),
    _after(
        "pictures_not_put_in",
        "inputs.pictures_missing",
        "base = model.get_base_model().model\n"
        "base.language_model.register_forward_pre_hook(\n"
        "    lambda module, args, kwargs: (\n"
        "        args,\n"
        '        {**kwargs, "inputs_embeds": base.language_model.embed_tokens(base.ids)},\n'
        "    ),\n    with_kwargs=True,\n)\n"
        "base.register_forward_pre_hook(\n"
        '    lambda module, args, kwargs: setattr(base, "ids", kwargs["input_ids"]),\n'
        "    with_kwargs=True,\n)\n",
    ),
    # The loss.
    _loss(
        "loss_without_shift",
        "forward.loss",
        "loss = torch.nn.functional.cross_entropy(",
        "    outputs.logits.flatten(0, 1), labels.flatten(), ignore_index=-100",
        ")",
    ),
    _loss(
        "loss_over_all_tokens",
        "forward.loss",
        "loss = outputs.loss * (labels[:, 1:] != -100).sum() / labels.numel()",
    ),
    _loss(
        "loss_by_row",
        "forward.loss",
        "rows = [",
        "    torch.nn.functional.cross_entropy(logits[:-1], row[1:], ignore_index=-100)",
        "    for logits, row in zip(outputs.logits, labels, strict=True)",
        "]",
        "loss = sum(rows)",
    ),
    _after(
        "logits_scaled",
        "forward.head",
        "model.get_base_model().lm_head.register_forward_hook(lambda m, a, out: out / 0.7)\n",
    ),
    _after(
        "dropout_in_evaluation",
        "forward.repeated",
        "model.get_base_model().lm_head.register_forward_pre_hook(\n"
        "    lambda module, args: (torch.nn.functional.dropout(args[0], 0.1),)\n)\n",
        fast=True,
    ),
    _after(
        "dropout_undeclared",
        "forward.dropout",
        "for module in model.modules():\n"
        '    if hasattr(module, "attention_dropout"):\n        module.attention_dropout = 0.1\n',
    ),
    # The gradients.
    Mistake(
        "checkpointing_switched_off",
        "plain_trainer",
        (
            (ARGUMENTS, f"{ARGUMENTS}    gradient_checkpointing=True,\n"),
            (
                WRAPPED,
                f"{WRAPPED}"
                "model.get_base_model().gradient_checkpointing_enable = lambda *a, **k: None\n",
            ),
        ),
        "backward.checkpointing",
    ),
    Mistake(
        "checkpointing_without_input_gradients",
        "plain_trainer",
        (
            (
                ARGUMENTS,
                f"{ARGUMENTS}    gradient_checkpointing=True,\n"
                '    gradient_checkpointing_kwargs={"use_reentrant": True},\n',
            ),
            (
                WRAPPED,
                f"{WRAPPED}"
                "model.get_base_model().enable_input_require_grads = lambda *a, **k: None\n",
            ),
        ),
        "backward.loss_without_gradient",
    ),
    _after(
        "detached_between_layers",
        "backward.without_gradient",
        "layers = model.get_base_model().model.language_model.layers\n"
        "layers[2].register_forward_pre_hook(lambda m, a: (a[0].detach(), *a[1:]))\n",
    ),
    _after(
        "gradients_scaled",
        "backward.slope",
        "for parameter in model.parameters():\n    if parameter.requires_grad:\n"
        "        parameter.register_hook(lambda gradient: gradient * 0.5)\n",
    ),
    # 4 bits.
    Mistake(
        "head_quantised",
        "qlora_prepare",
        (('llm_int8_skip_modules=["visual", "lm_head"]', 'llm_int8_skip_modules=["visual"]'),),
        "model.head_quantised",
    ),
    Mistake(
        "adapter_of_checkpointed_dora_frozen_in_the_tower",
        "dora_all_linear",
        (
            (
                "model = get_peft_model(model, config)\n",
                "model = get_peft_model(model, config)\n"
                "for name, parameter in model.named_parameters():\n"
                '    if "visual" in name:\n        parameter.requires_grad = False\n',
            ),
        ),
        "model.adapters_frozen",
    ),
]
