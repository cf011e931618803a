"""Mistakes of a blind trial that were missed; BLIND.md has the whole list."""

from __future__ import annotations

from suites.audits import Mistake
from suites.mistakes._edits import LOOP, LORA, PLAIN, WARMUP, derived

LOADED = "from_pretrained(MODEL).float()\n"
WRAPPED = "model = get_peft_model(model, lora)\n"
ANSWER = '        "answer": f"It is {COLOURS[i]}.",\n'
TURNS = "processor.apply_chat_template([user, answer], tokenize=False)"
# Everything that stands between the dropout of an adapter and the seed of each step.
SEEDED = """    def training_step(self, *inputs, **named):
        torch.manual_seed(42)
        return super().training_step(*inputs, **named)"""

MISTAKES = [
    Mistake(
        "a row of five once more",
        PLAIN,
        (("def collate(examples):\n", "rows += rows[:2]\n\n\ndef collate(examples):\n"),),
        "text.rows_twice",
    ),
    Mistake(
        "the end of another model's texts",
        PLAIN,
        ((ANSWER, ANSWER.replace('."', '.</s>"')),),
        "text.foreign_tokens",
    ),
    Mistake(
        "the system turn twice",
        PLAIN,
        (
            (
                f"texts.append({TURNS})",
                'system = {"role": "system", "content": [{"type": "text", "text": "Be short."}]}\n'
                f"        texts.append({TURNS.replace('[user', '[system, system, user')})",
            ),
            (
                "processor.apply_chat_template([user], tokenize=False, add",
                "processor.apply_chat_template([system] * 2 + [user], tokenize=False, add",
            ),
        ),
        "text.turns_twice",
    ),
    Mistake(
        "the template applied twice",
        PLAIN,
        (
            (
                f"texts.append({TURNS})",
                f"rendered = {TURNS}\n"
                '        part = {"type": "text", "text": rendered}\n'
                '        again = {"role": "user", "content": [part]}\n'
                "        texts.append(processor.apply_chat_template([again], tokenize=False))",
            ),
        ),
        "text.turns_inside_turns",
    ),
    Mistake(
        "pictures made square",
        PLAIN,
        (
            (
                'images.append([example["image"]])',
                'images.append([example["image"].resize((112, 112))])',
            ),
        ),
        "images.proportions",
    ),
    Mistake(
        "a second adapter that is never activated",
        PLAIN,
        ((WRAPPED, f'{WRAPPED}model.add_adapter("second", lora)\n'),),
        "model.adapters_idle",
    ),
    Mistake(
        "new tokens without rows that train",
        PLAIN,
        (
            (
                LOADED,
                LOADED + 'processor.tokenizer.add_tokens(["<box>"], special_tokens=True)\n'
                "model.resize_token_embeddings(len(processor.tokenizer))\n",
            ),
            (ANSWER, ANSWER.replace("It is", "<box> It is")),
        ),
        "model.new_tokens_untrained",
    ),
    # transformers shifts labels that it smooths for classes of texts alone: with pictures each
    # token is asked for itself.
    Mistake(
        "labels smoothed, with pictures",
        PLAIN,
        ((WARMUP, f"{WARMUP}    label_smoothing_factor=0.1,\n"),),
        "forward.loss",
    ),
    # A loss of one's own may smooth rightly: then it is asked whether that is meant.
    Mistake(
        "labels smoothed",
        "own_loss",
        (
            (
                '            reduction="sum",\n',
                '            reduction="sum",\n'
                "            label_smoothing=self.args.label_smoothing_factor,\n",
            ),
            (
                "        warmup_steps=4,\n",
                "        warmup_steps=4,\n        label_smoothing_factor=0.1,\n",
            ),
        ),
        "forward.smoothing",
    ),
    Mistake(
        "a loop that trains after eval()",
        LOOP,
        (("    model.train()\n", "    model.eval()\n"),),
        "forward.trains_in_evaluation",
    ),
    Mistake(
        "clipping switched off",
        PLAIN,
        ((WARMUP, f"{WARMUP}    max_grad_norm=0,\n"),),
        "update.clipping_off",
    ),
    Mistake(
        "warm-up longer than the training",
        PLAIN,
        ((WARMUP, "    warmup_steps=500,\n"),),
        "update.warmup_unfinished",
    ),
    Mistake(
        "the same seed in every step",
        PLAIN,
        (
            ("import os\n", "import os\n\nimport torch\n"),
            (LORA, f"lora_dropout=0.1, {LORA}"),
            *derived(SEEDED),
        ),
        "trajectory.dropout_repeats",
    ),
    Mistake(
        "rows drawn by weight",
        PLAIN,
        derived("""    def _get_train_sampler(self, *args):
        from torch.utils.data import WeightedRandomSampler

        return WeightedRandomSampler([1.0 + i for i in range(8)], 8)"""),
        "trajectory.rows_by_weight",
    ),
]
