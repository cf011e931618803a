"""Trainings as small as one can be: a Linear that gives a loss, no tokenizer; texts of scripts."""

# Rows of four tokens, no two of which are alike, and their targets.
SMALL = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers import Trainer, TrainerCallback, TrainingArguments


class Config(PretrainedConfig):
    model_type = "small"


class Small(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.linear = torch.nn.Linear(4, 11)

    def forward(self, input_ids, labels=None, **rest):
        logits = self.linear(torch.nn.functional.one_hot(input_ids, 4).float())
        if labels is None:
            return {"logits": logits}
        return {"loss": torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())}
"""

SAME_ROWS = """
rows = [{"input_ids": [0, 1, 2, 3], "labels": [1, 2, 3, 10]}] * 4


def build(**given):
    given = {"output_dir": "mine", "use_cpu": True, **given}
    return Trainer(model=Small(Config()), args=TrainingArguments(**given), train_dataset=rows)
"""

OTHER_ROWS = """
rows = [
    {"input_ids": [i % 4, i // 4, (i + 1) % 4, 3], "labels": [i // 4, (i + 1) % 4, 3, 10]}
    for i in range(16)
]


def build(**given):
    given = {"output_dir": "mine", "use_cpu": True, **given}
    return Trainer(model=Small(Config()), args=TrainingArguments(**given), train_dataset=rows)
"""

# An accelerate loop over those rows that writes down the ids it trains on.
LOOP = """
import json

from accelerate import Accelerator

torch.manual_seed(5)
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
model = Small(Config())
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)


def collate(rows):
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}


loader = torch.utils.data.DataLoader(rows, batch_size=2, shuffle=True, collate_fn=collate)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
print("a look at the data", next(iter(loader))["input_ids"].shape)
trained = []
for epoch in range(1000):
    for batch in loader:
        trained.append(batch["input_ids"].tolist())
        with open("trained.json", "w") as file:
            json.dump(trained, file)
        with accelerator.accumulate(model):
            loss = model(**batch)["loss"]
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
raise SystemExit("it went on to its end")
"""

# The same with a loss of its own, whose labels the model is not given.
OWN_LOSS = (
    'loss = model(**batch)["loss"]',
    'labels = batch.pop("labels")\n'
    '            logits = model(**batch)["logits"]\n'
    "            loss = torch.nn.functional.cross_entropy("
    "logits.flatten(0, 1), labels.flatten())",
)
