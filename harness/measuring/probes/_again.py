"""The same batch again: at once, after a generation, and with and without kept keys; and the
adapters' dropout while they train."""

from __future__ import annotations

import contextlib
from typing import Any

from harness.measuring.instruments.dropout import Dropped, counted
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes._batches import batch, forward, plain_model
from harness.measuring.training import adapter
from harness.records.context import Context
from harness.records.typed import Json

# Tokens that are generated: the second and third are given from kept keys.
NEW = 3


def record_again(recorder: Recorder, context: Context, model: Any, loss: float) -> None:
    """What a model remembers of an earlier call must change nothing. model: adapted, evaluating.
    loss: that of the batch padded on the right."""
    inputs = batch(context, "right")
    recorder.add("repeat_gap", abs(_loss(model, inputs) - loss))
    prompts = {name: value for name, value in batch(context, "left").items() if name != "labels"}
    kept, failed = recorder.attempt("cache_gap", lambda: generated(model, prompts, kept=True))
    recorder.add("after_generation_gap", abs(_loss(model, inputs) - loss))
    if failed is not None or kept is None:
        return
    anew, failed = recorder.attempt("cache_gap", lambda: generated(model, prompts, kept=False))
    if failed is None and anew is not None:
        gaps = [float((a - b).abs().max()) for a, b in zip(kept, anew, strict=True)]
        note = "of the logits of three generated tokens, keys kept against computed anew"
        recorder.add("cache_gap", max(gaps), unit="logits", note=note)


def _loss(model: Any, inputs: dict[str, Any]) -> float:
    import torch

    with torch.no_grad():
        return float(forward(model, inputs).loss)


def generated(model: Any, prompts: dict[str, Any], *, kept: bool) -> list[Any]:
    """Logits (rows, vocabulary) of each new token, greedily. Both ways see the same tokens as long
    as they agree; where they do not, the first gap says so."""
    given = model.generate(
        **prompts,
        max_new_tokens=NEW,
        min_new_tokens=NEW,
        do_sample=False,
        use_cache=kept,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return list(given.logits)


def record_dropout(recorder: Recorder, context: Context) -> None:
    """What the adapters' dropout drops in training and evaluation, how it scales the rest, and
    whether it touches more than the adapters: with B of nothing they add nothing, dropped or not.
    """
    import torch

    model = adapter.add_lora(plain_model(context), context.recipe, seed=context.seed)
    inputs = batch(context, "right")
    logits: dict[str, Any] = {}
    for mode in ("train", "eval"):
        by_name = {name: Dropped() for name, m in model.named_modules() if _drops(name, m)}
        torch.manual_seed(context.seed)
        with contextlib.ExitStack() as stack, torch.no_grad():
            model.train(mode == "train")
            for name, dropped in by_name.items():
                stack.enter_context(counted(model.get_submodule(name), dropped))
            logits[mode] = forward(model, inputs).logits
        elements = sum(dropped.elements for dropped in by_name.values())
        share = sum(dropped.dropped for dropped in by_name.values()) / max(1, elements)
        recorder.add("dropout_share", share, case=mode, unit="share")
        if mode == "train":
            silent: list[Json] = [name for name, each in by_name.items() if not each.dropped]
            recorder.add("dropout_silent", silent, unit="modules")
            widest = max((each.scale_gap for each in by_name.values()), default=0.0)
            recorder.add("dropout_scale_gap", widest)
    gap = float((logits["train"] - logits["eval"]).abs().max())
    note = "of the logits in training from those in evaluation, B of nothing"
    recorder.add("dropout_base_gap", gap, unit="logits", note=note)


def _drops(name: str, module: Any) -> bool:
    """Whether it is an adapter's: a model's own dropout has a rate of its own."""
    import torch

    return ".lora_dropout." in name and isinstance(module, torch.nn.Dropout) and module.p > 0
