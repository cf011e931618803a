"""TRL's DPO of a vision model, the way of its dpo_vlm.py: pairs of answers to a picture's question,
LoRA's adapter against the model without it."""

import os

import torch
from datasets import Dataset, Features, Image, List, Value
from peft import LoraConfig
from PIL import Image as Pictures
from PIL import ImageDraw
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import DPOConfig, DPOTrainer

NEEDS = {"trl": ">=1.0"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")
COUNTS = {1: "one dot", 2: "two dots", 3: "three dots", 4: "four dots in a row, from left to right"}


def dots(count, colour):
    picture = Pictures.new("RGB", (112, 84), "ivory")
    draw = ImageDraw.Draw(picture)
    for i in range(count):
        draw.ellipse((8 + 26 * i, 34, 24 + 26 * i, 50), fill=colour)
    return picture


def pairs():
    for number in range(16):
        count, colour = number % 4 + 1, ["navy", "crimson", "teal", "black"][number // 4]
        yield {
            "images": [dots(count, colour)],
            "prompt": [{"role": "user", "content": f"How many {colour} dots are there?"}],
            "chosen": [{"role": "assistant", "content": f"I count {COUNTS[count]}."}],
            "rejected": [{"role": "assistant", "content": f"About {COUNTS[count % 4 + 1]}."}],
        }


turns = List({"role": Value("string"), "content": Value("string")})
dataset = Dataset.from_generator(
    pairs,
    features=Features(
        {"images": List(Image()), "prompt": turns, "chosen": turns, "rejected": turns}
    ),
    keep_in_memory=True,
)

training_args = DPOConfig(
    output_dir="qwen2-vl-preferred",
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    learning_rate=1e-5,
    warmup_steps=1,
    num_train_epochs=2,
    beta=0.1,
    max_length=None,
    gradient_checkpointing=True,
    bf16=False,
    use_cpu=not torch.cuda.is_available(),
    report_to="none",
)
trainer = DPOTrainer(
    model=AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32),
    args=training_args,
    train_dataset=dataset,
    processing_class=AutoProcessor.from_pretrained(MODEL),
    peft_config=LoraConfig(
        r=8,
        lora_alpha=16,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        task_type="CAUSAL_LM",
    ),
)

if __name__ == "__main__":
    trainer.train()
