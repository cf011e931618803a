"""Pre-train a family's stand-in: `python -m harness.measuring.stand_in [--family FAMILY]`.

The recipe's own is made on the reference stack, another family's on the first that has it. The
result is a snapshot of a few million parameters that reads the catalogue's pictures and answers the
recipe's prompt in prose. A second style (listings with hashtags, asked for by another
system message) is in the mix, because a real base model knows hashtags too; the recipe's LoRA
then only has to switch styles. Positions are the family's own, given explicitly: transformers
4.45.1's training forward does not compute those of pictures.

Two stages, as real vision-language models are built: the vision tower first learns to see, under
four linear classifiers over its mean output that are thrown away; then the whole model learns to
talk about what it sees.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.catalogue import (
    ATTRIBUTES,
    draw,
    make_product,
    products,
    render,
    seen_combinations,
)
from harness.measuring import _compat
from harness.measuring.instruments.device import device_key
from harness.measuring.models import canonical_name, family, of, of_recipe, of_snapshot, parts
from harness.measuring.snapshots.source import stand_in_folder, stand_ins
from harness.measuring.stand_in.data import conversation, encode, token_weights
from harness.measuring.stand_in.files import write_files
from harness.measuring.stand_in.tell import describe, grounding
from harness.recipe.published import IGNORE_INDEX
from harness.records.files import write_atomically, write_json

BATCH = 16
# The recipe's own stand-in's; another family's are in its PROVENANCE.json.
VISION_STEPS = 1600
STEPS = 1500
PEAK_LEARNING_RATE = 1.5e-3
# The tower already sees; it moves more slowly than the language model that is still to learn.
TOWER_SHARE = 0.3
WARMUP = 60
THREADS = 2


@dataclass(frozen=True)
class Step:
    """One optimizer step's loss and learning rate. stage: `vision` or `language`."""

    stage: str
    step: int
    loss: float
    learning_rate: float


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then cosine to zero."""
    from math import cos, pi

    if step < WARMUP:
        return PEAK_LEARNING_RATE * (step + 1) / WARMUP
    return PEAK_LEARNING_RATE * 0.5 * (1 + cos(pi * (step - WARMUP) / max(1, steps - WARMUP)))


def _optimizer(groups: Sequence[tuple[Any, float]]) -> Any:
    """AdamW; weight decay on matrices only. groups: (parameters, share of the learning rate)."""
    import torch

    listed = []
    for parameters, share in groups:
        own = list(parameters)
        listed.append({"params": [p for p in own if p.ndim > 1], "weight_decay": 0.05})
        listed.append({"params": [p for p in own if p.ndim <= 1], "weight_decay": 0.0})
        for group in listed[-2:]:
            group["share"] = share
    return torch.optim.AdamW(listed, lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98))


def _update(optimizer: Any, loss: Any, step: int, steps: int) -> float:
    import torch

    rate = learning_rate(step, steps)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    return rate


def _see(
    model: Any, processor: Any, seed: int, steps: int, stop_after: int | None
) -> Iterator[Step]:
    """Stage 1: the mean of what a picture becomes tells kind, colour, shape and mark."""
    import torch

    loader = of(model)
    width = int(parts(model).embedding.weight.shape[1])
    heads = torch.nn.ModuleDict(
        {name: torch.nn.Linear(width, len(values)) for name, values in ATTRIBUTES.items()}
    ).to(model.device)
    optimizer = _optimizer([(_seeing(model), 1.0), (heads.parameters(), 1.0)])
    chance = random.Random(f"see-{seed}")
    for step in range(steps if stop_after is None else stop_after):
        chosen = []
        for i in range(BATCH):
            identity = f"see-{seed}-{step}-{i}"
            chosen.append(make_product(identity, chance.choice(seen_combinations()), "train"))
        batch = processor.image_processor(
            images=[draw(p.attributes, p.size, p.id) for p in chosen], return_tensors="pt"
        ).to(model.device)
        means = torch.stack([tokens.mean(0) for tokens in loader.seen(model, batch)])
        loss = sum(
            torch.nn.functional.cross_entropy(
                heads[name](means),
                torch.tensor(
                    [values.index(p.attributes[name]) for p in chosen], device=model.device
                ),
            )
            for name, values in ATTRIBUTES.items()
        )
        rate = _update(optimizer, loss, step, steps)
        yield Step("vision", step, float(loss.detach()), rate)


def _seeing(model: Any) -> list[Any]:
    """The parameters between a picture and the decoder, the connector's too."""
    modules = parts(model)
    both = (*modules.tower.parameters(), *modules.connector.parameters())
    return list({id(parameter): parameter for parameter in both}.values())


