"""What an audit says of a second process, against a second process: the same training on two, which
meet over gloo, and on one that accumulates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.measuring.snapshots.source import STAND_IN
from suites.audits import TRAININGS, lacks
from suites.two_processes import environment, launcher

# Answers of unequal length, an adapter that every process draws alike, two rows a micro-batch.
EDITS = (
    ("lora = LoraConfig(", "from transformers import set_seed\n\nset_seed(11)\nlora = LoraConfig("),
    ('f"It is {COLOURS[i]}."', 'f"It is {COLOURS[i]}" + ", nothing else at all" * (i % 3) + "."'),
    ("    warmup_steps=2,\n", "    use_cpu=True,\n    save_strategy='no',\n    warmup_steps=2,\n"),
    ("    max_steps=20,\n", "    max_steps=1,\n    max_grad_norm=1e9,\n"),
)
# Keeps the gradient as the optimizer is about to use it: of several processes their average.
KEEP = """
from safetensors.torch import save_file
from transformers import TrainerCallback


class Keep(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, model=None, **rest):
        named = {n.removeprefix("module."): p for n, p in model.named_parameters()}
        kept = {n: p.grad.clone() for n, p in named.items() if p.grad is not None}
        if args.process_index == 0:
            save_file(kept, os.environ["GRADIENTS"])


trainer.add_callback(Keep)
trainer.train()
"""


def gradients(
    folder: Path, text: str, processes: int, accumulation: int
) -> dict[str, torch.Tensor]:
    """Of the first step, by parameter."""
    folder.mkdir()
    script, kept = folder / "train.py", folder / "gradients.safetensors"
    old = "gradient_accumulation_steps=2"
    script.write_text(text.replace(old, f"gradient_accumulation_steps={accumulation}"))
    words = launcher(processes, "--multi_gpu") if processes > 1 else []
    done = subprocess.run(
        [sys.executable, *words, str(script)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env={**environment(), "MODEL": str(STAND_IN), "GRADIENTS": str(kept)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(str(kept))


@pytest.mark.slow
def test_two_processes_are_one_that_accumulates(tmp_path: Path) -> None:
    """Two micro-batches of unequal token counts, one on each of two processes, average to what one
    process accumulates of both: what `update.one_more_process` says by arithmetic."""
    text = (TRAININGS / "plain_trainer.py").read_text("utf-8")
    lack = lacks(text)
    if lack:
        pytest.skip(f"NOT_RUN: plain_trainer {lack}")
    for old, new in EDITS:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    text = text.split('if __name__ == "__main__":')[0] + KEEP
    one = gradients(tmp_path / "one", text, processes=1, accumulation=2)
    two = gradients(tmp_path / "two", text, processes=2, accumulation=1)
    assert set(one) == set(two)
    off = sum(float((one[n].double() - two[n].double()).square().sum()) for n in one)
    size = sum(float(g.double().square().sum()) for g in one.values())
    assert (off / size) ** 0.5 < 1e-4
