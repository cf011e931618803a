"""SmolVLM with rank-stabilised LoRA on rows that are conversations, made as they are read: the
picture stands between two texts, and pictures of several shapes have several numbers of tiles."""

import os

from datasets import Dataset
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import (
    AutoProcessor,
    Idefics3ForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

NEEDS = {"transformers": ">=4.56"}
MODEL = os.environ.get("MODEL", "HuggingFaceTB/SmolVLM-256M-Instruct")
# The family of the tiny model that stands for it in the suites.
TINY = "idefics3"

processor = AutoProcessor.from_pretrained(MODEL)
tokenizer = processor.tokenizer
tokenizer.padding_side = "right"
model = Idefics3ForConditionalGeneration.from_pretrained(MODEL).float()
lora = LoraConfig(
    r=8,
    lora_alpha=8,
    use_rslora=True,
    target_modules=r".*text_model.*\.(q_proj|k_proj|v_proj|o_proj)",
    task_type="CAUSAL_LM",
)
model = get_peft_model(model, lora)

COLOURS = ["red", "green", "blue", "orange", "purple", "white", "black", "yellow"]
SIZES = [(84, 56), (56, 84), (112, 56), (84, 84)]


def to_conversations(batch):
    batch["messages"] = [
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Answer briefly."},
                    {"type": "image"},
                    {"type": "text", "text": question},
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": answer}]},
        ]
        for question, answer in zip(batch["question"], batch["answer"], strict=True)
    ]
    return batch


rows = Dataset.from_list(
    [
        {
            "image": Image.new("RGB", SIZES[i % 4], colour),
            "question": "Which colour is it?",
            "answer": f"It is {colour}.",
        }
        for i, colour in enumerate(COLOURS)
    ]
).with_transform(to_conversations)


def collate(examples):
    images = [[example["image"].convert("RGB")] for example in examples]
    texts = [processor.apply_chat_template(row["messages"]) for row in examples]
    batch = processor(text=texts, images=images, padding=True, return_tensors="pt")
    labels = batch["input_ids"].clone()
    labels[batch["attention_mask"] == 0] = -100
    for row, (example, pictures) in enumerate(zip(examples, images, strict=True)):
        prompt = processor.apply_chat_template(example["messages"][:1], add_generation_prompt=True)
        asked = processor(text=[prompt], images=[pictures], return_tensors="pt")
        labels[row, : asked["input_ids"].shape[1]] = -100
    batch["labels"] = labels
    return batch


arguments = TrainingArguments(
    output_dir="smolvlm-colours",
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    learning_rate=1e-4,
    warmup_steps=1,
    max_steps=20,
    remove_unused_columns=False,
    report_to="none",
)
trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)

if __name__ == "__main__":
    trainer.train()