def _settle(device: str, threads: int, seed: int) -> None:
    """One arithmetic for every run on the same device: no kernel whose sums come in any order, and
    none that rounds float32."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    if device == "cuda":
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def pretrain(
    folder: Path,
    vision_steps: int,
    steps: int,
    seed: int,
    stop_after: int | None = None,
    threads: int = THREADS,
    device: str = "cpu",
) -> Iterator[Any]:
    """Train from random weights; yields a Step per step and finally the model.

    folder: the snapshot's files without weights. vision_steps, steps: of the two stages; each fixes
    its schedule. stop_after ends in the first stage (the test re-runs the first steps). float32,
    deterministic for equal devices and thread counts.
    """
    import torch
    from transformers import AutoConfig, AutoProcessor

    _settle(device, threads, seed)
    processor = AutoProcessor.from_pretrained(str(folder))
    processor.tokenizer.padding_side = "right"
    loader = family(of_snapshot(folder))
    chat = loader.CHAT
    config = AutoConfig.from_pretrained(str(folder))
    model = _compat.vision_to_text_class().from_config(config).float().train().to(device)
    yield from _see(model, processor, seed, vision_steps, stop_after)
    if stop_after is not None:
        return
    seeing = _seeing(model)
    inside = {id(p) for p in seeing}
    rest = [p for p in model.parameters() if id(p) not in inside]
    optimizer = _optimizer([(rest, 1.0), (seeing, TOWER_SHARE)])
    chance = random.Random(f"pretrain-{seed}")
    for step in range(steps):
        drawn = [conversation(chance, f"pretrain-{seed}-{step}-{i}") for i in range(BATCH)]
        batch = encode(processor, drawn, chat)
        weights = token_weights(batch["input_ids"], batch["labels"], processor.tokenizer, chat)
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        labels = batch.pop("labels")
        logits = model(**batch, position_ids=loader.position_ids(model, batch)).logits
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1).float(),
            labels[:, 1:].flatten(),
            reduction="none",
            ignore_index=IGNORE_INDEX,
        )
        wanted = weights[:, 1:].flatten().to(device)
        loss = (losses * wanted).sum() / wanted.sum()
        rate = _update(optimizer, loss, step, steps)
        yield Step("language", step, float(loss.detach()), rate)
    yield model.eval()


def state_of(model: Any) -> dict[str, Any]:
    """What is saved, by the name that the published checkpoints give it: a tensor that two names
    share, as a tied head does, once."""
    loader = of(model)
    once = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    return {
        canonical_name(name, loader): tensor.contiguous().cpu()
        for name, tensor in model.state_dict().items()
        if name in once
    }


def _chosen(usual: Mapping[str, object], asked: Mapping[str, object]) -> Iterator[str]:
    """The words of a command that decide what becomes of it: what is not as by default."""
    for name in ("family", "vision_steps", "steps", "seed", "threads", "device"):
        if asked[name] != usual[name]:
            yield f"--{name.replace('_', '-')} {asked[name]}"


def main() -> int:
    """Write the snapshot and its PROVENANCE.json."""
    own = of_recipe()[0]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--family", choices=stand_ins(), default=own)
    parser.add_argument("--vision-steps", type=int, default=VISION_STEPS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args()
    usual = {name: parser.get_default(name) for name in vars(arguments)}
    import torch
    import transformers
    from safetensors.torch import save
    from transformers import AutoProcessor

    write_files(arguments.out, stand_in_folder(arguments.family))
    started, curve = time.monotonic(), []
    model: Any = None
    for item in pretrain(
        arguments.out,
        arguments.vision_steps,
        arguments.steps,
        arguments.seed,
        threads=arguments.threads,
        device=arguments.device,
    ):
        if not isinstance(item, Step):
            model = item
            continue
        if item.step < 10 or item.step % 100 == 99:
            curve.append(
                {"step": item.step, "loss": item.loss, "learning_rate": item.learning_rate}
            )
            elapsed = time.monotonic() - started
            print(
                f"{item.stage} {item.step} {item.loss:.4f} {elapsed:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    weights = arguments.out / "model.safetensors"
    write_atomically(weights, save(state_of(model), metadata={"format": "pt"}))
    processor = AutoProcessor.from_pretrained(str(arguments.out))
    heldout = products("heldout")
    pictures = [render(p) for p in heldout]
    texts = describe(model, processor, heldout, pictures)
    shuffled = describe(model, processor, heldout, pictures[1:] + pictures[:1])
    chosen = _chosen(usual, vars(arguments))
    report = {
        "script": " ".join(["python -m harness.measuring.stand_in", *chosen]),
        "vision_steps": arguments.vision_steps,
        "steps": arguments.steps,
        "seed": arguments.seed,
        "batch": BATCH,
        "threads": arguments.threads,
        "device": device_key(arguments.device),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(time.monotonic() - started),
        # Of every thread together: another process beside it costs none.
        "processor_seconds": round(time.process_time()),
        "curve": curve,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "heldout_grounding": grounding(heldout, texts),
        "heldout_grounding_shuffled_images": grounding(heldout, shuffled),
        "examples": texts[:3],
    }
    write_json(arguments.out / "PROVENANCE.json", report)
    print(report["heldout_grounding"], report["examples"], file=sys.stderr)
    return 0
