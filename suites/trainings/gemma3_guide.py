"""Gemma 3 in the way of its publisher's guide: TRL's SFTTrainer with a collator of one's own over
conversations that hold their pictures, LoRA on every linear layer, a constant rate."""

import io
import os

import torch
from datasets import Dataset
from peft import LoraConfig
from PIL import Image, ImageDraw
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig, SFTTrainer

NEEDS = {"trl": ">=1.0"}
MODEL = os.environ.get("MODEL", "google/gemma-3-4b-it")
# The family of the tiny model that stands for it in the suites.
TINY = "gemma3"

model = AutoModelForImageTextToText.from_pretrained(
    MODEL, attn_implementation="eager", dtype=torch.float32
)
processor = AutoProcessor.from_pretrained(MODEL)
tokenizer = processor.tokenizer
of_images = [tokenizer.boi_token_id, tokenizer.image_token_id, tokenizer.eoi_token_id]

PRODUCTS = ["a mug", "a lamp that is as high as a door", "a box", "a ball"]


def product(number):
    picture = Image.new("RGB", (56 + 28 * (number % 3), 84), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((8, 10 + 4 * number, 40, 30 + 4 * number), fill=["red", "blue"][number % 2])
    return picture


def format_data(number):
    name = PRODUCTS[number % 4]
    return {
        "messages": [
            {
                "role": "system",
                "content": [{"type": "text", "text": "You write for a shop."}],
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": f"Describe article {number}: {name}."},
                    {"type": "image", "image": product(number)},
                ],
            },
            {
                "role": "assistant",
                "content": [{"type": "text", "text": f"Article {number} is {name}."}],
            },
        ]
    }


dataset = Dataset.from_list([format_data(number) for number in range(12)])


def process_vision_info(messages):
    return [
        Image.open(io.BytesIO(part["image"]["bytes"])).convert("RGB")
        for message in messages
        for part in message["content"]
        if part["type"] == "image"
    ]


def collate_fn(examples):
    texts, images = [], []
    for example in examples:
        images.append(process_vision_info(example["messages"]))
        text = processor.apply_chat_template(
            example["messages"], add_generation_prompt=False, tokenize=False
        )
        texts.append(text.strip())
    # The guide leaves the last argument out, and every row begins with two begin tokens.
    batch = processor(
        text=texts, images=images, return_tensors="pt", padding=True, add_special_tokens=False
    )
    labels = batch["input_ids"].clone()
    labels[labels == tokenizer.pad_token_id] = -100
    for token_id in of_images:
        labels[labels == token_id] = -100
    batch["labels"] = labels
    return batch


args = SFTConfig(
    output_dir="gemma-product-description",
    num_train_epochs=1,
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    gradient_checkpointing=True,
    gradient_checkpointing_kwargs={"use_reentrant": False},
    optim="adamw_torch_fused",
    learning_rate=2e-4,
    bf16=False,
    use_cpu=not torch.cuda.is_available(),
    max_grad_norm=0.3,
    lr_scheduler_type="constant",
    report_to="none",
    dataset_text_field="",
    dataset_kwargs={"skip_prepare_dataset": True},
)
args.remove_unused_columns = False
trainer = SFTTrainer(
    model=model,
    args=args,
    train_dataset=dataset,
    peft_config=LoraConfig(
        lora_alpha=16,
        lora_dropout=0.05,
        r=16,
        bias="none",
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    ),
    processing_class=processor,
    data_collator=collate_fn,
)

if __name__ == "__main__":
    trainer.train()
