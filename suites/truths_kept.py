"""Truths of rung 11 about what is kept of a training: saved, loaded again, gone on with, merged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from harness.judging.goldens.golden import Band, BandKind, Golden
from harness.recipe.published import REFERENCE
from suites.truths_inside import LOGITS, LOSS


def saved_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 11, what stands beside the adapter's tensors."""
    lora = REFERENCE.lora
    fields = {
        "peft_type": "LORA",
        "task_type": lora.task_type,
        "r": lora.r,
        "lora_alpha": lora.lora_alpha,
        "lora_dropout": lora.lora_dropout,
        "bias": lora.bias,
        "use_rslora": False,
        "modules_to_save": None,
        "inference_mode": True,
    }
    why = "an adapter's config says how it was trained"
    yield truth("trajectory", "saved_field", fields, "the recipe", why)
    why = "and which model it is for"
    yield truth("trajectory", "saved_base", {"": True}, "arithmetic", why)
    why = "a processor that was saved and loaded again makes the same of a batch"
    yield truth("trajectory", "saved_processor", {"": []}, "arithmetic", why)


def reload_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 11, what loading an adapter gives."""
    why = "a file of an adapter has A and B of every adapted Linear by its path, and nothing else"
    yield truth("trajectory", "saved_names", {"": []}, "peft's format of a LoRA checkpoint", why)
    why = "an adapter says which peft wrote it"
    release = truth("trajectory", "saved_release", {"": True}, "the installed release", why)
    # Before 0.18 it did not.
    yield replace(release, required=False)
    why = "an adapter that is loaded to infer trains nothing; one that is to train, its own alone"
    cases = {"inferring": [], "training": []}
    yield truth("trajectory", "reload_trains", cases, "definition of is_trainable", why)
    for metric in ("reload_inference_mode", "reload_evaluates"):
        modes = {"inferring": True, "training": False}
        why = "only a model that is loaded to infer is one that infers: nothing of it drops"
        yield truth("trajectory", metric, modes, "definition of is_trainable", why)


def resume_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 11, a training that goes on. Of a model too large to be trained once more nothing is
    asked."""
    why = "a checkpoint holds what memory does"
    for metric in ("checkpoint_optimizer", "checkpoint_scheduler", "checkpoint_log"):
        asked = truth("trajectory", metric, {"": []}, "arithmetic", why)
        yield replace(asked, required=False)
    rounding = "none on a CPU; on a GPU sums in any order, in front of a square root"
    band = Band(BandKind.ABSOLUTE, 1e-3, rounding, "a moment, a count, a mask or a row lost")
    why = "a training that goes on takes the steps that it would have taken"
    asked = truth("trajectory", "resumed_gap", {"": 0.0}, "arithmetic", why, band)
    yield replace(asked, required=False)
    asked = truth("trajectory", "resumed_loss_gap", {"": 0.0}, "arithmetic", why, LOSS)
    yield replace(asked, required=False)
    asked = truth("trajectory", "resumed_rates", {"": 0.0}, "arithmetic", why)
    yield replace(asked, required=False)
    why = "of six steps four were taken before the checkpoint"
    asked = truth("trajectory", "resumed_steps", {"": [4, 5]}, "arithmetic", why)
    yield replace(asked, required=False)
    why = "a training that goes on has the whole log"
    asked = truth("trajectory", "resumed_log", {"": [1, 2, 3, 4, 5, 6]}, "arithmetic", why)
    yield replace(asked, required=False)


def merge_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 11: W + BA is one matrix. Of a model too large to be merged beside the training nothing
    is asked."""
    asked = [
        ("merged_gap", 0.0, "definition of LoRA", "W + s·BA gives what W and s·BA give", LOGITS),
        ("merged_strays", [], "definition of LoRA", "what has no adapter is left alone", None),
        ("merged_names", [], "the snapshot", "a merged model has its base's tensors", None),
        ("merged_reload_gap", 0.0, "arithmetic", "the same weights give the same bits", None),
    ]
    for metric, value, origin, why, band in asked:
        golden = truth("trajectory", metric, {"": value}, origin, why, band)
        yield replace(golden, required=False)
    yield from _merged_weight_truths(truth)


def _merged_weight_truths(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """What merging makes of each weight, by arithmetic of our own."""
    origin = "arXiv 2106.09685, float64"
    types = {"float32": ["float32"], "bfloat16": ["bfloat16"], "four_bit": ["uint8"]}
    why = "a merged weight is held as it was"
    yield replace(truth("trajectory", "merged_dtypes", types, origin, why), required=False)
    band = Band(
        BandKind.ABSOLUTE,
        1e-4,
        "float32 of a sum of eight products, over the sum's norm",
        "0.01 % more of the adapter, or a sum that was rounded to 16 bits on its way",
    )
    why = "merging adds s·BA to a weight"
    gaps = truth("trajectory", "merged_weight_gap", {"float32": 0.0}, origin, why, band)
    yield replace(gaps, required=False)
    band = Band(
        BandKind.ABSOLUTE,
        0.01,
        "a few of 32,768 values that tie are rounded the other way",
        "1 % more of the adapter",
    )
    why = "merging adds s·BA to a weight and rounds once: to its type, or to NF4"
    rounded = dict.fromkeys(("bfloat16", "four_bit"), 0.0)
    gaps = truth("trajectory", "merged_rounded_gap", rounded, origin, why, band)
    yield replace(gaps, required=False)
