"""What the lane measured and keeps in golden/lane/: reading it, and what of the plan is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.recipe.ways import VARIANTS
from harness.records.folders import GOLDEN
from harness.records.recipes import PUBLISHED, recipe_called
from harness.records.seals import read_sealed

FOLDER = GOLDEN / "lane"
# The recipe accumulates 8 micro-batches of 4.
RECIPE_SAMPLES = 32
# Winners are named at these lengths: speed at the middle one, memory at the longest.
SPEED_TOKENS, MEMORY_TOKENS = 800, 1300
LENGTHS = (500, 800, 1300)
# loading.py's cases, which only the measuring world can import.
LOADED = ("data_workers", "fast_images")
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes")
# Subfolder of a device's folder: the same cases with the reference's library versions.
REFERENCE = "reference-libraries"


@dataclass(frozen=True)
class Pair:
    """One variant against the recipe. ratio: recipe's time over the variant's, `low` to `high`
    its 95 % interval. peaks: bytes, recipe's and variant's. superseded: why it no longer counts.
    grouped: other samples share a batch."""

    name: str
    what: str
    tokens: int
    samples: int
    ratio: float
    low: float
    high: float
    loss_gap: float
    cosine: float
    peaks: tuple[int, int]
    mfu: float
    safe: bool
    superseded: str = ""
    grouped: bool = False

    @property
    def memory(self) -> float:
        """The variant's peak as a share of the recipe's."""
        return self.peaks[1] / self.peaks[0]


def pair(raw: Mapping[str, Any]) -> Pair:
    """From a case's file."""
    speed, bands = raw["speed_up"], raw["bands"]
    grouped = bool(raw["variant"].get("grouped"))
    equal = raw["loss_gap"] <= bands["loss_gap"] and raw["cosine"] >= bands["cosine"]
    return Pair(
        name=raw["case"],
        what=raw["variant"]["what"],
        tokens=raw["tokens"],
        samples=raw["changed"]["batch"]["samples"],
        ratio=speed["median"],
        low=speed["low"],
        high=speed["high"],
        loss_gap=raw["loss_gap"],
        cosine=raw["cosine"],
        peaks=(raw["peak"]["A"], raw["peak"]["B"]),
        mfu=raw["changed"]["mfu"],
        safe=equal and not grouped,
        superseded=raw.get("superseded", ""),
        grouped=grouped,
    )


# 2 (2026-11): several GPUs' records have gradient norms and communication.
SCHEMAS = (1, 2)


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Every measurement of a device by `<case>-<tokens>`, superseded ones as `superseded/…`,
    those with the reference's libraries as `reference-libraries/…`.

    Raises BadInput for a folder without one and for a file that is no measurement.
    """
    records = {}
    for path in sorted(folder.rglob("*.json")):
        raw = read_sealed(path, "measure again")
        if raw.get("schema") not in SCHEMAS or raw.get("how") != "measured":
            raise BadInput(f"{path} is no measurement of the lane; delete it and measure again.")
        if raw.get("recipe_digest", PUBLISHED) != PUBLISHED:
            raise BadInput(
                f"{path} is of the recipe {recipe_called(raw['recipe_digest'])}; "
                "the table is of the published one: keep it in a folder of its own."
            )
        records[str(path.relative_to(folder).with_suffix(""))] = raw
    if not records:
        raise BadInput(f"{folder} holds no measurement; run harness lane measure CASE --out it.")
    return records


def pairs(records: Mapping[str, Mapping[str, Any]]) -> list[Pair]:
    """Variants by length, the fastest first; superseded ones last within their length."""
    measured = [pair(raw) for raw in records.values() if "speed_up" in raw]
    return sorted(measured, key=lambda p: (p.tokens, bool(p.superseded), -p.ratio))


def fastest(candidates: Sequence[Pair]) -> Pair | None:
    """The fastest safe one at 800 tokens."""
    safe = [p for p in candidates if p.safe and not p.superseded and p.tokens == SPEED_TOKENS]
    return max(safe, key=lambda p: p.ratio, default=None)


def leanest(candidates: Sequence[Pair]) -> Pair | None:
    """The safe one with the smallest peak at 1,300 tokens."""
    safe = [p for p in candidates if p.safe and not p.superseded and p.tokens == MEMORY_TOKENS]
    return min(safe, key=lambda p: p.peaks[1], default=None)


# Of one host, each beside one GPU in the same run.
GPU_COUNTS = (2, 4, 8)


def unmeasured(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What beside single cases has no file, in words."""
    cases = {str(raw["case"]) for raw in records.values()}
    past = {
        way
        for raw in records.values()
        if raw["case"] == "several"
        for way in raw.get("superseded", ())
    }
    lacks = []
    if f"{REFERENCE}/throughput-{SPEED_TOKENS}" not in records:
        lacks.append("what a step costs with the reference's library versions")
    if "ladder" not in cases:
        lacks.append("the ladder on CUDA")
    if "several" not in cases:
        lacks.append(
            "several GPUs, data parallel and FSDP with 4-bit storage (on two CPU processes "
            "they give one's losses, `suites/test_sharded.py`)"
        )
    elif "fsdp" in past:
        lacks.append(
            "FSDP on GPUs since its weights are packed as they are now (on two CPU "
            "processes it gives one's losses, `suites/test_sharded.py`)"
        )
    long = [
        raw
        for raw in records.values()
        if raw["case"] == "several" and raw.get("tokens", 0) > SPEED_TOKENS * 3 // 4
    ]
    measured = {way["processes"] for raw in long for way in raw["ways"].values()}
    counts = [count for count in GPU_COUNTS if count not in measured]
    if counts:
        lacks.append(
            f"samples of {SPEED_TOKENS} tokens over {', '.join(map(str, counts))} GPUs of one host "
            f"(*not run*: `harness lane several --tokens {SPEED_TOKENS}`)"
        )
    if "out_of_memory" not in {raw.get("status") for raw in records.values()}:
        lacks.append("an out-of-memory on a card")
    return lacks


def not_run(records: Mapping[str, Mapping[str, Any]]) -> dict[int, list[str]]:
    """What was planned and has no file, by tokens: cases, variants, the winners' other lengths."""
    missing: dict[int, list[str]] = {}
    wanted = [(name, SPEED_TOKENS) for name in ("footprint", "throughput", "trainer")]
    wanted += [("throughput", n) for n in LENGTHS]
    wanted += [(name, SPEED_TOKENS) for name in LOADED]
    # Ways of the published arithmetic are measured in turn with peers, in a contest.
    contended = {way for raw in records.values() for way in raw.get("sides", ())}
    contended |= {raw["way"] for raw in records.values() if raw["case"] == "whole"}
    for name, kind in VARIANTS.items():
        if kind.upcast == "published":
            if name not in contended:
                missing.setdefault(SPEED_TOKENS, []).append(name)
            continue
        wanted.append((name, MEMORY_TOKENS if name.startswith("lean") else SPEED_TOKENS))
    winners = (fastest(pairs(records)), leanest(pairs(records)))
    wanted += [(w.name, n) for w in winners if w is not None for n in LENGTHS]
    for name, tokens in dict.fromkeys(wanted):
        done = {f"{name}-{tokens}{end}" for end in ("", ".out_of_memory", ".broken")}
        if done.isdisjoint(records) and name != "recipe":
            missing.setdefault(tokens, []).append(name)
    return dict(sorted(missing.items()))
