"""Conversations packed into rows of one length by TRL, for a model that also sees pictures: here it
learns from texts alone."""

import os

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForImageTextToText, AutoTokenizer
from trl import SFTConfig, SFTTrainer

NEEDS = {"trl": ">=1.0"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")

tokenizer = AutoTokenizer.from_pretrained(MODEL)
model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32)

dataset = Dataset.from_list(
    [
        {
            "messages": [
                {"role": "user", "content": f"Count to {number}."},
                {"role": "assistant", "content": " ".join(map(str, range(1, number + 1)))},
            ]
        }
        for number in range(2, 18)
    ]
)

training_args = SFTConfig(
    output_dir="packed-counting",
    per_device_train_batch_size=1,
    gradient_accumulation_steps=2,
    learning_rate=1e-4,
    max_steps=10,
    max_length=256,
    packing=True,
    bf16=False,
    use_cpu=not torch.cuda.is_available(),
    report_to="none",
)
trainer = SFTTrainer(
    model=model,
    args=training_args,
    train_dataset=dataset,
    processing_class=tokenizer,
    peft_config=LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]),
)

if __name__ == "__main__":
    trainer.train()
