"""Gemma 4 on rows with and without a picture, mixed in one batch, with checkpointing of its layers
and the dataset a class of its own."""

import os

import torch
from peft import LoraConfig, get_peft_model
from PIL import Image, ImageDraw
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Trainer,
    TrainingArguments,
)

NEEDS = {"transformers": ">=5.5"}
MODEL = os.environ.get("MODEL", "google/gemma-4-E2B-it")
# The family of the tiny model that stands for it in the suites.
TINY = "gemma4"

processor = AutoProcessor.from_pretrained(MODEL)
model = get_peft_model(
    AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32),
    LoraConfig(r=8, lora_alpha=16, target_modules=r".*language_model.*\.(q_proj|o_proj)"),
)
model.enable_input_require_grads()

COLOURS = ["red", "green", "blue", "yellow", "purple", "orange", "black", "white"]
# What is asked without a picture, and its answer.
FACTS = [
    ("What do red and yellow make?", "Orange."),
    ("Which colour has the sky by day?", "Blue."),
    ("What do blue and yellow make?", "Green, of one shade or another."),
    ("Which colour is snow?", "White."),
]


def drawn(number):
    picture = Image.new("RGB", (84 + 28 * (number % 3), 56 + 28 * (number % 2)), "gray")
    ImageDraw.Draw(picture).rectangle((6, 8, 40, 44), fill=COLOURS[number % 8])
    return picture


class Mixed(torch.utils.data.Dataset):
    """Every third row is a text alone."""

    def __len__(self):
        return 12

    def __getitem__(self, number):
        if number % 3 == 2:
            question, answer = FACTS[number // 3]
            pictures, parts = [], []
        else:
            question = f"Which colour is box number {number}?"
            answer = f"It is {COLOURS[number % 8]}" + (", on gray." if number % 2 else ".")
            pictures, parts = [drawn(number)], [{"type": "image"}]
        return {
            "images": pictures,
            "messages": [
                {"role": "user", "content": [*parts, {"type": "text", "text": question}]},
                {"role": "assistant", "content": [{"type": "text", "text": answer}]},
            ],
        }


def encoded(texts, images):
    # The template writes the begin token itself. A batch without any picture is handed none.
    return processor(
        text=texts,
        images=images if any(images) else None,
        padding=True,
        padding_side="right",
        add_special_tokens=False,
        return_tensors="pt",
    )


def collate(examples):
    whole = [processor.apply_chat_template(e["messages"], tokenize=False) for e in examples]
    batch = encoded(whole, [e["images"] for e in examples])
    labels = batch["input_ids"].clone()
    labels[batch["attention_mask"] == 0] = -100
    for row, example in enumerate(examples):
        prompt = processor.apply_chat_template(
            example["messages"][:1], tokenize=False, add_generation_prompt=True
        )
        length = encoded([prompt], [example["images"]])["input_ids"].shape[1]
        labels[row, :length] = -100
    batch["labels"] = labels
    return batch


arguments = TrainingArguments(
    output_dir="gemma4-mixed",
    per_device_train_batch_size=3,
    gradient_accumulation_steps=2,
    gradient_checkpointing=True,
    gradient_checkpointing_kwargs={"use_reentrant": False},
    learning_rate=1e-4,
    warmup_steps=1,
    num_train_epochs=3,
    remove_unused_columns=False,
    report_to="none",
)
trainer = Trainer(model=model, args=arguments, train_dataset=Mixed(), data_collator=collate)

if __name__ == "__main__":
    trainer.train()
