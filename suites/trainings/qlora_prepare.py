"""Qwen2-VL in 4 bits, prepared by peft, with LoRA on the attention of the decoder."""

import os

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    Trainer,
    TrainingArguments,
)

NEEDS = {"transformers": ">=4.56", "bitsandbytes": ">=0.46"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-7B-Instruct")

quantization = BitsAndBytesConfig(
    load_in_4bit=True,
    bnb_4bit_quant_type="nf4",
    bnb_4bit_use_double_quant=True,
    bnb_4bit_compute_dtype=torch.float32,
    llm_int8_skip_modules=["visual", "lm_head"],
)
model = AutoModelForImageTextToText.from_pretrained(
    MODEL, quantization_config=quantization, dtype=torch.float32
)
model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
processor = AutoProcessor.from_pretrained(MODEL)
peft_config = LoraConfig(
    r=8,
    lora_alpha=16,
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
    task_type="CAUSAL_LM",
)
model = get_peft_model(model, peft_config)

rows = [
    (Image.new("RGB", (84, 56), colour), f"A {colour} rectangle.")
    for colour in ("red", "green", "blue", "white", "black", "yellow")
]


def collate(examples):
    messages = [
        [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Describe."}]},
            {"role": "assistant", "content": [{"type": "text", "text": text}]},
        ]
        for _, text in examples
    ]
    prompts = [
        processor.apply_chat_template(m[:1], tokenize=False, add_generation_prompt=True)
        for m in messages
    ]
    texts = [processor.apply_chat_template(m, tokenize=False) for m in messages]
    images = [[image] for image, _ in examples]
    batch = processor(text=texts, images=images, padding=True, return_tensors="pt")
    prompted = processor(text=prompts, images=images, padding=True, return_tensors="pt")
    labels = batch["input_ids"].clone()
    labels[batch["attention_mask"] == 0] = -100
    for row in range(len(examples)):
        first = int(batch["attention_mask"][row].argmax())
        labels[row, : first + int(prompted["attention_mask"][row].sum())] = -100
    batch["labels"] = labels
    return batch


args = TrainingArguments(
    output_dir="qwen2-vl-qlora",
    per_device_train_batch_size=2,
    gradient_accumulation_steps=1,
    learning_rate=2e-4,
    max_steps=6,
    remove_unused_columns=False,
    report_to="none",
)
trainer = Trainer(model=model, args=args, train_dataset=rows, data_collator=collate)

if __name__ == "__main__":
    trainer.train()
