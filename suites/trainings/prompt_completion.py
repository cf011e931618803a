"""SFTTrainer on prompt/completion rows with a picture; LoRA of rank 16, the head trained whole."""

import os

from datasets import Dataset
from peft import LoraConfig
from PIL import Image
from trl import SFTConfig, SFTTrainer

NEEDS = {"trl": ">=1.0"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")
SHAPES = [("red", 56, 84), ("green", 84, 56), ("blue", 56, 56), ("black", 112, 56)] * 2


def row(i, colour, width, height):
    return {
        "images": [Image.new("RGB", (width, height), colour)],
        "prompt": [{"role": "user", "content": f"Question {i}: name the colour."}],
        "completion": [{"role": "assistant", "content": f"The picture is {colour}."}],
    }


dataset = Dataset.from_list([row(i, *shape) for i, shape in enumerate(SHAPES)])
lora = LoraConfig(
    r=16,
    lora_alpha=32,
    lora_dropout=0.05,
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
    modules_to_save=["lm_head"],
    task_type="CAUSAL_LM",
)
trainer = SFTTrainer(
    model=MODEL,
    args=SFTConfig(
        output_dir=os.environ.get("OUT", "sft-prompts"),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=2e-4,
        lr_scheduler_type="linear",
        warmup_steps=3,
        max_steps=int(os.environ.get("STEPS", "30")),
        max_length=None,
        model_init_kwargs={"dtype": "float32"},
        bf16=False,
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        report_to="none",
    ),
    train_dataset=dataset,
    peft_config=lora,
)
if __name__ == "__main__":
    trainer.train()
