"""Rung 1: every import and call of the recipe, as written, executed on the installed stack.

The calls run on a tiny random model of the snapshot's own architecture and vocabulary: what is
measured is whether the libraries take the call, not what the weights answer.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import Lack, NotRunnable
from harness.measuring import _compat
from harness.measuring.instruments.recorder import Recorder, failure_of
from harness.measuring.models import family, of_snapshot
from harness.measuring.probes._calls import CALLS, Call
from harness.measuring.probes._read_back import tensors_unread
from harness.measuring.probes._written import Bench, lora_config
from harness.measuring.snapshots.loading import load_config
from harness.recipe.published import PRINTED_LORA
from harness.records.context import Context
from harness.records.disk import raise_of_the_disk
from harness.records.files import read_json, write_json
from harness.records.record import Metric, Record, Status
from harness.records.typed import Json

ROWS = 4
SIDE = 56
LIBRARIES = ("transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes")
# Raised when a module is first compiled, or by the garbage collector: they come and go.
COMPILING = (
    "DeprecationWarning: invalid escape sequence",
    "SyntaxWarning: ",
    "ResourceWarning: ",
)
PRINTED_SET = re.compile(r"\{[^{}]*\}")
ASSETS = ("*.json", "*.txt", "*.jinja")
# What makes pictures as large as the model takes them.
PICTURE_FILES = ("preprocessor_config.json", "processor_config.json")


def tiny_snapshot(source: Path, target: Path) -> Path:
    """A two-layer random model with the source's tokenizer, processor and control ids.

    Every width is a multiple of 64, the block of NF4. Raises what the libraries raise.
    """
    import torch

    target.mkdir(parents=True, exist_ok=True)
    for pattern in ASSETS:
        for path in source.glob(pattern):
            if "index" not in path.name:
                shutil.copyfile(path, target / path.name)
    loader, config = family(of_snapshot(source)), read_json(source / "config.json")
    shrunk = loader.tiny(config)
    write_json(target / "config.json", shrunk)
    if _side(shrunk) != _side(config):
        # A tower with a place for each patch of a picture takes no larger one.
        files = loader.files(config)
        for name in PICTURE_FILES:
            if name in files:
                write_json(target / name, files[name])
    torch.manual_seed(0)
    config = load_config(target)
    model = _compat.vision_to_text_class(config).from_config(config)
    model.to(torch.bfloat16).save_pretrained(str(target), safe_serialization=True)
    return target


def _side(config: Mapping[str, Any]) -> object:
    """Of the pictures that a tower takes, in px; None where it takes any."""
    return (config.get("vision_config") or {}).get("image_size")


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname}: {record.getMessage()}")


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Python warnings and the libraries' logged ones, first lines, in order, each once."""
    lines_seen: list[str] = []
    handler = _Collector()
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for logger in loggers:
            logger.addHandler(handler)
        try:
            yield lines_seen
        finally:
            for logger in loggers:
                logger.removeHandler(handler)
            raised = [f"{w.category.__name__}: {w.message}" for w in caught]
            raised = [line for line in raised if not line.startswith(COMPILING)]
            lines = (line.strip().splitlines()[0] for line in [*raised, *handler.lines])
            lines_seen += dict.fromkeys(map(in_order, lines))


def in_order(line: str) -> str:
    """A line with the sets that it prints sorted: their order is another one in every process."""
    return PRINTED_SET.sub(lambda printed: _sorted(printed[0]), line)


def _sorted(printed: str) -> str:
    try:
        value = ast.literal_eval(printed)
    except (SyntaxError, ValueError):
        return printed
    return f"{{{', '.join(sorted(map(repr, value)))}}}" if isinstance(value, set) else printed


def printed_fields(config: Any) -> dict[str, Json]:
    """The printed LoraConfig's fields as this stack has them, sets sorted, enums as values."""

    def plain(value: Any) -> Any:
        value = getattr(value, "value", value)
        return sorted(value) if isinstance(value, set) else value

    return {name: plain(getattr(config, name, "absent")) for name in PRINTED_LORA}


def repr_fields(config: Any) -> list[str]:
    """Names of the keyword arguments in the config's repr, as the post prints it."""
    call = ast.parse(re.sub(r"<[^>]*>", "None", repr(config)), mode="eval").body
    return [k.arg for k in call.keywords if k.arg] if isinstance(call, ast.Call) else []


