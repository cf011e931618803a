"""Qwen2-VL with LoRA and a plain transformers.Trainer, as a script: the collator masks all but the
answer itself."""

import os

from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import (
    AutoProcessor,
    Qwen2VLForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")

processor = AutoProcessor.from_pretrained(MODEL)
model = Qwen2VLForConditionalGeneration.from_pretrained(MODEL).float()
lora = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
model = get_peft_model(model, lora)

COLOURS = ["red", "green", "blue", "orange", "purple", "white", "black", "yellow"]
rows = [
    {
        "image": Image.new("RGB", (56 + 28 * (i % 3), 56 + 28 * (i % 2)), COLOURS[i]),
        "question": "Which colour is it?",
        "answer": f"It is {COLOURS[i]}.",
    }
    for i in range(8)
]


def collate(examples):
    texts, prompts, images = [], [], []
    for example in examples:
        user = {
            "role": "user",
            "content": [{"type": "image"}, {"type": "text", "text": example["question"]}],
        }
        answer = {"role": "assistant", "content": [{"type": "text", "text": example["answer"]}]}
        texts.append(processor.apply_chat_template([user, answer], tokenize=False))
        prompts.append(
            processor.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
        )
        images.append([example["image"]])
    batch = processor(text=texts, images=images, padding=True, return_tensors="pt")
    labels = batch["input_ids"].clone()
    for row, (prompt, pictures) in enumerate(zip(prompts, images, strict=True)):
        length = processor(text=[prompt], images=[pictures], return_tensors="pt")[
            "input_ids"
        ].shape[1]
        start = (
            int((batch["attention_mask"][row] == 0).sum())
            if processor.tokenizer.padding_side == "left"
            else 0
        )
        labels[row, : start + length] = -100
    labels[batch["attention_mask"] == 0] = -100
    batch["labels"] = labels
    return batch


arguments = TrainingArguments(
    output_dir="qwen2-vl-colours",
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    learning_rate=1e-4,
    warmup_steps=2,
    max_steps=20,
    logging_steps=1,
    remove_unused_columns=False,
    report_to="none",
)
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=rows,
    data_collator=collate,
)

if __name__ == "__main__":
    trainer.train()
