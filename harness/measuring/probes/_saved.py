"""Rung 11, what is saved beside the adapter's tensors: its config, and a processor that is loaded
again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.data.samples import conversations
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import family
from harness.measuring.snapshots import loading
from harness.measuring.training.collate import make_collator
from harness.records.context import Context
from harness.records.files import read_json
from harness.records.typed import Json

FIELDS = (
    "peft_type",
    "task_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "bias",
    "use_rslora",
    "modules_to_save",
    "inference_mode",
)
ROWS = 2


def record_saved(
    recorder: Recorder, context: Context, done: Mapping[str, Any], folder: Path
) -> None:
    """done: what the finished training says of itself. folder: its own."""
    config = read_json(folder / "adapter" / "adapter_config.json")
    for name in FIELDS:
        recorder.add("saved_field", config.get(name, "absent"), case=name)
    is_its_base = config.get("base_model_name_or_path") == done["spec"]["snapshot"]
    recorder.add("saved_base", is_its_base, unit="bool", note="the adapter names what it is for")
    changed, _ = recorder.attempt("saved_processor", lambda: changed_by_saving(context))
    if changed is not None:
        note = "what a processor makes otherwise once it was saved and loaded again"
        recorder.add("saved_processor", changed, unit="tensors", note=note)


def changed_by_saving(context: Context) -> list[Json]:
    """`text` and the names of a batch's tensors that differ."""
    import torch

    folder = context.work("trajectory") / "processor"
    shutil.rmtree(folder, ignore_errors=True)
    processor = loading.load_processor(context.snapshot)
    processor.save_pretrained(str(folder))
    # It says which family's the processor is; saving one leaves it to the model.
    shutil.copyfile(context.snapshot / "config.json", folder / "config.json")
    again = loading.load_processor(folder)
    rows = conversations(context, context.recipe, ROWS)
    texts = [each.apply_chat_template(rows[0], tokenize=False) for each in (processor, again)]
    loader = family(context.family)
    first, second = (make_collator(p, context.recipe, loader)(rows) for p in (processor, again))
    names = {
        name
        for name in first.keys() | second.keys()
        if name not in first or name not in second or not torch.equal(first[name], second[name])
    }
    shutil.rmtree(folder)
    return [*(["text"] if texts[0] != texts[1] else []), *sorted(names)]
