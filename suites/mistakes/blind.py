"""Mistakes of somebody who had not read the checks; BLIND.md says what became of all of them."""

from suites.audits import Mistake

MISTAKES = [
    Mistake(
        "pads trained",
        "text_whole_model",
        (
            (
                'labels.append([-100] * gap + f["labels"])',
                'labels.append([tokenizer.pad_token_id] * gap + f["labels"])',
            ),
        ),
        "labels.padding_trained",
    ),
    Mistake(
        "answer cut by max length",
        "text_whole_model",
        (
            (
                'ids = tokenizer(whole, add_special_tokens=False)["input_ids"]',
                "ids = tokenizer(whole, add_special_tokens=Fals"
                'e, truncation=True, max_length=54)["input_ids"]',
            ),
        ),
        "ids.answers_cut",
    ),
    Mistake(
        "no end of turn",
        "text_whole_model",
        (('.rstrip("\\n")', '.rstrip("\\n").removesuffix("<|im_end|>")'),),
        "text.ends_missing",
    ),
    Mistake(
        "left pads attended",
        "text_whole_model",
        (('masks.append([0] * gap + [1] * len(f["input_ids"]))', "masks.append([1] * longest)"),),
        "ids.padding_attended",
    ),
    Mistake(
        "completion only off",
        "prompt_completion",
        (("max_length=None,", "max_length=None,\n        completion_only_loss=False,"),),
        "labels.image_tokens_trained",
        loss_on="completion",
    ),
    Mistake(
        "lora on the tower only",
        "prompt_completion",
        (('["q_proj", "k_proj", "v_proj", "o_proj"]', '["qkv", "attn.proj"]'),),
        "model.decoder_layers_adapted",
    ),
    Mistake(
        "adapter not identity at start",
        "prompt_completion",
        (("    lora_dropout=0.05,\n", "    lora_dropout=0.05,\n    init_lora_weights=False,\n"),),
        "model.adapters_moved",
    ),
    Mistake(
        "unfrozen merger not saved",
        "own_loss",
        (
            (
                "\n\ndef talk(",
                "\nmodel.base_model.model.model.visual.merger.requires_grad_(True)\n\n\ndef talk(",
            ),
        ),
        "model.trained_beside_adapters",
    ),
    Mistake(
        "loss mean per micro batch",
        "own_loss",
        (("if num_items_in_batch is None else num_items_in_batch", ""),),
        "update.accumulation",
    ),
    Mistake(
        "loss not shifted",
        "own_loss",
        (
            ("outputs.logits[:, :-1].float()", "outputs.logits.float()"),
            ("labels[:, 1:].reshape(-1)", "labels.reshape(-1)"),
            ("(labels[:, 1:] != -100)", "(labels != -100)"),
        ),
        "forward.loss",
    ),
    Mistake(
        "only last answer trained",
        "own_loss",
        (
            (
                "            at = 0\n",
                "            at = len(ids) - 1 - ids[::-1]"
                ".index(self.start[1])\n            at -= 1\n",
            ),
        ),
        "labels.answers_masked",
        loss_on="assistant",
    ),
    Mistake(
        "merger not in optimizer",
        "own_optimizer",
        (
            (
                "for parameter in model.parameters():\n    if parameter.requires_grad:\n",
                "for name, parameter in model.named_parameters():\n    "
                'if parameter.requires_grad and "visual" not in name:\n',
            ),
        ),
        "update.missing_in_optimizer",
    ),
    Mistake(
        "channels swapped",
        "own_optimizer",
        (('row["image"].convert("RGB")]', 'Image.fromarray(np.array(row["image"])[..., ::-1])]'),),
        "images.colours",
    ),
    Mistake(
        "scaled twice",
        "own_optimizer",
        (
            (
                'images = [[row["image"].convert("RGB")] for row in rows]',
                'images = [[np.asarray(row["image"].convert("RG'
                'B"), dtype=np.float32) / 255] for row in rows]',
            ),
        ),
        "images.brightness",
    ),
    Mistake(
        "all but the head frozen",
        "text_whole_model",
        (('if ".visual." in name:', 'if "model." in name:'),),
        "model.layers_frozen",
    ),
    Mistake(
        "schedule counts micro batches",
        "own_optimizer",
        (
            (
                "get_cosine_schedule_with_warmup(optimizer, 2, STEPS)",
                "get_cosine_schedule_with_warmup(optimizer, 2, STEPS * len(Pictures(range(8))))",
            ),
        ),
        "update.schedule_unfinished",
    ),
    Mistake(
        "evaluation rows are training rows",
        "own_optimizer",
        (("eval_dataset=Pictures(range(100, 104))", "eval_dataset=Pictures(range(4))"),),
        "text.evaluation_rows_trained_on",
    ),
]
