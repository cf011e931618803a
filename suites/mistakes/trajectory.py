"""Mistakes in what a training is over its steps and leaves behind: dropout, random numbers, order,
saving."""

from suites.audits import Mistake
from suites.mistakes._edits import ARGUMENTS, LORA, PLAIN, derived

RANDOM = [
    Mistake(
        "dropout never on in training",
        PLAIN,
        (
            (LORA, f"lora_dropout=0.1, {LORA}"),
            *derived("""    def compute_loss(self, model, *args, **kwargs):
        model.eval()
        return super().compute_loss(model, *args, **kwargs)"""),
        ),
        "trajectory.dropout_in_training",
    ),
    Mistake(
        "dropout on in evaluation",
        PLAIN,
        (
            (LORA, f"lora_dropout=0.1, {LORA}"),
            *derived("""    def prediction_step(self, model, *args, **kwargs):
        model.train()
        return super().prediction_step(model, *args, **kwargs)"""),
        ),
        "trajectory.dropout_in_evaluation",
    ),
    Mistake(
        "generator without a seed",
        PLAIN,
        (
            ("COLOURS = [", "rng = random.Random()\nCOLOURS = ["),
            ("import os\n", "import os\nimport random\n"),
            (
                '{"type": "text", "text": example["question"]}',
                '{"type": "text", "text": rng.choice([example["question"], "Which colour?"])}',
            ),
        ),
        "trajectory.unseeded_generators",
    ),
    Mistake(
        "augmentation from the clock",
        PLAIN,
        (
            ("import os\n", "import os\nimport time\n"),
            (
                '{"type": "text", "text": example["question"]}',
                '{"type": "text", "text": example["question"] + " " * (time.time_ns() // 7 % 5)}',
            ),
        ),
        "trajectory.batches_repeat",
    ),
    Mistake(
        "rows in the file's order",
        PLAIN,
        derived("""    def _get_train_sampler(self, *args):
        from torch.utils.data import SequentialSampler

        return SequentialSampler(self.train_dataset)"""),
        "trajectory.shuffled",
    ),
    Mistake(
        "rows drawn with replacement",
        PLAIN,
        derived("""    def _get_train_sampler(self, *args):
        from torch.utils.data import RandomSampler

        return RandomSampler(self.train_dataset, replacement=True, num_samples=64)"""),
        "trajectory.rows_repeated",
    ),
    Mistake(
        "one row for every number",
        PLAIN,
        (
            (
                ARGUMENTS,
                f'''class Rows:
    """Reads rows when they are asked for."""

    def __len__(self):
        return len(rows)

    def __getitem__(self, number):
        return rows[0]


{ARGUMENTS}''',
            ),
            ("train_dataset=rows", "train_dataset=Rows()"),
        ),
        "trajectory.distinct_rows",
    ),
]

SAVED = [
    Mistake(
        "adapter tensors lost when saved",
        PLAIN,
        derived("""    def _save(self, output_dir=None, state_dict=None):
        state = {n: p for n, p in self.model.state_dict().items() if "v_proj" in n}
        self.model.save_pretrained(output_dir, state_dict=state)"""),
        "trajectory.saved_missing",
    ),
    Mistake(
        "merged without its scaling",
        PLAIN,
        derived("""    def _save(self, output_dir=None, state_dict=None):
        from copy import deepcopy

        merged = deepcopy(self.model)
        for module in merged.modules():
            if hasattr(module, "lora_A"):
                module.scaling = dict.fromkeys(module.scaling, 1.0)
        merged.merge_and_unload().save_pretrained(output_dir)"""),
        "trajectory.saved_gap",
    ),
    Mistake(
        "scaling changed after the adapter was built",
        PLAIN,
        (
            (
                "COLOURS = [",
                "for module in model.modules():\n"
                '    if hasattr(module, "lora_A"):\n'
                '        module.scaling["default"] *= 4\n\nCOLOURS = [',
            ),
        ),
        "model.adapters_scaled_otherwise",
    ),
    Mistake(
        "adapter doubled by a hook",
        PLAIN,
        (
            (
                "COLOURS = [",
                "for name, module in model.named_modules():\n"
                '    if name.endswith("lora_B.default"):\n'
                "        module.register_forward_hook(lambda module, args, output: 2 * output)\n\n"
                "COLOURS = [",
            ),
        ),
        "trajectory.adapter_output",
    ),
]

MISTAKES = [*RANDOM, *SAVED]
