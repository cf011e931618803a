"""Qwen2-VL on chart questions with TRL's SFTTrainer and a collator of one's own, the way of the
Hugging Face cookbook: everything is trained but padding and what stands for pictures."""

import os

import torch
from datasets import Dataset
from peft import LoraConfig
from PIL import Image, ImageDraw
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig, SFTTrainer

NEEDS = {"trl": ">=1.0"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-7B-Instruct")
SYSTEM = "You read charts. Answer in few words."

processor = AutoProcessor.from_pretrained(MODEL, min_pixels=56 * 56, max_pixels=8 * 28 * 28)
model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32)


def chart(heights):
    picture = Image.new("RGB", (112, 84), "white")
    draw = ImageDraw.Draw(picture)
    for i, height in enumerate(heights):
        colour = ("navy", "crimson", "seagreen")[i]
        draw.rectangle((12 + 34 * i, 80 - height, 34 + 34 * i, 80), fill=colour)
    return picture


samples = [
    {
        "image": chart((10 + 7 * i, 70 - 8 * i, 20 + 3 * i)),
        "query": f"How high is the {('first', 'second', 'third')[i % 3]} bar?",
        "label": [str((10 + 7 * i, 70 - 8 * i, 20 + 3 * i)[i % 3])],
    }
    for i in range(8)
]


def format_data(sample):
    return [
        {"role": "system", "content": [{"type": "text", "text": SYSTEM}]},
        {
            "role": "user",
            "content": [
                {"type": "image", "image": sample["image"]},
                {"type": "text", "text": sample["query"]},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": sample["label"][0]}]},
    ]


train_dataset = Dataset.from_list(samples)


def pictures_in(conversation):
    return [
        part["image"]
        for turn in conversation
        for part in turn["content"]
        if part["type"] == "image"
    ]


def collate_fn(examples):
    conversations = [format_data(example) for example in examples]
    texts = [processor.apply_chat_template(c, tokenize=False) for c in conversations]
    images = [pictures_in(conversation) for conversation in conversations]
    batch = processor(text=texts, images=images, return_tensors="pt", padding=True)
    labels = batch["input_ids"].clone()
    labels[labels == processor.tokenizer.pad_token_id] = -100
    for token in ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>"):
        labels[labels == processor.tokenizer.convert_tokens_to_ids(token)] = -100
    batch["labels"] = labels
    return batch


peft_config = LoraConfig(
    lora_alpha=16,
    lora_dropout=0.05,
    r=8,
    bias="none",
    target_modules=["q_proj", "v_proj"],
    task_type="CAUSAL_LM",
)
training_args = SFTConfig(
    output_dir="qwen2-7b-instruct-trl-sft-ChartQA",
    num_train_epochs=3,
    per_device_train_batch_size=4,
    gradient_accumulation_steps=2,
    gradient_checkpointing=True,
    gradient_checkpointing_kwargs={"use_reentrant": False},
    optim="adamw_torch_fused",
    learning_rate=2e-4,
    lr_scheduler_type="constant",
    max_grad_norm=0.3,
    warmup_steps=3,
    bf16=False,
    use_cpu=not torch.cuda.is_available(),
    report_to="none",
    remove_unused_columns=False,
    dataset_kwargs={"skip_prepare_dataset": True},
    max_length=1024,
)
trainer = SFTTrainer(
    model=model,
    args=training_args,
    train_dataset=train_dataset,
    data_collator=collate_fn,
    peft_config=peft_config,
    processing_class=processor,
)

if __name__ == "__main__":
    trainer.train()
    trainer.save_model(training_args.output_dir)
