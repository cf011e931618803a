"""What a contest's record says of its sides in words: libraries, set-up, what no longer counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PEERS = ("unsloth", "unsloth_kept")
TRAINER = "trainer"


def provenance(raw: Mapping[str, Any]) -> str:
    """With what, on how many samples, and what each peer computes otherwise."""
    names = ("torch", "transformers", "trl", "peft", "bitsandbytes")
    versions = ", ".join(f"{name} {raw['versions'].get(name, 'absent')}" for name in names)
    steps = {len(s["steps"]) for s in raw["sides"].values()}
    return (
        f"Measured {raw['created'][:10]} with {versions}, commit {raw['commit']}: sides in "
        f"processes of their own stepping in turn, the order turned round every round; "
        f"{raw['batch']['samples']} samples of {raw['batch']['tokens_per_sample']:.0f} tokens a "
        f"step, {max(steps)} steps, the first {raw['warm_up']} not timed, dropout off, the same "
        f"batches and the same start of the adapter. A way is safe by every step's loss, gradient "
        f"norm and labels, its gradients' and its weights' direction, and its modules' dtypes "
        f"against `{raw['truth']}`."
    )


def peers(raw: Mapping[str, Any]) -> str:
    """What the sides that are not ours set up, as they hold it."""
    lines = []
    for name in (*PEERS, TRAINER):
        side = raw["sides"].get(name)
        if side is None or "failed" in side:
            continue
        facts = side["facts"]
        lines.append(
            f"- `{name}` holds {facts['packed_linears']} Linears packed, numbers "
            f"{facts['numbers_by_dtype']}; norms {facts['norm']}, embeddings "
            f"{facts['embedding']}, head {facts['head']}; first step "
            f"{side['first_step_seconds']:.0f} s, load {side['load_seconds']:.0f} s."
        )
    return "\n".join(lines)


def superseded(raw: Mapping[str, Any]) -> str:
    """What does not count, and why: once for all sides of one reason."""
    by_reason: dict[str, list[str]] = {}
    for name, why in raw.get("superseded", {}).items():
        by_reason.setdefault(why, []).append(f"`{name}`")
    return "\n".join(f"- {', '.join(names)}: {why}." for why, names in by_reason.items())


def probed(raw: Mapping[str, Any]) -> str:
    """Why 4-bit, compiled and checkpointed gave no numbers: with biases settled and not."""
    lines = []
    for run in raw["runs"]:
        state = "settled before compiling" if run["settled"] else "left to the first call"
        way = "checkpointed" if run["checkpointing"] else "kept"
        how = "compiled" if run["compiled"] else "eager"
        norms = ", ".join(step["norm"][:6] for step in run["steps"])
        lines.append(
            f"- 4-bit, {how}, activations {way}, biases {state}: gradient norms {norms}; "
            f"{run['unique_graphs']} graphs, {sum(run['graph_breaks'].values())} breaks."
        )
    return "\n".join([raw["why"], "", *lines])
