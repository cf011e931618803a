"""Mistakes in what the loss asks for."""

from suites.audits import Mistake
from suites.mistakes._edits import ASSISTANT, COOKBOOK, PADS, PLAIN, PLAIN_PROMPT, TWO

OWN_COLLATOR = """
def collate(rows):
    batch = tokenizer.pad({"input_ids": [row["input_ids"] for row in rows]}, return_tensors="pt")
    labels = batch["input_ids"].clone()
    labels[batch["attention_mask"] == 0] = -100
    return {**batch, "labels": labels}


trainer = SFTTrainer("""
ANSWER = "labels[number, : length - len(answer)] = -100\n"

LABELS = [
    Mistake(
        "prompt trained although only answers are meant",
        COOKBOOK,
        (),
        "labels.prompt_trained",
        loss_on="assistant",
    ),
    Mistake(
        "a collator of one's own undoes assistant_only_loss",
        ASSISTANT,
        (
            ("trainer = SFTTrainer(", OWN_COLLATOR),
            (
                "    train_dataset=dataset,",
                "    train_dataset=dataset,\n    data_collator=collate,",
            ),
        ),
        "labels.prompt_trained",
        fast=True,
    ),
    Mistake(
        "image tokens trained",
        COOKBOOK,
        (('"<|vision_end|>", "<|image_pad|>")', '"<|vision_end|>")'),),
        "labels.image_tokens_trained",
        fast=True,
    ),
    Mistake(
        "padding trained",
        TWO,
        ((PADS, ""), ('sticker, number {number}."', "sticker{number * ' again'}.\"")),
        "labels.padding_trained",
    ),
    Mistake(
        "labels shifted",
        PLAIN,
        (
            (
                'batch["labels"] = labels\n',
                'batch["labels"] = labels.roll(-1, dims=1)\n',
            ),
        ),
        "labels.other_than_ids",
        fast=True,
    ),
    Mistake(
        "padding masked with 0",
        COOKBOOK,
        (("pad_token_id] = -100", "pad_token_id] = 0"),),
        "labels.other_than_ids",
    ),
    Mistake(
        "masked with -1",
        PLAIN,
        ((PLAIN_PROMPT, PLAIN_PROMPT.replace("-100", "-1")),),
        "labels.outside_vocabulary",
    ),
    Mistake(
        "header trained",
        PLAIN,
        (("tokenize=False, add_generation_prompt=True", "tokenize=False"),),
        "labels.headers_trained",
    ),
    Mistake(
        "one row masked as a whole",
        TWO,
        (
            (
                ANSWER,
                ANSWER + '        if row["answer"].endswith("3."):\n'
                "            labels[number] = -100\n",
            ),
        ),
        "labels.rows_all_masked",
    ),
    Mistake(
        "the template marks the questions",
        ASSISTANT,
        (("{%- if message['role'] == 'assistant' -%}", "{%- if message['role'] == 'user' -%}"),),
        "labels.answers_masked",
    ),
    Mistake(
        "answers masked from their second token on",
        TWO,
        ((ANSWER, ANSWER.replace("len(answer)", "len(answer) + 1")),),
        "labels.answer_starts_masked",
    ),
    Mistake(
        "ends never trained",
        TWO,
        ((ANSWER, ANSWER + "        labels[number, length - 2 :] = -100\n"),),
        "labels.ends_untrained",
    ),
    Mistake(
        "prompts counted from the left edge of padding",
        PLAIN,
        (
            ('if processor.tokenizer.padding_side == "left"', "if False"),
            ('"Which colour is it?"', "f\"Which colour is it{i % 5 * ' really'}?\""),
        ),
        "labels.prompt_trained",
        loss_on="assistant",
    ),
]

MISTAKES = [*LABELS]
