"""Mistakes in what a step does and in what a training leaves: optimizer, schedule, accumulation,
dropout, random numbers, order, saving."""

from suites.audits import Mistake

PLAIN, TRL, LOOP = "plain_trainer", "trl_sft_vlm", "accelerate_loop"

# Places in the trainings that several mistakes change.
ARGUMENTS = "arguments = TrainingArguments(\n"
LAST = "    data_collator=collate,\n)"
LORA = 'target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")'
PREPARED = (
    "model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)"
)
WARMUP = "    warmup_steps=2,\n"
IMPORTED = "    TrainingArguments,\n"
TRAINABLE = "[p for p in model.parameters() if p.requires_grad]"


def given(optimizer: str, scheduler: str = "None") -> tuple[tuple[str, str], ...]:
    """An optimizer, and perhaps a schedule, of the user's own in the plain training."""
    own = f"import torch\n\noptimizer = {optimizer}\nscheduler = {scheduler}\n"
    return (
        (ARGUMENTS, own + ARGUMENTS),
        (LAST, LAST.removesuffix(")") + "    optimizers=(optimizer, scheduler),\n)"),
    )


def derived(body: str, *, trl: bool = False) -> tuple[tuple[str, str], ...]:
    """A Trainer of the user's own with these methods."""
    base = "SFTTrainer" if trl else "Trainer"
    kind = f"class OwnTrainer({base}):\n{body}\n\n\n"
    begin = "training_args = SFTConfig(\n" if trl else ARGUMENTS
    return ((begin, kind + begin), (f"trainer = {base}(\n", "trainer = OwnTrainer(\n"))


OPTIMIZERS = [
    Mistake(
        "learning rate doubled by an own optimizer",
        PLAIN,
        given(f"torch.optim.AdamW({TRAINABLE}, lr=2e-4, weight_decay=0.0)"),
        "update.learning_rate",
        fast=True,
    ),
    Mistake(
        "adapters missing in the optimizer",
        PLAIN,
        given('torch.optim.AdamW([p for n, p in model.named_parameters() if "lora_A" in n], 1e-4)'),
        "update.missing_in_optimizer",
    ),
    Mistake(
        "optimizer made before the adapter",
        PLAIN,
        (
            ("lora = LoraConfig(", "early = list(model.parameters())\nlora = LoraConfig("),
            *given("torch.optim.AdamW(early, lr=1e-4)"),
        ),
        "update.missing_in_optimizer",
    ),
    Mistake(
        "betas swapped",
        PLAIN,
        (
            (
                "    warmup_steps=2,\n",
                "    adam_beta1=0.999,\n    adam_beta2=0.9,\n    warmup_steps=2,\n",
            ),
        ),
        "update.beta_order",
    ),
    Mistake(
        "moments in 16 bits",
        PLAIN,
        (
            (
                ARGUMENTS,
                f'''import torch


class ShortAdamW(torch.optim.AdamW):
    """Keeps its memory small."""

    def step(self, closure=None):
        for state in self.state.values():
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = state[name].float()
        super().step(closure)
        for state in self.state.values():
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = state[name].bfloat16()


{ARGUMENTS}''',
            ),
            (
                LAST,
                LAST.removesuffix(")")
                + f"    optimizers=(ShortAdamW({TRAINABLE}, 1e-4, weight_decay=0.0), None),\n)",
            ),
        ),
        "update.narrow_state",
    ),
    Mistake(
        "decay added to the gradient too",
        PLAIN,
        (
            (
                ARGUMENTS,
                f'''import torch


class DecayedAdamW(torch.optim.AdamW):
    """Pulls weights to zero by their gradient, as Adam did before AdamW."""

    @torch.no_grad()
    def step(self, closure=None):
        before = [[p.clone() for p in group["params"]] for group in self.param_groups]
        super().step(closure)
        for group, weights in zip(self.param_groups, before, strict=True):
            for parameter, weight in zip(group["params"], weights, strict=True):
                parameter.sub_(0.1 * group["lr"] * weight)


{ARGUMENTS}''',
            ),
            (
                LAST,
                LAST.removesuffix(")")
                + f"    optimizers=(DecayedAdamW({TRAINABLE}, 1e-4, weight_decay=0.0), None),\n)",
            ),
        ),
        "update.adamw",
    ),
    Mistake(
        "norms and biases decayed",
        PLAIN,
        (
            (
                "model = get_peft_model(model, lora)\n",
                "for name, parameter in model.named_parameters():\n"
                '    parameter.requires_grad = "layers.3." in name\n',
            ),
            (WARMUP, f"    weight_decay=0.1,\n{WARMUP}"),
            *given(f"torch.optim.AdamW({TRAINABLE}, lr=1e-4, weight_decay=0.1)"),
        ),
        "update.decayed_norms",
    ),
]

