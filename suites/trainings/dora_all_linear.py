"""Qwen2-VL with DoRA on every Linear, gradient checkpointing, and transformers' Trainer."""

import os

import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import (
    AutoProcessor,
    Qwen2VLForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

NEEDS = {"transformers": ">=4.56", "peft": ">=0.12"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")
PROMPT = "What is the colour of this square?"

processor = AutoProcessor.from_pretrained(MODEL)
model = Qwen2VLForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32)
model.config.use_cache = False
config = LoraConfig(
    r=4,
    lora_alpha=8,
    lora_dropout=0.05,
    use_dora=True,
    target_modules="all-linear",
    task_type="CAUSAL_LM",
)
model = get_peft_model(model, config)

NAMES = ["red", "green", "blue", "orange"]
dataset = [
    {"image": Image.new("RGB", (56, 84 - 28 * (i % 2)), name), "colour": name}
    for i, name in enumerate(NAMES * 2)
]


def conversation(row):
    question = [{"type": "image"}, {"type": "text", "text": PROMPT}]
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": [{"type": "text", "text": row["colour"]}]},
    ]


def collate(rows):
    turns = [conversation(row) for row in rows]
    texts = [processor.apply_chat_template(t, tokenize=False) for t in turns]
    images = [[row["image"]] for row in rows]
    batch = processor(text=texts, images=images, padding=True, return_tensors="pt")
    # Only the answer is trained: what stands after the last assistant header.
    header = processor.tokenizer("<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    labels = torch.full_like(batch["input_ids"], -100)
    for row, ids in enumerate(batch["input_ids"].tolist()):
        starts = [
            i + len(header)
            for i in range(len(ids) - len(header) + 1)
            if ids[i : i + len(header)] == header
        ]
        labels[row, starts[-1] :] = batch["input_ids"][row, starts[-1] :]
    labels[batch["attention_mask"] == 0] = -100
    batch["labels"] = labels
    return batch


args = TrainingArguments(
    output_dir="qwen2-vl-dora",
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    gradient_checkpointing=True,
    gradient_checkpointing_kwargs={"use_reentrant": False},
    learning_rate=2e-4,
    lr_scheduler_type="cosine",
    warmup_steps=2,
    max_steps=10,
    remove_unused_columns=False,
    report_to="none",
)
trainer = Trainer(model=model, args=args, train_dataset=dataset, data_collator=collate)
trainer.train()
