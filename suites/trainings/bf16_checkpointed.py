"""Qwen2.5-VL in bfloat16 with LoRA in float32, checkpointed and evaluated on the way: a plain
transformers.Trainer."""

import os

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import (
    AutoProcessor,
    Qwen2_5_VLForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

NEEDS = {"transformers": ">=4.56"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2.5-VL-3B-Instruct")
# The family of the tiny model that stands for it in the suites.
TINY = "qwen2_5_vl"

processor = AutoProcessor.from_pretrained(MODEL)
processor.tokenizer.padding_side = "right"
model = Qwen2_5_VLForConditionalGeneration.from_pretrained(MODEL, dtype=torch.bfloat16)
model = get_peft_model(
    model,
    LoraConfig(
        r=8,
        lora_alpha=16,
        lora_dropout=0.05,
        target_modules=r".*language_model.*\.(q_proj|v_proj)",
        task_type="CAUSAL_LM",
    ),
)

COLOURS = ["red", "green", "blue", "orange", "purple", "white", "black", "yellow", "pink", "brown"]
rows = Dataset.from_list(
    [
        {
            "images": [Image.new("RGB", (56 + 28 * (i % 3), 84), colour)],
            "question": "Which colour is it?",
            "answer": f"It is {colour}{', and nothing else is there' if i % 2 else ''}.",
        }
        for i, colour in enumerate(COLOURS)
    ]
)
split = rows.train_test_split(test_size=2, seed=0)


def talk(row):
    question = [{"type": "image"}, {"type": "text", "text": row["question"]}]
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": [{"type": "text", "text": row["answer"]}]},
    ]


def collate(examples):
    images = [example["images"] for example in examples]
    texts = [processor.apply_chat_template(talk(row), tokenize=False) for row in examples]
    batch = processor(text=texts, images=images, padding=True, return_tensors="pt")
    prompts = [
        processor.apply_chat_template(talk(row)[:1], tokenize=False, add_generation_prompt=True)
        for row in examples
    ]
    asked = processor(text=prompts, images=images, padding=True, return_tensors="pt")
    labels = batch["input_ids"].clone()
    labels[batch["attention_mask"] == 0] = -100
    for row, length in enumerate(asked["attention_mask"].sum(1).tolist()):
        labels[row, :length] = -100
    batch["labels"] = labels
    return batch


arguments = TrainingArguments(
    output_dir="qwen2.5-vl-colours",
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    gradient_checkpointing=True,
    gradient_checkpointing_kwargs={"use_reentrant": False},
    learning_rate=1e-4,
    warmup_steps=1,
    num_train_epochs=3,
    bf16=True,
    use_cpu=not torch.cuda.is_available(),
    eval_strategy="steps",
    eval_steps=2,
    logging_steps=1,
    remove_unused_columns=False,
    report_to="none",
)
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=split["train"],
    eval_dataset=split["test"],
    data_collator=collate,
)

if __name__ == "__main__":
    trainer.train()
