"""Two pictures a row, one of them turned by its EXIF tag, one transparent: what changed from the
first to the second. A plain Trainer; the collator makes pictures as a viewer shows them."""

import io
import os

import torch
from peft import LoraConfig, get_peft_model
from PIL import Image, ImageDraw, ImageOps
from transformers import (
    AutoProcessor,
    Qwen2VLForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")
MAX_PIXELS = 6 * 28 * 28

processor = AutoProcessor.from_pretrained(MODEL, max_pixels=MAX_PIXELS)
processor.tokenizer.padding_side = "right"
model = Qwen2VLForConditionalGeneration.from_pretrained(MODEL).float()
model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))


def photo(number):
    """As a phone writes it: stored on its side, with the tag that turns it."""
    picture = Image.new("RGB", (112, 56), (40 + 20 * number, 90, 200 - 20 * number))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((4, 4, 30, 50), fill="orange")
    draw.ellipse((60 + number, 10, 100, 40), fill="white")
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture.save(file, "PNG", exif=exif)
    return Image.open(file)


def sticker(number):
    """A drawing on nothing."""
    picture = Image.new("RGBA", (84, 84), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((10 + number, 10, 60, 60), fill=(200, 30 * number, 40, 255))
    return picture


rows = [
    {
        "images": [photo(number), sticker(number)],
        "question": f"What does picture two have that picture one has not, in case {number}?",
        "answer": f"A round sticker, number {number}.",
    }
    for number in range(8)
]


def as_seen(picture):
    picture = ImageOps.exif_transpose(picture)
    if picture.mode == "RGBA":
        ground = Image.new("RGBA", picture.size, "white")
        ground.alpha_composite(picture)
        picture = ground
    return picture.convert("RGB")


def conversation(row):
    places = [{"type": "image"} for _ in row["images"]]
    user = {"role": "user", "content": [*places, {"type": "text", "text": row["question"]}]}
    answer = {"role": "assistant", "content": [{"type": "text", "text": row["answer"]}]}
    return [user, answer]


def collate(examples):
    texts = [processor.apply_chat_template(conversation(row), tokenize=False) for row in examples]
    images = [[as_seen(picture) for picture in row["images"]] for row in examples]
    batch = processor(text=texts, images=images, padding=True, return_tensors="pt")
    labels = batch["input_ids"].clone()
    for number, row in enumerate(examples):
        answer = processor.tokenizer(row["answer"] + "<|im_end|>\n")["input_ids"]
        length = int(batch["attention_mask"][number].sum())
        labels[number, : length - len(answer)] = -100
    labels[batch["attention_mask"] == 0] = -100
    batch["labels"] = labels
    return batch


trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir="two-pictures",
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=1e-4,
        max_steps=10,
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        report_to="none",
    ),
    train_dataset=rows,
    data_collator=collate,
)

if __name__ == "__main__":
    trainer.train()
