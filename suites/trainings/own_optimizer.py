"""All weights but the picture tower's trained, by an optimizer and a schedule made by hand; bf16
autocast; a question on a picture, evaluated on rows of its own."""

import os

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Trainer,
    TrainingArguments,
    get_cosine_schedule_with_warmup,
)

NEEDS = {"transformers": ">=5"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")
STEPS = int(os.environ.get("STEPS", "24"))
processor = AutoProcessor.from_pretrained(MODEL)
model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32)
model.model.visual.requires_grad_(False)
model.model.visual.merger.requires_grad_(True)


class Pictures(Dataset):
    def __init__(self, seeds):
        self.seeds = list(seeds)

    def __len__(self):
        return len(self.seeds)

    def __getitem__(self, i):
        noise = np.random.default_rng(self.seeds[i])
        height, width = 56 + 28 * (i % 2), 56 + 28 * (i % 3)
        pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        pixels[: height // 2, :, 0] = 255
        return {
            "image": Image.fromarray(pixels),
            "question": "What is the mean of the blue channel, and of which seed?",
            "answer": f"{int(pixels[..., 2].mean())}, seed {self.seeds[i]}.",
        }


def collate(rows):
    chats, prompts = [], []
    for row in rows:
        chat = [
            {"role": "system", "content": [{"type": "text", "text": "Answer in numbers."}]},
            {
                "role": "user",
                "content": [{"type": "image"}, {"type": "text", "text": row["question"]}],
            },
        ]
        prompts.append(processor.apply_chat_template(chat, add_generation_prompt=True))
        chats.append(prompts[-1] + row["answer"] + "<|im_end|>")
    images = [[row["image"].convert("RGB")] for row in rows]
    batch = processor(
        text=chats, images=images, padding=True, padding_side="right", return_tensors="pt"
    )
    batch["labels"] = batch["input_ids"].clone()
    for n, (prompt, image) in enumerate(zip(prompts, images, strict=True)):
        size = processor(text=[prompt], images=[image], return_tensors="pt")["input_ids"].shape[1]
        batch["labels"][n, :size] = -100
    batch["labels"][batch["attention_mask"] == 0] = -100
    return batch


decayed, plain = [], []
for parameter in model.parameters():
    if parameter.requires_grad:
        (decayed if parameter.ndim > 1 else plain).append(parameter)
optimizer = torch.optim.AdamW(
    [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}],
    lr=5e-5,
)
scheduler = get_cosine_schedule_with_warmup(optimizer, 2, STEPS)
trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir=os.environ.get("OUT", "own-optimizer"),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=5e-5,
        max_steps=STEPS,
        bf16=True,
        eval_strategy="steps",
        eval_steps=10,
        remove_unused_columns=False,
        save_strategy="no",
        use_cpu=True,
        report_to="none",
    ),
    train_dataset=Pictures(range(8)),
    eval_dataset=Pictures(range(100, 104)),
    data_collator=collate,
    optimizers=(optimizer, scheduler),
)
if __name__ == "__main__":
    trainer.train()
