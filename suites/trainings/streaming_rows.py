"""TRL's SFTTrainer over rows that stream: the dataset has no length, so the steps are counted, and
a buffer shuffles what comes."""

import os

import torch
from datasets import Features, Image, IterableDataset, List, Value
from peft import LoraConfig
from PIL import Image as Pictures
from PIL import ImageDraw
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig, SFTTrainer

NEEDS = {"trl": ">=1.0"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")
PLACES = ["at the left", "in the middle", "at the right, next to the edge of the picture"]


def drawn(place, colour):
    picture = Pictures.new("RGB", (112, 56), "ivory")
    x = 6 + 36 * place
    ImageDraw.Draw(picture).rectangle((x, 14, x + 26, 42), fill=colour)
    return picture


def stream():
    for number in range(24):
        place, colour = number % 3, ["navy", "crimson", "teal", "black"][number % 4]
        yield {
            "images": [drawn(place, colour)],
            "prompt": [{"role": "user", "content": f"Where is the {colour} box?"}],
            "completion": [{"role": "assistant", "content": f"It is {PLACES[place]}."}],
        }


turns = List({"role": Value("string"), "content": Value("string")})
features = Features({"images": List(Image()), "prompt": turns, "completion": turns})
dataset = IterableDataset.from_generator(stream, features=features)
dataset = dataset.shuffle(seed=42, buffer_size=8)

training_args = SFTConfig(
    output_dir="qwen2-vl-streamed",
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    learning_rate=1e-4,
    max_steps=12,
    warmup_steps=1,
    max_length=None,
    gradient_checkpointing=False,
    bf16=False,
    use_cpu=not torch.cuda.is_available(),
    report_to="none",
)
trainer = SFTTrainer(
    model=AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32),
    args=training_args,
    train_dataset=dataset,
    processing_class=AutoProcessor.from_pretrained(MODEL),
    peft_config=LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]),
)

if __name__ == "__main__":
    trainer.train()
