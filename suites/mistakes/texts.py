"""Mistakes in what a training learns from: texts and ids."""

from suites.audits import Mistake
from suites.mistakes._edits import ASSISTANT, COOKBOOK, PACKED, PADS, PLAIN, UNPACKED

TEXTS = [
    Mistake(
        "begin token twice",
        UNPACKED,
        (
            (
                "model = AutoModel",
                'tokenizer.bos_token = "<|object_ref_start|>"\n'
                "tokenizer.chat_template = (\n"
                '    "{{- bos_token + bos_token -}}" + tokenizer.chat_template\n'
                ")\nmodel = AutoModel",
            ),
        ),
        "text.begin_token_twice",
        fast=True,
    ),
    Mistake(
        "control token in data",
        PLAIN,
        (
            (
                '"answer": f"It is {COLOURS[i]}.",',
                '"answer": f"It is <|im_end|>{COLOURS[i]}.",',
            ),
        ),
        "text.control_tokens_in_data",
    ),
    Mistake(
        "control token in a conversation",
        ASSISTANT,
        (('f"Buy {thing} and be glad."', 'f"<|im_start|>Buy {thing} and be glad."'),),
        "text.control_tokens_in_data",
    ),
    Mistake(
        "empty answer",
        PLAIN,
        (('"answer": f"It is {COLOURS[i]}.",', '"answer": "" if i == 3 else f"It is {i}.",'),),
        "text.answers_empty",
    ),
    Mistake(
        "generation prompt after the answer",
        COOKBOOK,
        (
            (
                "processor.apply_chat_template(c, tokenize=False)",
                "processor.apply_chat_template(c, tokenize=False, add_generation_prompt=True)",
            ),
        ),
        "text.prompt_left_open",
    ),
    Mistake(
        "end of turn left out",
        PLAIN,
        (
            (
                "texts.append(processor.apply_chat_template([user, answer], tokenize=False))",
                "text = processor.apply_chat_template([user, answer], tokenize=False)\n"
                '        texts.append(text.rsplit("<|im_end|>", 1)[0])',
            ),
        ),
        "text.ends_missing",
    ),
    Mistake(
        "a template that drops the system's turn",
        ASSISTANT,
        (
            (
                "{%- for message in messages -%}",
                "{%- for message in messages if message['role'] != 'system' -%}",
            ),
        ),
        "text.turns_lost",
    ),
]

IDS = [
    Mistake(
        "tokens without embedding",
        UNPACKED,
        (
            (
                "model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32)\n",
                "model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32)\n"
                "size = model.get_input_embeddings().weight.shape[0]\n"
                'tokenizer.add_tokens([f"<number_{i}>" for i in range(size)])\n',
            ),
            ('f"Count to {number}."', 'f"Count to {number}<number_{size - 1}>."'),
        ),
        "ids.largest_id",
    ),
    Mistake(
        "truncation through a picture",
        PLAIN,
        (
            (
                '    labels = batch["input_ids"].clone()\n',
                '    rowwise = {"input_ids", "attention_mask", "mm_token_type_ids"}\n'
                "    for name in rowwise & set(batch):\n"
                "        batch[name] = batch[name][:, :MAX_LENGTH]\n"
                '    labels = batch["input_ids"].clone()\n',
            ),
            ("COLOURS = [", "MAX_LENGTH = 30\nCOLOURS = ["),
        ),
        "ids.pictures_cut",
        fast=True,
    ),
    Mistake(
        "truncation of the answer",
        UNPACKED,
        (("max_length=256", "max_length=48"),),
        "ids.answers_cut",
    ),
    Mistake(
        "truncation of the start",
        UNPACKED,
        (("max_length=256", 'max_length=32,\n    truncation_mode="keep_end"'),),
        "ids.starts_cut",
    ),
    Mistake(
        "packing that cuts rows anywhere",
        PACKED,
        (
            ("packing=True", 'packing=True,\n    packing_strategy="wrapped"'),
            ("max_length=256", "max_length=96"),
        ),
        "ids.packing_cuts",
    ),
    Mistake(
        "padding with the end of turns",
        COOKBOOK,
        (
            (
                "model = AutoModel",
                "processor.tokenizer.pad_token = processor.tokenizer.eos_token\nmodel = AutoModel",
            ),
        ),
        "ids.ends_as_padding",
        fast=True,
    ),
    Mistake(
        "attention mask lost",
        PLAIN,
        (
            (PADS, PADS + '    batch["attention_mask"][:] = 1\n'),
            ("56 + 28 * (i % 3)", "56 + 56 * (i % 4)"),
        ),
        "ids.padding_attended",
    ),
]

MISTAKES = [*TEXTS, *IDS]
