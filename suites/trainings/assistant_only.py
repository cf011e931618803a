"""Conversations of several turns with TRL's assistant_only_loss: the chat template marks what the
assistant says, and nothing else is trained."""

import os

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForImageTextToText, AutoTokenizer
from trl import SFTConfig, SFTTrainer

NEEDS = {"trl": ">=1.0"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")
# What the model's own template writes, with the answers marked.
TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['role'] == 'assistant' -%}
{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}{{- '\\n' -}}
{%- else -%}{{- message['content'] + '<|im_end|>\\n' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""

tokenizer = AutoTokenizer.from_pretrained(MODEL)
tokenizer.chat_template = TEMPLATE
model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32)

things = ["a red mug", "a blue lamp", "a green chair", "a black clock"]
messages = [
    [
        {"role": "system", "content": "You sell things in few words."},
        {"role": "user", "content": f"What is {thing} good for?"},
        {"role": "assistant", "content": f"Buy {thing} and be glad."},
        {"role": "user", "content": f"How much is it, number {number}?"},
        {"role": "assistant", "content": f"It is {10 + number} euros."},
    ]
    for number, thing in enumerate(things * 4)
]
dataset = Dataset.from_dict({"messages": messages})

training_args = SFTConfig(
    output_dir="assistant-only",
    per_device_train_batch_size=2,
    gradient_accumulation_steps=2,
    learning_rate=1e-4,
    max_steps=10,
    max_length=512,
    assistant_only_loss=True,
    bf16=False,
    use_cpu=not torch.cuda.is_available(),
    report_to="none",
)
trainer = SFTTrainer(
    model=model,
    args=training_args,
    train_dataset=dataset,
    processing_class=tokenizer,
    peft_config=LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]),
)

if __name__ == "__main__":
    trainer.train()
