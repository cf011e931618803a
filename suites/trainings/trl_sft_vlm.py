"""The way of TRL's own VLM script: SFTTrainer collates the pictures itself, the LoRA config goes to
the trainer, and a row's prompt, completion and pictures are columns of the dataset."""

import os

import torch
from datasets import Dataset, Features, Image, List, Value
from peft import LoraConfig
from PIL import Image as Pictures
from PIL import ImageDraw
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig, SFTTrainer

NEEDS = {"trl": ">=1.0"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")

COUNTS = {1: "one dot", 2: "two dots", 3: "three dots", 4: "four dots in a row, from left to right"}


def dots(count, colour):
    picture = Pictures.new("RGB", (112, 84), "ivory")
    draw = ImageDraw.Draw(picture)
    for i in range(count):
        draw.ellipse((8 + 26 * i, 34, 24 + 26 * i, 50), fill=colour)
    return picture


def rows():
    for number in range(16):
        count, colour = number % 4 + 1, ["navy", "crimson", "teal", "black"][number // 4]
        yield {
            "images": [dots(count, colour)],
            "prompt": [{"role": "user", "content": "How many dots are there?"}],
            "completion": [{"role": "assistant", "content": f"There is {COUNTS[count]}."}],
        }


turns = List({"role": Value("string"), "content": Value("string")})
dataset = Dataset.from_generator(
    rows,
    features=Features({"images": List(Image()), "prompt": turns, "completion": turns}),
    keep_in_memory=True,
)

training_args = SFTConfig(
    output_dir="qwen2-vl-dots",
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    gradient_checkpointing=True,
    learning_rate=2e-4,
    lr_scheduler_type="cosine",
    warmup_steps=0.1,
    num_train_epochs=3,
    weight_decay=0.01,
    max_length=None,
    bf16=False,
    use_cpu=not torch.cuda.is_available(),
    report_to="none",
)
model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32)
trainer = SFTTrainer(
    model=model,
    args=training_args,
    train_dataset=dataset,
    processing_class=AutoProcessor.from_pretrained(MODEL),
    peft_config=LoraConfig(
        r=8,
        lora_alpha=16,
        lora_dropout=0.05,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        task_type="CAUSAL_LM",
    ),
)

if __name__ == "__main__":
    trainer.train()
