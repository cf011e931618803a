"""SmolVLM with LoRA and TRL's SFTTrainer, as the Hugging Face cookbook trains it: a collator of its
own whose labels are the ids without padding and image tokens."""

import os

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import AutoProcessor, Idefics3ForConditionalGeneration
from trl import SFTConfig, SFTTrainer

NEEDS = {"transformers": ">=4.56", "trl": ">=0.20"}
MODEL = os.environ.get("MODEL", "HuggingFaceTB/SmolVLM-Instruct")
# The family of the tiny model that stands for it in the suites.
TINY = "idefics3"
SYSTEM = "You read charts. Answer with one word."

model = Idefics3ForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32)
processor = AutoProcessor.from_pretrained(MODEL)


def format_data(colour):
    return [
        {"role": "system", "content": [{"type": "text", "text": SYSTEM}]},
        {
            "role": "user",
            "content": [
                {"type": "image", "image": Image.new("RGB", (96, 64), colour)},
                {"type": "text", "text": "Which colour is the bar?"},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": colour}]},
    ]


colours = ["red", "green", "blue", "orange", "purple", "white", "black", "yellow"]
train_dataset = [format_data(colour) for colour in colours]

peft_config = LoraConfig(
    r=8,
    lora_alpha=8,
    lora_dropout=0.1,
    target_modules=["down_proj", "o_proj", "k_proj", "q_proj", "gate_proj", "up_proj", "v_proj"],
    init_lora_weights="gaussian",
)
model = get_peft_model(model, peft_config)

tokenizer = processor.tokenizer
places = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
of_images = tokenizer.convert_tokens_to_ids(
    ["<image>", "<fake_token_around_image>", "<global-img>", *places]
)


def collate_fn(examples):
    examples = [train_dataset[example["row"]] for example in examples]
    texts = [processor.apply_chat_template(example, tokenize=False) for example in examples]
    images = [[example[1]["content"][0]["image"]] for example in examples]
    batch = processor(text=texts, images=images, return_tensors="pt", padding=True)
    labels = batch["input_ids"].clone()
    labels[labels == tokenizer.pad_token_id] = -100
    labels[torch.isin(labels, torch.tensor(of_images))] = -100
    batch["labels"] = labels
    return batch


training_args = SFTConfig(
    output_dir="smolvlm-charts",
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    warmup_steps=2,
    max_steps=10,
    learning_rate=1e-4,
    weight_decay=0.01,
    logging_steps=1,
    bf16=False,
    gradient_checkpointing=False,
    remove_unused_columns=False,
    dataset_kwargs={"skip_prepare_dataset": True},
    report_to="none",
)
trainer = SFTTrainer(
    model=model,
    args=training_args,
    data_collator=collate_fn,
    train_dataset=Dataset.from_dict({"row": list(range(len(train_dataset)))}),
    processing_class=processor,
)
trainer.train()
