"""Mistakes for checks that no other planted mistake reaches: one each."""

from __future__ import annotations

from suites.audits import Mistake

PLAIN = "plain_trainer"
LABELLED = '    batch["labels"] = labels\n'
LOADED = "from_pretrained(MODEL).float()\n"
WRAPPED = "model = get_peft_model(model, lora)\n"
TORCH = ("import os\n", "import os\n\nimport torch\n")
# The question mark: it stands in questions only.
ASKED = '(batch["input_ids"] == processor.tokenizer("?")["input_ids"][0])'
DECODER = "model.get_base_model().model.language_model"


def _batch(name: str, finds: str, *lines: str, before: tuple[str, str] | None = None) -> Mistake:
    """Lines of the collator before it returns. before: another edit."""
    added = "".join(f"    {line}\n" for line in lines)
    edits = (TORCH, (LABELLED, LABELLED + added), *((before,) if before else ()))
    return Mistake(name, PLAIN, edits, finds)


def _wrapped(name: str, finds: str, *lines: str) -> Mistake:
    """Lines after the model got its adapters."""
    added = "".join(f"{line}\n" for line in lines)
    return Mistake(name, PLAIN, (TORCH, (WRAPPED, WRAPPED + added)), finds)


MISTAKES = [
    # What the rows are.
    Mistake(
        "plain texts instead of the template",
        "text_whole_model",
        (
            (
                "    whole = tokenizer.apply_chat_template(\n"
                '        [*prompt, {"role": "assistant", "content": answer}], tokenize=False\n'
                '    ).rstrip("\\n")\n',
                '    whole = f"{question} {answer}"\n    start = question\n',
            ),
        ),
        "text.template_unused",
    ),
    Mistake(
        "rendered by hand without the default system turn",
        PLAIN,
        (
            (
                '        "image": Image.new',
                '        "messages": [\n'
                '            {"role": "user", "content": "Which colour is it?"},\n'
                '            {"role": "assistant", "content": f"It is {COLOURS[i]}."},\n'
                "        ],\n"
                '        "image": Image.new',
            ),
            (
                "    batch = processor(text=texts,",
                "    usual = processor.apply_chat_template(\n"
                '        [{"role": "user", "content": ""}], tokenize=False\n'
                '    ).split("<|im_start|>user")[0]\n'
                '    texts = [text.replace(usual, "") for text in texts]\n'
                '    prompts = [text.replace(usual, "") for text in prompts]\n'
                "    batch = processor(text=texts,",
            ),
        ),
        "text.rendering",
    ),
    Mistake(
        "the begin token cut off, and none put before",
        "gemma3_guide",
        (("text.strip()", "text.strip().removeprefix(tokenizer.bos_token)"),),
        "text.begin_token_missing",
    ),
    # The guide's collator word for word: its template writes a begin token, its tokenizer another.
    Mistake(
        "two begin tokens, as the guide has it",
        "gemma3_guide",
        ((", padding=True, add_special_tokens=False\n", ", padding=True\n"),),
        "text.begin_token_twice",
    ),
    _batch(
        "a word that the tokenizer does not know",
        "ids.unknown_tokens",
        f'batch["input_ids"][{ASKED}] = processor.tokenizer.unk_token_id',
        before=(
            "processor = AutoProcessor.from_pretrained(MODEL)\n",
            "processor = AutoProcessor.from_pretrained(MODEL)\n"
            'processor.tokenizer.unk_token = "<|quad_end|>"\n',
        ),
    ),
    _batch(
        "an id behind the vocabulary",
        "ids.unnamed_tokens",
        f'batch["input_ids"][{ASKED}] = 1000',
        before=(LOADED, f"{LOADED}model.resize_token_embeddings(1024)\n"),
    ),
    _batch("a row that the mask hides", "ids.rows_empty", 'batch["attention_mask"][0] = 0'),
    Mistake(
        "prompts longer than the maximum length",
        "text_whole_model",
        (
            (
                'ids = tokenizer(whole, add_special_tokens=False)["input_ids"]',
                "cut = tokenizer(\n"
                "        whole, add_special_tokens=False, truncation=True, max_length=20\n"
                '    )\n    ids = cut["input_ids"]',
            ),
            ("[-100] * length + ids[length:]", "([-100] * length + ids[length:])[: len(ids)]"),
        ),
        "ids.prompts_cut",
    ),
    _batch(
        "a word of the question masked out of attention",
        "ids.tokens_hidden",
        f'batch["attention_mask"][{ASKED}] = 0',
    ),
    _batch(
        "padding in the middle",
        "ids.mask_holes",
        'fill = {"input_ids": processor.tokenizer.pad_token_id, "labels": -100}',
        "shape = labels.shape",
        "for name, value in batch.items():",
        "    if value.shape[:2] == shape:",
        "        gap = value.new_full((len(value), 4), fill.get(name, 0))",
        "        end = value.shape[1] - 6",
        "        batch[name] = torch.cat([value[:, :end], gap, value[:, end:]], 1)",
    ),
    _batch("no labels", "labels.there", 'del batch["labels"]'),
    _batch("labels shifted beforehand", "labels.shape", 'batch["labels"] = labels[:, 1:]'),
    # Pictures.
    Mistake(
        "the smallest size never reaches the processor",
        PLAIN,
        (
            (
                "processor = AutoProcessor.from_pretrained(MODEL)\n",
                "min_pixels = 16 * 28 * 28\nprocessor = AutoProcessor.from_pretrained(MODEL)\n",
            ),
        ),
        "images.pixels_least",
    ),
    _wrapped(
        "pictures multiplied by nothing",
        "forward.pictures_ignored",
        "merger = model.get_base_model().model.visual.merger",
        "merger.register_forward_hook(lambda module, args, out: out * 0)",
    ),
    # The model.
    Mistake(
        "a layer exchanged after loading",
        "qlora_prepare",
        (
            (
                "processor = AutoProcessor",
                "mlp = model.model.language_model.layers[0].mlp\n"
                "mlp.down_proj = torch.nn.Linear(\n"
                "    mlp.down_proj.in_features, mlp.down_proj.out_features, bias=False\n"
                ").requires_grad_(False)\n"
                "processor = AutoProcessor",
            ),
        ),
        "model.left_unquantised",
    ),
    Mistake(
        "quantised once and said twice",
        "qlora_prepare",
        (
            (
                "    bnb_4bit_use_double_quant=True,\n",
                "    bnb_4bit_use_double_quant=False,\n",
            ),
            (
                "processor = AutoProcessor",
                "model.config.quantization_config.bnb_4bit_use_double_quant = True\n"
                "processor = AutoProcessor",
            ),
        ),
        "model.quantised_as",
    ),
    # The forward pass.
    _wrapped(
        "another temperature where no keys are kept",
        "forward.cache",
        "whole = model.get_base_model().forward",
        "",
        "",
        "def cooler(*args, use_cache=None, **kwargs):",
        "    out = whole(*args, use_cache=use_cache, **kwargs)",
        "    out.logits = out.logits * 1.01 if use_cache is False else out.logits",
        "    return out",
        "",
        "",
        "model.get_base_model().forward = cooler",
    ),
    _wrapped(
        "activations centred over the batch",
        "forward.batch_mates",
        f"{DECODER}.norm.register_forward_hook(",
        "    lambda module, args, out: out - 0.05 * out[:, -1:].mean(0, keepdim=True)",
        ")",
    ),
    Mistake(
        "pictures put in the order of their sizes",
        PLAIN,
        (
            (
                "    batch = processor(text=texts,",
                "    images = sorted(images, key=lambda pictures: pictures[0].size)\n"
                "    batch = processor(text=texts,",
            ),
        ),
        "images.other_rows",
    ),
    # The gradient.
    Mistake(
        "checkpointing over what differs when computed again",
        PLAIN,
        (
            TORCH,
            (
                WRAPPED,
                f"{WRAPPED}model.enable_input_require_grads()\n"
                f"for layer in {DECODER}.layers:\n"
                "    layer.mlp.register_forward_hook(\n"
                "        lambda module, args, out: out * 1.05 if torch.is_grad_enabled() else out\n"
                "    )\n",
            ),
            (
                "    remove_unused_columns=False,\n",
                "    remove_unused_columns=False,\n    gradient_checkpointing=True,\n"
                '    gradient_checkpointing_kwargs={"use_reentrant": True},\n',
            ),
        ),
        "backward.checkpoint_gap",
    ),
    _wrapped(
        "a gradient divided by nothing",
        "backward.not_finite",
        "first = next(p for p in model.parameters() if p.requires_grad)",
        "first.register_hook(lambda gradient: gradient / 0)",
    ),
]
