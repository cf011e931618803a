"""Gemma 3 with LoRA and a plain transformers.Trainer: the template writes the begin token, so the
tokenizer is kept from putting another one before it."""

import os

import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import (
    AutoProcessor,
    Gemma3ForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

NEEDS = {"transformers": ">=4.56"}
MODEL = os.environ.get("MODEL", "google/gemma-3-4b-it")
# The family of the tiny model that stands for it in the suites.
TINY = "gemma3"

processor = AutoProcessor.from_pretrained(MODEL)
tokenizer = processor.tokenizer
model = Gemma3ForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32)
lora = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
model = get_peft_model(model, lora)

COLOURS = ["red", "green", "blue", "orange", "purple", "white", "black", "yellow"]
rows = [
    {
        "image": Image.new("RGB", (56 + 28 * (i % 3), 56 + 28 * (i % 2)), COLOURS[i]),
        "question": "Which colour is it?",
        "answer": f"It is {COLOURS[i]}.",
    }
    for i in range(8)
]
of_images = tokenizer.convert_tokens_to_ids(
    ["<start_of_image>", "<end_of_image>", "<image_soft_token>"]
)


def collate(examples):
    texts = [
        processor.apply_chat_template(
            [
                {
                    "role": "user",
                    "content": [{"type": "image"}, {"type": "text", "text": example["question"]}],
                },
                {"role": "assistant", "content": [{"type": "text", "text": example["answer"]}]},
            ],
            tokenize=False,
        )
        for example in examples
    ]
    batch = processor(
        text=texts,
        images=[[example["image"]] for example in examples],
        padding=True,
        return_tensors="pt",
        add_special_tokens=False,
    )
    labels = batch["input_ids"].clone()
    labels[batch["attention_mask"] == 0] = -100
    labels[torch.isin(labels, torch.tensor(of_images))] = -100
    batch["labels"] = labels
    return batch


arguments = TrainingArguments(
    output_dir="gemma3-colours",
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    learning_rate=1e-4,
    warmup_steps=2,
    max_steps=20,
    logging_steps=1,
    remove_unused_columns=False,
    report_to="none",
)
trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)

if __name__ == "__main__":
    trainer.train()
