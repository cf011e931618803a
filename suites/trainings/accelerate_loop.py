"""Qwen2-VL with LoRA in a loop of its own over accelerate: no Trainer, every step written out."""

import os
import random

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from peft import LoraConfig, get_peft_model
from PIL import Image, ImageDraw
from torch.utils.data import DataLoader
from transformers import (
    AutoProcessor,
    Qwen2VLForConditionalGeneration,
    get_cosine_schedule_with_warmup,
)

# Before, training had no positions in three axes, which an audit says.
NEEDS = {"transformers": ">=4.56"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")
EPOCHS, BATCH, ACCUMULATION = 2, 2, 2
RATE, WARMUP, MAX_NORM = 2e-4, 2, 1.0

set_seed(7)
accelerator = Accelerator(gradient_accumulation_steps=ACCUMULATION)
processor = AutoProcessor.from_pretrained(MODEL)
processor.tokenizer.padding_side = "right"
model = Qwen2VLForConditionalGeneration.from_pretrained(MODEL).float()
model = get_peft_model(
    model,
    LoraConfig(
        r=4,
        lora_alpha=8,
        lora_dropout=0.1,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        task_type="CAUSAL_LM",
    ),
)

SHAPES = ["circle", "square", "wide bar", "tall bar"]
COLOURS = ["red", "green", "blue"]


def picture(shape, colour):
    image = Image.new("RGB", (84, 84), "white")
    box = {"wide bar": (10, 34, 74, 50), "tall bar": (34, 10, 50, 74)}.get(shape, (20, 20, 64, 64))
    draw = ImageDraw.Draw(image)
    (draw.ellipse if shape == "circle" else draw.rectangle)(box, fill=colour)
    return image


rows = [(shape, colour) for shape in SHAPES for colour in COLOURS]
random.Random(3).shuffle(rows)


def collate(batch):
    texts, images, prompts = [], [], []
    for shape, colour in batch:
        user = {
            "role": "user",
            "content": [{"type": "image"}, {"type": "text", "text": "What is drawn here?"}],
        }
        answer = f"A {colour} {shape}."
        if shape.endswith("bar"):
            answer += " It reaches nearly from side to side."
        assistant = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
        texts.append(processor.apply_chat_template([user, assistant], tokenize=False))
        prompts.append(
            processor.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
        )
        images.append(picture(shape, colour))
    inputs = processor(text=texts, images=images, padding=True, return_tensors="pt")
    asked = processor(text=prompts, images=images, padding=True, return_tensors="pt")
    labels = inputs["input_ids"].clone()
    for row, length in enumerate(asked["attention_mask"].sum(dim=1).tolist()):
        labels[row, :length] = -100
    labels[inputs["attention_mask"] == 0] = -100
    inputs["labels"] = labels
    return inputs


loader = DataLoader(rows, batch_size=BATCH, shuffle=True, collate_fn=collate)
optimizer = torch.optim.AdamW(
    [p for p in model.parameters() if p.requires_grad], lr=RATE, weight_decay=0.01
)
steps = EPOCHS * len(loader) // ACCUMULATION
scheduler = get_cosine_schedule_with_warmup(optimizer, WARMUP, steps)
model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)

for epoch in range(EPOCHS):
    model.train()
    for batch in loader:
        with accelerator.accumulate(model):
            loss = model(**batch).loss
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), MAX_NORM)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    accelerator.print(f"epoch {epoch}: loss {loss.item():.4f}")

accelerator.unwrap_model(model).save_pretrained("qwen2-vl-shapes")
