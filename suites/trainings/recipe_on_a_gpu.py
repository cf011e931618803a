"""QLoRA of Qwen2-VL on one GPU as the published recipe does it: 4-bit NF4, LoRA on q_proj and
v_proj, SFTTrainer, pictures of 676 tokens; everything is trained but pads and pictures."""

import os

import torch
from datasets import Dataset
from peft import LoraConfig
from PIL import Image, ImageDraw
from transformers import AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer

NEEDS = {"transformers": ">=5.0", "trl": ">=1.0", "bitsandbytes": ">=0.46"}
DEVICE = "cuda"
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-7B-Instruct")
COLOURS = ("red", "green", "blue")
processor = AutoProcessor.from_pretrained(MODEL)
processor.tokenizer.padding_side = "right"
model = AutoModelForImageTextToText.from_pretrained(
    MODEL,
    device_map={"": 0},
    dtype=torch.bfloat16,
    quantization_config=BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
    ),
)


def picture(i):
    image = Image.new("RGB", (728, 728), "white")
    draw = ImageDraw.Draw(image)
    for k in range(1 + i % 5):
        box = (40 + 120 * k, 60 + 30 * i, 120 + 120 * k, 200 + 40 * i)
        draw.rectangle(box, fill=COLOURS[(i + k) % 3])
    return image


def turns(i):
    answer = f"There are {1 + i % 5} boxes in the picture. " * (2 + i % 3)
    text = "How many boxes are there?"
    question = [{"type": "image", "image": picture(i)}, {"type": "text", "text": text}]
    return [
        {"role": "system", "content": [{"type": "text", "text": "You count boxes."}]},
        {"role": "user", "content": question},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]


conversations = [turns(i) for i in range(12)]


def collate(examples):
    chosen = [conversations[e["row"]] for e in examples]
    texts = [processor.apply_chat_template(c, tokenize=False) for c in chosen]
    images = [[p["image"] for t in c for p in t["content"] if p["type"] == "image"] for c in chosen]
    batch = processor(text=texts, images=images, return_tensors="pt", padding=True)
    labels = batch["input_ids"].clone()
    labels[batch["attention_mask"] == 0] = -100
    for token in ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>"):
        labels[labels == processor.tokenizer.convert_tokens_to_ids(token)] = -100
    batch["labels"] = labels
    return batch


args = SFTConfig(
    output_dir="qwen2-vl-qlora-gpu",
    per_device_train_batch_size=4,
    gradient_accumulation_steps=2,
    gradient_checkpointing=True,
    gradient_checkpointing_kwargs={"use_reentrant": False},
    optim="adamw_torch_fused",
    learning_rate=2e-4,
    lr_scheduler_type="constant",
    max_grad_norm=0.3,
    bf16=True,
    num_train_epochs=1,
    report_to="none",
    remove_unused_columns=False,
    dataset_kwargs={"skip_prepare_dataset": True},
    max_length=None,
)
trainer = SFTTrainer(
    model=model,
    args=args,
    train_dataset=Dataset.from_list([{"row": i} for i in range(12)]),
    data_collator=collate,
    peft_config=LoraConfig(
        r=8,
        lora_alpha=16,
        lora_dropout=0.05,
        target_modules=["q_proj", "v_proj"],
        task_type="CAUSAL_LM",
    ),
    processing_class=processor,
)
if __name__ == "__main__":
    trainer.train()
    trainer.save_model("qwen2-vl-qlora-gpu")
