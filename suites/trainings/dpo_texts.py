"""TRL's DPO on pairs of texts that it tokenizes beforehand, with the chosen answers' cross-entropy
added (RPO), LoRA on the attention."""

import os

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration
from trl import DPOConfig, DPOTrainer

NEEDS = {"trl": ">=1.0"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")
FACTS = [
    ("What do bees make?", "Honey and wax.", "Milk."),
    ("Is ice a liquid?", "No, it is solid water.", "Yes."),
    ("Name a colour of the evening sky.", "Red.", "It has none, as far as anybody can see."),
    ("How many legs has a spider?", "A spider has eight legs.", "Six legs."),
    ("Which is larger, the sun or the moon?", "The sun.", "The moon, by far."),
    ("What does a cat say?", "It says meow.", "It barks."),
    ("Where does the sun rise?", "In the east.", "In the west, and sets there."),
    ("What is two plus two?", "Four.", "Five, on most days."),
]


def pair(question, chosen, rejected):
    return {
        "prompt": [{"role": "user", "content": question}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }


trainer = DPOTrainer(
    model=Qwen2VLForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32),
    args=DPOConfig(
        output_dir="preferred-texts",
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=5e-6,
        warmup_steps=1,
        num_train_epochs=4,
        beta=0.1,
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, 0.5],
        max_length=None,
        bf16=False,
        use_cpu=not torch.cuda.is_available(),
        report_to="none",
    ),
    train_dataset=Dataset.from_list([pair(*fact) for fact in FACTS]),
    processing_class=AutoTokenizer.from_pretrained(MODEL),
    peft_config=LoraConfig(
        r=8,
        lora_alpha=16,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        task_type="CAUSAL_LM",
    ),
)

if __name__ == "__main__":
    trainer.train()
