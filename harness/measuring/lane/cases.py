"""The lane's cases; each leaves one JSON file and is skipped where that exists."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from harness.measuring.instruments import footprint
from harness.measuring.instruments import meters as measure
from harness.measuring.lane import meters
from harness.measuring.lane.bench import Lane, describe, dtype_of, free, rates_of, timed
from harness.measuring.lane.step import Prepared, parts_of_step, step
from harness.measuring.snapshots.loading import meta_model
from harness.recipe.ways import RECIPE, Variant, variant
from harness.records.statistics import abba, ratio

# Equal loss: per step, relative; and direction of the adapter after the pairs.
LOSS_BAND = 1e-3
COSINE = 0.999
WARM_UP = 2


def loaded_bytes(lane: Lane, tokens: int) -> dict[str, Any]:
    """Bytes by component after loading against the formula; memory by phase."""
    model = lane.shelf.model
    loaded = footprint.measure(model)
    phases = {"load": lane.shelf.phase}
    scheme = footprint.Scheme(
        four_bit=lane.quantisation == "bitsandbytes",
        rest_bytes=2 if lane.device.startswith("cuda") else 4,
    )
    wanted = footprint.predict(meta_model(lane.snapshot), scheme)
    measure.reset_cuda_memory(lane.device)
    prepared = lane.prepared(RECIPE)
    phases["prepare"] = meters.memory_now(lane.device)
    ready = footprint.measure(prepared.model)
    data = lane.data(tokens)
    for name, call in parts_of_step(prepared, data[0]):
        measure.reset_cuda_memory(lane.device)
        call()
        measure.synchronise(lane.device)
        phases[name] = meters.memory_now(lane.device)
    measure.reset_cuda_memory(lane.device)
    meters.timed(lambda: step(prepared, lane.take(data, 0)), lane.device)
    phases["step"] = meters.memory_now(lane.device)
    parts = {
        name: {"measured": loaded.by_component.get(name, 0), "formula": bytes_}
        for name, bytes_ in wanted.by_component.items()
    }
    return {
        "total": {"measured": loaded.total, "formula": wanted.total},
        "components": parts,
        "differing": sorted(n for n, p in parts.items() if p["measured"] != p["formula"]),
        "buffers": footprint.buffer_bytes(model),
        "get_memory_footprint": int(model.get_memory_footprint()),
        "device_map": {str(k): str(v) for k, v in getattr(model, "hf_device_map", {}).items()},
        "quantised_linears": len(loaded.quantised),
        "prepared_total": ready.total,
        "load_seconds": lane.shelf.seconds,
        # From the second phase on the kept copy of the model counts too.
        "kept_copy": lane.shelf.kept_bytes,
        "phases": phases,
        "step_batch": describe(data, lane),
    }


def throughput(lane: Lane, tokens: int) -> dict[str, Any]:
    """The recipe's bare step: seconds, rates, MFU, energy, idle share."""
    rate = measure.matmul_rate(device=lane.device, dtype=dtype_of(lane))
    prepared = lane.prepared(RECIPE, dropout=True)
    data = lane.data(tokens)
    runs, joules = [], []
    for number in range(WARM_UP + max(4, lane.pairs // 2)):
        before = meters.energy_joules()
        took = timed(lane, prepared, data, number)
        after = meters.energy_joules()
        if number >= WARM_UP:
            runs.append(took)
            if before is not None and after is not None:
                joules.append(after - before)
    idle = meters.idle_share(lambda: step(prepared, lane.take(data, 0)), lane.device)
    return {
        **rates_of(data, lane, RECIPE, [r.seconds for r in runs], rate),
        "steps": [asdict(r) for r in runs],
        "peak_allocated": max(r.peak for r in runs) - lane.shelf.kept_bytes,
        "joules_per_sample": _median_share(joules, lane),
        "idle_share": idle,
    }


def _median_share(joules: Sequence[float], lane: Lane) -> float | None:
    return statistics.median(joules) / (lane.micro * lane.size) if joules else None


def pair(name: str) -> Callable[[Lane, int], dict[str, Any]]:
    """A case: recipe and variant, interleaved ABBA, each on its own adapter, same batches."""

    def run(lane: Lane, tokens: int) -> dict[str, Any]:
        chosen = variant(name)
        rate = measure.matmul_rate(device=lane.device, dtype=dtype_of(lane))
        sides: dict[str, Prepared] = {}
        data: dict[str, list[dict[str, Any]]] = {}
        for letter, kind in (("A", RECIPE), ("B", chosen)):
            data[letter] = lane.data(tokens, mixed=chosen.grouped, grouped=kind.grouped)
            sides[letter] = lane.prepared(kind)
        runs: dict[str, list[meters.Timed]] = {"A": [], "B": []}
        for letter in ["A", "B"] * WARM_UP + abba(lane.pairs):
            runs[letter].append(timed(lane, sides[letter], data[letter], len(runs[letter])))
        refuse_broken_arithmetic("the recipe's own step", runs["A"])
        refuse_broken_arithmetic(name, runs["B"])
        times = {k: [r.seconds for r in v[WARM_UP:]] for k, v in runs.items()}
        mine, theirs = sides["A"].adapter(), sides["B"].adapter()
        rates = {
            letter: rates_of(data[letter], lane, sides[letter].variant, times[letter], rate)
            for letter in "AB"
        }
        # What one side keeps between steps stands in the other's peak: it is seen by giving up.
        persistent: dict[str, int] = {}
        for letter in "BA":
            before = meters.allocated(lane.device)
            del sides[letter], data[letter]
            free(lane.device)
            persistent[letter] = before - meters.allocated(lane.device)
        other = {"A": "B", "B": "A"}
        peaks = {
            k: max(r.peak for r in v[WARM_UP:]) - persistent[other[k]] - lane.shelf.kept_bytes
            for k, v in runs.items()
        }
        gaps = [abs(b.loss / a.loss - 1) for a, b in zip(runs["A"], runs["B"], strict=True)]
        cosine = lora_cosine(mine, theirs)
        speed = ratio(times["B"], times["A"])
        return {
            "variant": asdict(chosen),
            "recipe": rates["A"],
            "changed": rates["B"],
            "speed_up": asdict(speed),
            # A CPU has no allocator that counts.
            "peak": peaks if lane.device.startswith("cuda") else None,
            "persistent": persistent,
            "loss_gap": max(gaps),
            "cosine": cosine,
            # A starts alike and barely moves; B starts at zero, so its direction is all learnt.
            "cosine_b": lora_cosine(mine, theirs, part="lora_B"),
            "steps_compared": len(gaps),
            "safe": is_safe(chosen, max(gaps), cosine),
            "bands": {"loss_gap": LOSS_BAND, "cosine": COSINE},
            "runs": {k: [asdict(r) for r in v] for k, v in runs.items()},
        }

    return run


def refuse_broken_arithmetic(name: str, steps: Sequence[meters.Timed]) -> None:
    """Raises ArithmeticError naming the first step whose loss or gradient norm is no number: its
    speed says nothing."""
    for number, took in enumerate(steps, 1):
        if not (math.isfinite(took.loss) and math.isfinite(took.norm)):
            raise ArithmeticError(
                f"{name}: in step {number} the loss is {took.loss}, the gradient's norm {took.norm}"
            )


def is_safe(kind: Variant, gap: float, cosine: float) -> bool:
    """Equal loss and direction. Where other samples share a batch it is another training, and no
    loss can say that it is the same."""
    return gap <= LOSS_BAND and cosine >= COSINE and not kind.grouped


def lora_cosine(a: dict[str, Any], b: dict[str, Any], part: str = "lora_") -> float:
    """Cosine of two adapters, all tensors whose name holds `part` taken as one vector."""
    import torch

    names = sorted(n for n in a if part in n)
    flat = [torch.cat([side[n].flatten().double() for n in names]) for side in (a, b)]
    return float(torch.nn.functional.cosine_similarity(flat[0], flat[1], dim=0))


def through_trainer(lane: Lane, tokens: int) -> dict[str, Any]:
    """TRL's SFTTrainer against the bare step: the same pre-collated batches, blocks ABBA.

    Then the trainer once more with its own collation in the loop (end to end).
    """
    from harness.measuring.lane.sft import through_sft

    data = lane.data(tokens)
    steps = max(4, lane.pairs // 2)
    runs: dict[str, list[float]] = {"bare": [], "trainer": []}
    notes: tuple[str, ...] = ()
    for kind in ("bare", "trainer", "trainer", "bare"):
        if kind == "bare":
            prepared = lane.prepared(RECIPE, dropout=True)
            for number in range(WARM_UP + steps):
                took = timed(lane, prepared, data, number)
                if number >= WARM_UP:
                    runs[kind].append(took.wall)
            del prepared
        else:
            trained = through_sft(lane, WARM_UP + steps, data=data)
            runs[kind] += trained.seconds[WARM_UP:]
            notes = trained.notes
        free(lane.device)
    collated = through_sft(lane, WARM_UP + 3, tokens=tokens).seconds
    free(lane.device)
    middle = {kind: statistics.median(seconds) for kind, seconds in runs.items()}
    end_to_end = statistics.median(collated[WARM_UP:])
    return {
        "batch": describe(data, lane),
        "seconds": middle,
        "trainer_speed_over_bare": middle["bare"] / middle["trainer"],
        "end_to_end_seconds": end_to_end,
        "data_loading_share": max(0.0, 1 - middle["trainer"] / end_to_end),
        "runs": runs,
        "end_to_end_runs": collated[WARM_UP:],
        "notes": list(notes),
    }
