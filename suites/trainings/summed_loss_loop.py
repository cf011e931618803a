"""Qwen2-VL with LoRA in accelerate's way for rows of unequal length: the loss of each batch is a
sum, divided by the tokens of all batches that one optimizer step is accumulated from."""

import contextlib
import math
import os

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from peft import LoraConfig, get_peft_model
from PIL import Image, ImageDraw
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from transformers import (
    AutoProcessor,
    Qwen2VLForConditionalGeneration,
    get_linear_schedule_with_warmup,
)

# Before, training had no positions in three axes, which an audit says.
NEEDS = {"transformers": ">=4.56"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")
EPOCHS, BATCH, ACCUMULATION = 2, 2, 3
RATE, WARMUP, MAX_NORM = 1e-4, 1, 1.0

set_seed(11)
accelerator = Accelerator(gradient_accumulation_steps=ACCUMULATION)
processor = AutoProcessor.from_pretrained(MODEL)
processor.tokenizer.padding_side = "right"
model = get_peft_model(
    Qwen2VLForConditionalGeneration.from_pretrained(MODEL).float(),
    LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
)

NAMES = ["one", "two", "three", "four"]


def tally(number):
    picture = Image.new("RGB", (56 + 28 * (number % 3), 84), "white")
    draw = ImageDraw.Draw(picture)
    for stroke in range(number % 4 + 1):
        draw.line((10 + 10 * stroke, 20 + number, 10 + 10 * stroke, 70), fill="black", width=3)
    return picture


def answer(number):
    count = NAMES[number % 4]
    return (
        f"{count}." if number % 2 else f"I see {count} strokes beside each other, drawn in black."
    )


def collate(numbers):
    pictures = [tally(number) for number in numbers]
    turns = [
        [
            {
                "role": "user",
                "content": [{"type": "image"}, {"type": "text", "text": f"Tally {number}?"}],
            },
            {"role": "assistant", "content": [{"type": "text", "text": answer(number)}]},
        ]
        for number in numbers
    ]
    whole = [processor.apply_chat_template(row, tokenize=False) for row in turns]
    asked = [
        processor.apply_chat_template(row[:1], tokenize=False, add_generation_prompt=True)
        for row in turns
    ]
    batch = processor(text=whole, images=pictures, padding=True, return_tensors="pt")
    prompts = processor(text=asked, images=pictures, padding=True, return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    for row, length in enumerate(prompts["attention_mask"].sum(dim=1).tolist()):
        labels[row, :length] = -100
    batch["labels"] = labels
    return batch


def summed(logits, labels):
    return cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), reduction="sum"
    )


loader = DataLoader(range(24), batch_size=BATCH, shuffle=True, collate_fn=collate)
optimizer = torch.optim.AdamW(
    [p for p in model.parameters() if p.requires_grad], lr=RATE, weight_decay=0.0
)
updates = math.ceil(len(loader) / ACCUMULATION)
scheduler = get_linear_schedule_with_warmup(optimizer, WARMUP, EPOCHS * updates)
model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)

model.train()
for _ in range(EPOCHS):
    batches = iter(loader)
    for update in range(updates):
        count = min(ACCUMULATION, len(loader) - update * ACCUMULATION)
        step = [next(batches) for _ in range(count)]
        tokens = sum((batch["labels"][:, 1:] != -100).sum() for batch in step)
        tokens = accelerator.gather(tokens).sum().item()
        for place, batch in enumerate(step):
            alone = place < count - 1 and accelerator.num_processes > 1
            with model.no_sync() if alone else contextlib.nullcontext():
                labels = batch.pop("labels")
                loss = summed(model(**batch).logits, labels)
                # accelerate divides by the accumulation, and processes are averaged.
                loss = loss * ACCUMULATION * accelerator.num_processes / tokens
                accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()

accelerator.unwrap_model(model).save_pretrained("qwen2-vl-tallies")
