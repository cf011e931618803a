"""Mistakes in what a step does: optimizer, schedule, accumulation."""

from suites.audits import Mistake
from suites.mistakes._edits import (
    ARGUMENTS,
    LAST,
    LOOP,
    PLAIN,
    PREPARED,
    SUMMED,
    TRAINABLE,
    TRL,
    WARMUP,
    derived,
    given,
)

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

# In place of the tokens of the whole step.
OWN_TOKENS = (
    "loss = summed(model(**batch).logits, labels)\n",
    "loss = summed(model(**batch).logits, labels)\n"
    "                tokens = (labels[:, 1:] != -100).sum()\n",
)
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
        "a sum divided by the step's rows",
        SUMMED,
        (
            (
                'tokens = sum((batch["labels"][:, 1:] != -100).sum() for batch in step)',
                'tokens = sum(torch.tensor(len(batch["labels"])) for batch in step)',
            ),
        ),
        "update.accumulation",
    ),
    Mistake(
        "the sum of the micro-batches' means",
        SUMMED,
        (OWN_TOKENS,),
        "update.accumulation",
    ),
    Mistake(
        "sums divided by their own micro-batch's tokens",
        SUMMED,
        (
            OWN_TOKENS,
            (
                "loss = loss * ACCUMULATION * accelerator.num_processes / tokens\n",
                "loss = loss * accelerator.num_processes / tokens\n",
            ),
        ),
        "update.weighting",
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

MISTAKES = [*OPTIMIZERS, *SCHEDULES, *STEPS]
