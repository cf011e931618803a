"""Mistakes in trainings on preference pairs."""

from __future__ import annotations

from suites.audits import Mistake

PAIRS = "dpo_pictures"
TRAIN = 'if __name__ == "__main__":\n'
MADE = "trainer = DPOTrainer(\n"

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
