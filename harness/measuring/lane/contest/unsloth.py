"""Unsloth as a side: its own loader, adapter and kernels, the bare step around them."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from typing import Any

from harness.measuring.lane.contest import census
from harness.measuring.lane.contest.labels import Labels
from harness.measuring.lane.contest.side import Contestant
from harness.measuring.lane.contest.start import Spec, read_batches, same_start_

# Name of the way -> its argument `use_gradient_checkpointing`.
CHECKPOINTING: dict[str, str | bool] = {"unsloth": "unsloth", "unsloth_kept": False}


class Unsloth(Contestant):
    """Unsloth's model with the recipe's LoRA, dropout off, its loss under autocast to bfloat16,
    accumulated as the mean of the micro-batches' means; AdamW and clipping are the recipe's."""

    def __init__(self, spec: Spec) -> None:
        os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"
        os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
        # It writes generated modules into the working folder.
        home = spec.folder / spec.way
        home.mkdir(exist_ok=True)
        os.chdir(home)
        import torch
        from unsloth import FastVisionModel

        lora, how = spec.recipe.lora, CHECKPOINTING[spec.way]
        began = time.perf_counter()
        model, _ = FastVisionModel.from_pretrained(
            str(spec.snapshot),
            load_in_4bit=True,
            use_gradient_checkpointing=how,
            max_seq_length=4096,
        )
        self.load_seconds = time.perf_counter() - began
        model = FastVisionModel.get_peft_model(
            model,
            r=lora.r,
            lora_alpha=lora.lora_alpha,
            lora_dropout=0,
            bias=lora.bias,
            target_modules=list(lora.target_modules),
            use_gradient_checkpointing=how,
        )
        FastVisionModel.for_training(model)
        self.model, self.spec, self.labels = model, spec, Labels()
        self.what = f"Unsloth, use_gradient_checkpointing={how!r}"
        self.start = same_start_(model)
        self.batches = read_batches(spec.folder, pinned=spec.device.startswith("cuda"))
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=spec.recipe.training.learning_rate,
            fused=spec.device.startswith("cuda"),
            weight_decay=0.0,
        )
        # Not seen: a forward pass with hooks would make it compile anew.
        self.dtypes: dict[str, str] = {}
        self.facts = {**census.held(model), "version": _version(), "labels": "its own fused loss"}

    def step(self, number: int) -> tuple[Any, Any]:
        """Loss and gradient norm, still tensors."""
        import torch

        self.optimizer.zero_grad(set_to_none=True)
        device = self.spec.device
        total = torch.zeros((), device=device)
        micro = self.spec.taken(self.batches, number)
        with self.labels.counted():
            for batch in micro:
                moved = {k: v.to(device, non_blocking=True) for k, v in batch.items()}
                cuda = device.startswith("cuda")
                with torch.autocast("cuda", torch.bfloat16) if cuda else nullcontext():
                    loss = self.model(**moved, use_cache=False).loss / len(micro)
                loss.backward()
                total += loss.detach().float()
        norm = torch.nn.utils.clip_grad_norm_(
            self.parameters, self.spec.recipe.training.max_grad_norm
        )
        self.optimizer.step()
        return total, norm


def _version() -> str:
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("unsloth", "unsloth_zoo"))
