"""Mistakes in trainings on preference pairs."""

from __future__ import annotations

from suites.audits import Mistake

PAIRS = "dpo_pictures"
TRAIN = 'if __name__ == "__main__":\n'
MADE = "trainer = DPOTrainer(\n"

TEXTS = "dpo_texts"
# The model itself instead of adapters: its copy is the reference.
WHOLE = (
    "    peft_config=LoraConfig(\n"
    "        r=8,\n"
    "        lora_alpha=16,\n"
    '        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],\n'
    '        task_type="CAUSAL_LM",\n'
    "    ),\n",
    "",
)

MISTAKES = [
    # Another strength of the preference than the arguments say.
    Mistake(
        "beta set after the arguments were read",
        PAIRS,
        ((TRAIN, f"trainer.beta = 0.5\n\n{TRAIN}"),),
        "forward.preference_loss",
    ),
    Mistake(
        "chosen and rejected answers change places",
        PAIRS,
        (
            (
                MADE,
                "class OwnTrainer(DPOTrainer):\n"
                "    def compute_loss(self, model, inputs, *rest, **named):\n"
                '        exchanged = {"input_ids", "attention_mask", "completion_mask"}\n'
                "        inputs = {\n"
                "            name: value.roll(len(value) // 2, 0) if name in exchanged else value\n"
                "            for name, value in inputs.items()\n"
                "        }\n"
                "        return super().compute_loss(model, inputs, *rest, **named)\n\n\n"
                "trainer = OwnTrainer(\n",
            ),
        ),
        "forward.preference_loss",
    ),
    Mistake(
        "the collator exchanges chosen and rejected",
        PAIRS,
        (
            (
                TRAIN,
                "collate = trainer.data_collator\n\n\n"
                "def exchanged(rows):\n"
                "    return collate(\n"
                "        [\n"
                '            {**row, "chosen": row["rejected"], "rejected": row["chosen"]}\n'
                "            for row in rows\n"
                "        ]\n"
                "    )\n\n\n"
                f"trainer.data_collator = exchanged\n\n{TRAIN}",
            ),
        ),
        "text.answers_exchanged",
    ),
    Mistake(
        "both answers are the chosen one",
        PAIRS,
        (
            (
                'f"About {COUNTS[count % 4 + 1]}."',
                'f"I count {COUNTS[count]}."',
            ),
        ),
        "text.answers_alike",
    ),
    Mistake(
        "rejected answers stand behind the other pair's picture",
        PAIRS,
        (
            (
                TRAIN,
                "collate = trainer.data_collator\n\n\n"
                "def moved(rows):\n"
                "    batch = collate(rows)\n"
                '    chosen, rejected = batch["pixel_values"].chunk(2)\n'
                "    rejected = rejected.roll(len(rejected) // 2, 0)\n"
                '    batch["pixel_values"] = torch.cat([chosen, rejected])\n'
                "    return batch\n\n\n"
                f"trainer.data_collator = moved\n\n{TRAIN}",
            ),
        ),
        "images.other_rows",
    ),
    Mistake(
        "the question is scored too",
        PAIRS,
        (
            (
                TRAIN,
                "collate = trainer.data_collator\n"
                'pictures = ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>"]\n'
                "tokenizer = trainer.processing_class.tokenizer\n"
                "pictures = torch.tensor(tokenizer.convert_tokens_to_ids(pictures))\n\n\n"
                "def scored_texts(rows):\n"
                "    batch = collate(rows)\n"
                '    texts = ~torch.isin(batch["input_ids"], pictures)\n'
                '    batch["completion_mask"] = batch["attention_mask"] * texts\n'
                "    return batch\n\n\n"
                f"trainer.data_collator = scored_texts\n\n{TRAIN}",
            ),
        ),
        "labels.prompt_trained",
    ),
    Mistake(
        "a smaller loss than the arguments say, of several",
        PAIRS,
        (
            (
                "    beta=0.1,\n",
                '    beta=0.1,\n    loss_type=["sigmoid", "sft"],\n    loss_weights=[0.8, 1.0],\n',
            ),
            (TRAIN, f"trainer.loss_weights = [0.8, 0.1]\n\n{TRAIN}"),
        ),
        "forward.preference_loss",
    ),
    Mistake(
        "beta set after the arguments were read, of a model that trains whole",
        TEXTS,
        (WHOLE, (TRAIN, f"trainer.beta = 0.5\n\n{TRAIN}")),
        "forward.preference_loss",
    ),
    Mistake(
        "the reference trains too",
        TEXTS,
        (WHOLE, (TRAIN, f"trainer.ref_model = trainer.model\n\n{TRAIN}")),
        "forward.reference_trains",
    ),
    Mistake(
        "the prompt is scored too",
        PAIRS,
        (
            (
                TRAIN,
                "collate = trainer.data_collator\n\n\n"
                "def scored_whole(rows):\n"
                "    batch = collate(rows)\n"
                '    batch["completion_mask"] = batch["attention_mask"].clone()\n'
                "    return batch\n\n\n"
                f"trainer.data_collator = scored_whole\n\n{TRAIN}",
            ),
        ),
        "labels.image_tokens_trained",
    ),
]
