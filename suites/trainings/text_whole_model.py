"""Full fine-tuning of the language model on text rows: plain Trainer, pads on the left."""

import os

import torch
from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration, Trainer, TrainingArguments

NEEDS = {"transformers": ">=5"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")
tokenizer = AutoTokenizer.from_pretrained(MODEL, padding_side="left")
model = Qwen2VLForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32)
for name, parameter in model.named_parameters():
    if ".visual." in name:
        parameter.requires_grad = False

FACTS = [
    ("What is two plus two?", "Four."),
    ("Name a colour of the sky in the evening.", "Red, or orange."),
    ("Is fire cold?", "No, it is hot."),
    ("What does a cat say?", "It says meow."),
    ("How many legs has a spider?", "A spider has eight legs."),
    ("Which is larger, the sun or the moon?", "The sun."),
    ("What do bees make?", "Honey and wax."),
    ("Is ice a liquid?", "No."),
]


def encode(question, answer):
    prompt = [{"role": "user", "content": question}]
    start = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    whole = tokenizer.apply_chat_template(
        [*prompt, {"role": "assistant", "content": answer}], tokenize=False
    ).rstrip("\n")
    ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    length = len(tokenizer(start, add_special_tokens=False)["input_ids"])
    return {"input_ids": ids, "labels": [-100] * length + ids[length:]}


rows = [encode(q, a) for q, a in FACTS]


def collate(features):
    longest = max(len(f["input_ids"]) for f in features)
    ids, masks, labels = [], [], []
    for f in features:
        gap = longest - len(f["input_ids"])
        ids.append([tokenizer.pad_token_id] * gap + f["input_ids"])
        masks.append([0] * gap + [1] * len(f["input_ids"]))
        labels.append([-100] * gap + f["labels"])
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.tensor(masks),
        "labels": torch.tensor(labels),
    }


trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir=os.environ.get("OUT", "text-full"),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=2e-5,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        weight_decay=0.1,
        max_steps=int(os.environ.get("STEPS", "30")),
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        report_to="none",
    ),
    train_dataset=rows,
    data_collator=collate,
)
if __name__ == "__main__":
    trainer.train()