SCHEDULES = [
    Mistake(
        "warm-up lost by an own schedule",
        PLAIN,
        (
            *given(
                f"torch.optim.AdamW({TRAINABLE}, lr=1e-4, weight_decay=0.0)",
                "get_linear_schedule_with_warmup(optimizer, 0, 20)",
            ),
            (
                "    TrainingArguments,\n",
                "    TrainingArguments,\n    get_linear_schedule_with_warmup,\n",
            ),
        ),
        "update.schedule",
    ),
    Mistake(
        "schedule of half the length",
        PLAIN,
        (
            *given(
                f"torch.optim.AdamW({TRAINABLE}, lr=1e-4, weight_decay=0.0)",
                "get_linear_schedule_with_warmup(optimizer, 2, 10)",
            ),
            (
                "    TrainingArguments,\n",
                "    TrainingArguments,\n    get_linear_schedule_with_warmup,\n",
            ),
        ),
        "update.schedule_whole",
    ),
    Mistake(
        "schedule stepped with every micro-batch",
        LOOP,
        ((PREPARED, "model, optimizer, loader = accelerator.prepare(model, optimizer, loader)"),),
        "update.scheduler_steps",
        fast=True,
    ),
]

STEPS = [
    Mistake(
        "accumulated losses summed",
        PLAIN,
        derived("""    def training_step(self, model, inputs, num_items_in_batch=None):
        model.train()
        loss = self.compute_loss(model, self._prepare_inputs(inputs))
        self.accelerator.backward(loss)
        return loss.detach()"""),
        "update.accumulation",
    ),
    Mistake(
        "mean of the micro-batches' means",
        TRL,
        derived(
            """    def training_step(self, model, inputs, num_items_in_batch=None):
        model.train()
        inputs = self._prepare_inputs(inputs)
        loss = model(**inputs).loss / self.args.gradient_accumulation_steps
        self.accelerator.backward(loss)
        return loss.detach()""",
            trl=True,
        ),
        "update.accumulation",
    ),
    Mistake(
        "gradients zeroed between micro-batches",
        PLAIN,
        derived("""    def training_step(self, model, *args, **kwargs):
        model.zero_grad()
        return super().training_step(model, *args, **kwargs)"""),
        "update.accumulation",
    ),
    Mistake(
        "loop that divides by the accumulation twice",
        LOOP,
        (("accelerator.backward(loss)", "accelerator.backward(loss / ACCUMULATION)"),),
        "update.accumulation",
    ),
    Mistake(
        "clipping overridden",
        PLAIN,
        derived("""    def _clip_grad_norm(self, model):
        return None"""),
        "update.clipping",
    ),
    Mistake(
        "frozen weights written by a step",
        PLAIN,
        derived("""    def training_step(self, model, *args, **kwargs):
        loss = super().training_step(model, *args, **kwargs)
        for name, parameter in model.named_parameters():
            if name.endswith("model.norm.weight"):
                parameter.data.mul_(0.999)
        return loss"""),
        "trajectory.frozen_moved",
    ),
]

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

MISTAKES = [*OPTIMIZERS, *SCHEDULES, *STEPS, *RANDOM, *SAVED]