def execute(call: Call, bench: Bench, recorder: Recorder, scrub: Callable[[str], str]) -> None:
    """Run one call as written; record it, its warnings, and what the adapter did instead."""
    error: Exception | None = None
    with collected_warnings() as heard:
        try:
            bench.results[call.name] = call.run(bench)
        except Exception as caught:  # noqa: BLE001 - whatever the call raises is the finding
            raise_of_the_disk(caught)
            error = caught
    if isinstance(error, NotRunnable):
        # A call that could not begin had nothing to warn about.
        recorder.not_run(
            "warnings", str(error), error.lack, case=call.name, blocked_by=error.blocked_by
        )
    else:
        recorder.add("warnings", [scrub(line) for line in heard], case=call.name, unit="text")
    if error is None:
        recorder.add("call", "PASS", case=call.name, unit="call")
        if call.adapter:
            recorder.add("adapter", "as written", case=call.name, unit="text")
        return
    failure = failure_of(error)
    failure = replace(failure, message=scrub(failure.message))
    no_cuda = not bench.device.startswith("cuda") and call.needs_cuda
    if isinstance(error, NotRunnable):
        recorder.not_run(
            "call", str(error), error.lack, case=call.name, blocked_by=error.blocked_by
        )
    elif no_cuda and re.search(no_cuda, str(error)):
        reason = f"needs CUDA: {failure.type}: {failure.message} ({failure.where})"
        recorder.not_run("call", reason, Lack.CUDA, case=call.name)
    else:
        recorder.put(Metric("interface", "call", call.name, status=Status.BROKEN, failure=failure))
    if call.adapter:
        done, _ = recorder.attempt("adapter", partial(call.adapter, bench), case=call.name)
        if done is not None:
            bench.results[call.name], sentence = done
            recorder.add("adapter", sentence, case=call.name, unit="text")


def rows() -> list[dict[str, Any]]:
    """A few catalogue products with small pictures."""
    from harness.data.catalogue import products, row

    rows = [row(product) for product in products("train")[:ROWS]]
    return [{**r, "image": r["image"].resize((SIDE, SIDE))} for r in rows]


def compare_lora(recorder: Recorder, bench: Bench) -> None:
    """The LoraConfig's fields, untouched by a trainer, against the post's printed repr."""
    config, broken = recorder.attempt("lora_fields_differing", partial(lora_config, bench))
    if broken is not None:
        return
    differing: list[Json] = [
        f"{name}: printed {json.dumps(PRINTED_LORA[name])}, now {json.dumps(value)}"
        for name, value in printed_fields(config).items()
        if value != PRINTED_LORA[name]
    ]
    new: list[Json] = [n for n in repr_fields(config) if n not in {*PRINTED_LORA, "runtime_config"}]
    recorder.add("lora_fields_differing", differing, unit="fields")
    recorder.add("lora_fields_unprinted", new, unit="fields")


def read_back(recorder: Recorder, bench: Bench) -> None:
    """What the model's own load_adapter left out of the adapter that was saved; it may say so in a
    report that nobody reads and return."""
    if "load_adapter" not in bench.results:
        why = "It needs the adapter that load_adapter reads, which is broken; mend that first."
        call = "interface.call.load_adapter"
        recorder.not_run("adapter_tensors_unread", why, Lack.FINDING, blocked_by=call)
        return
    folder, model = bench.results["save_model"], bench.results["load_model_float16"]
    count = partial(tensors_unread, folder, model)
    unread, broken = recorder.attempt("adapter_tensors_unread", count)
    if broken is None:
        recorder.add("adapter_tensors_unread", unread, unit="tensors")


@contextmanager
def process_left_as_found() -> Iterator[None]:
    """Undo what the recipe's calls change for the whole process.

    SFTConfig(bf16=True) writes ACCELERATE_MIXED_PRECISION into the environment and accelerate's
    state is a singleton: a later trainer in this process would silently run under autocast.
    tf32=True is such a switch too.
    """
    import torch
    from accelerate.state import AcceleratorState

    environment, precision = dict(os.environ), torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        AcceleratorState._reset_state(reset_partial_state=True)
        torch.set_float32_matmul_precision(precision)


def run(context: Context) -> Record:
    """Every call; what is left of an adapter; the LoraConfig's fields against the printed ones."""
    with process_left_as_found():
        return _run(context)


def _run(context: Context) -> Record:
    import torch

    recorder = Recorder("interface")
    work = context.work("interface")
    folders = {str(work): "work", sys.prefix: "environment"}

    def scrub(text: str) -> str:
        for folder, name in folders.items():
            text = text.replace(folder, name)
        return text

    try:
        snapshot = tiny_snapshot(context.snapshot, work / "tiny")
        torch.manual_seed(context.seed)
        bench = Bench(snapshot, work, context.device, context.recipe, rows())
        for call in CALLS:
            execute(call, bench, recorder, scrub)
        read_back(recorder, bench)
    finally:
        # The trainer's own checkpoints are pickles.
        shutil.rmtree(work, ignore_errors=True)
    compare_lora(recorder, bench)
    return recorder.finish(context.provenance(ROWS), context.out)
