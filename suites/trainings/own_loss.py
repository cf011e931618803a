"""A Trainer of one's own: compute_loss by num_items_in_batch; two turns of talk about a picture."""

import os

import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import (
    AutoProcessor,
    Qwen2VLForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

NEEDS = {"transformers": ">=5"}
MODEL = os.environ.get("MODEL", "Qwen/Qwen2-VL-2B-Instruct")
processor = AutoProcessor.from_pretrained(MODEL, min_pixels=56 * 56, max_pixels=112 * 112)
processor.tokenizer.padding_side = "right"
model = Qwen2VLForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32)
model = get_peft_model(
    model,
    LoraConfig(
        r=16,
        lora_alpha=16,
        lora_dropout=0.1,
        target_modules=r".*language_model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj",
    ),
)


def talk(i, colour, size):
    return {
        "picture": Image.new("RGB", size, colour),
        "turns": [
            ("What colour do you see?", f"I see {colour}."),
            (f"And is number {i} even?", "Yes, it is." if i % 2 == 0 else "No."),
        ],
    }


COLOURS = ["red", "green", "blue", "orange", "purple", "white", "black", "yellow"]
SIZES = [(56, 56), (84, 56), (56, 112), (112, 84)]
rows = [talk(i, colour, SIZES[i % 4]) for i, colour in enumerate(COLOURS)]


class Collator:
    def __init__(self, processor):
        self.processor = processor
        self.start = processor.tokenizer.encode("<|im_start|>assistant\n")
        self.end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")

    def messages(self, row):
        turns = []
        for n, (question, answer) in enumerate(row["turns"]):
            content = [{"type": "text", "text": question}]
            if n == 0:
                content.insert(0, {"type": "image"})
            turns.append({"role": "user", "content": content})
            turns.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        return turns

    def __call__(self, rows):
        texts = [self.processor.apply_chat_template(self.messages(row)) for row in rows]
        pictures = [row["picture"] for row in rows]
        batch = self.processor(text=texts, images=pictures, padding=True, return_tensors="pt")
        labels = torch.full_like(batch["input_ids"], -100)
        for n, ids in enumerate(batch["input_ids"].tolist()):
            at = 0
            while at < len(ids):
                if ids[at : at + len(self.start)] == self.start:
                    first = at + len(self.start)
                    last = ids.index(self.end, first)
                    labels[n, first : last + 1] = batch["input_ids"][n, first : last + 1]
                    at = last
                at += 1
        batch["labels"] = labels
        return batch


class OwnTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        logits = outputs.logits[:, :-1].float()
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]),
            labels[:, 1:].reshape(-1),
            ignore_index=-100,
            reduction="sum",
        )
        count = (labels[:, 1:] != -100).sum() if num_items_in_batch is None else num_items_in_batch
        loss = loss / count
        return (loss, outputs) if return_outputs else loss


trainer = OwnTrainer(
    model=model,
    args=TrainingArguments(
        output_dir=os.environ.get("OUT", "own-loss"),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        learning_rate=1e-4,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=4,
        max_steps=int(os.environ.get("STEPS", "40")),
        gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        remove_unused_columns=False,
        save_strategy="no",
        use_cpu=True,
        report_to="none",
    ),
    train_dataset=rows,
    data_collator=Collator(processor),
)
if __name__ == "__main__":
    trainer.train()
