"""How samples reach the step: image processor and worker processes, through SFTTrainer."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from harness.measuring import _compat
from harness.measuring.instruments import meters as measure
from harness.measuring.lane.bench import Lane, dtype_of, free, rates_of
from harness.measuring.lane.cases import COSINE, LOSS_BAND, WARM_UP, lora_cosine
from harness.measuring.lane.sft import Trained, through_sft
from harness.measuring.snapshots.loading import load_processor
from harness.recipe.ways import RECIPE
from harness.records.statistics import ratio


@dataclass(frozen=True)
class Loading:
    """workers: processes that collate beside the training. fast: torchvision's image processor
    instead of Pillow's, which the recipe's pins have; its pixels differ."""

    name: str
    what: str
    workers: int = 0
    fast: bool = False


AS_PUBLISHED = Loading("as_published", "collated in the training process, pictures by Pillow")
LOADINGS = {
    way.name: way
    for way in (
        Loading("data_workers", "four processes collate, through the trainer", workers=4),
        Loading("fast_images", "torchvision's image processor, through the trainer", fast=True),
    )
}


def _train(lane: Lane, kind: Loading, steps: int, tokens: int) -> Trained:
    processor = load_processor(lane.snapshot)
    chosen = _compat.image_processor_class(lane.family.IMAGE_PROCESSOR, fast=kind.fast)
    processor.image_processor = chosen.from_pretrained(str(lane.snapshot))
    return through_sft(
        lane, steps, tokens=tokens, processor=processor, workers=kind.workers, dropout=False
    )


def loading(name: str) -> Callable[[Lane, int], dict[str, Any]]:
    """A case: collation included, as published and changed, in blocks A B B A of equal steps.

    Every block is a training of its own from the same start, so blocks of one side repeat each
    other; the i-th steps of neighbouring blocks make the pairs. Wall times.
    """

    def run(lane: Lane, tokens: int) -> dict[str, Any]:
        chosen = LOADINGS[name]
        rate = measure.matmul_rate(device=lane.device, dtype=dtype_of(lane))
        steps = max(2, -(-lane.pairs // 2))
        blocks: dict[str, list[Trained]] = {"A": [], "B": []}
        for letter in "ABBA":
            kind = chosen if letter == "B" else AS_PUBLISHED
            blocks[letter].append(_train(lane, kind, WARM_UP + steps, tokens))
            free(lane.device)
        times = {k: [t for b in v for t in b.seconds[WARM_UP:]] for k, v in blocks.items()}
        data = lane.data(tokens)
        rates = {k: rates_of(data, lane, RECIPE, times[k], rate) for k in "AB"}
        mine, theirs = blocks["A"][0], blocks["B"][0]
        gaps = [abs(b / a - 1) for a, b in zip(mine.losses, theirs.losses, strict=True)]
        cosine = lora_cosine(mine.adapter, theirs.adapter)
        on_cuda = lane.device.startswith("cuda")
        return {
            "variant": asdict(chosen),
            "against": asdict(AS_PUBLISHED),
            "recipe": rates["A"],
            "changed": rates["B"],
            "speed_up": asdict(ratio(times["B"], times["A"])),
            "peak": {k: max(b.peak for b in v) for k, v in blocks.items()} if on_cuda else None,
            "loss_gap": max(gaps),
            "cosine": cosine,
            "cosine_b": lora_cosine(mine.adapter, theirs.adapter, part="lora_B"),
            "steps_compared": len(gaps),
            "safe": max(gaps) <= LOSS_BAND and cosine >= COSINE,
            "bands": {"loss_gap": LOSS_BAND, "cosine": COSINE},
            "seconds": {k: statistics.median(v) for k, v in times.items()},
            "runs": {
                k: [{"seconds": b.seconds, "losses": b.losses} for b in v]
                for k, v in blocks.items()
            },
            "notes": list(theirs.notes),
        }

    return run
