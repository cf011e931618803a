"""Rung 0: declared against installed, and the imports the recipe needs, executed."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module

from harness.errors import HarnessError, Lack
from harness.judging.environments.stack import declared, parse, pins
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes._bare import run_bare
from harness.records.context import Context
from harness.records.machine import installed_versions, snapshot
from harness.records.mismatches import mismatches
from harness.records.record import Metric, Record, Status

# Every package that the recipe's code imports, or that it names to have it installed.
MODULES = (
    "torch",
    "torchvision",
    "tensorboard",
    "PIL",
    "transformers",
    "datasets",
    "accelerate",
    "evaluate",
    "bitsandbytes",
    "trl",
    "peft",
    "qwen_vl_utils",
)
BARE_IMPORT = "from trl import SFTTrainer"


def differing(stack: str) -> list[str]:
    """`name declared X, installed Y` for every declared package that differs, sorted.

    Local version labels (`+cu121`) are ignored. Raises BadInput where the stack declares nothing.
    """
    installed = installed_versions()
    return sorted(
        f"{name} declared {wanted}, installed {installed.get(name, 'nothing')}"
        for name, wanted in declared(parse(stack)).items()
        if installed.get(name, "").split("+")[0] != wanted.split("+")[0]
    )


def run(context: Context) -> Record:
    """Versions, differences from the lock, what does not fit, imports, the bare import."""
    recorder = Recorder("environment")
    here = snapshot()
    recorder.add("python", ".".join(map(str, sys.version_info[:2])), unit="version")
    for name, version in here.versions.items():
        recorder.add("version", version, case=name, unit="version")
    try:
        recorder.add("pins_differing", list(differing(context.stack)), unit="packages")
    except HarnessError as error:
        recorder.not_run("pins_differing", str(error), Lack.DECLARATION)
    recorder.add("mismatched_pairs", [pair.sentence for pair in mismatches()], unit="pairs")
    for module in MODULES:
        _, broken = recorder.attempt("imports", partial(import_module, module), case=module)
        if broken is None:
            recorder.add("imports", "PASS", case=module, unit="call")
    failure = run_bare(BARE_IMPORT, [pin.name for pin in pins("recipe-bare")])
    if failure is None:
        recorder.add("bare_pins_import", "PASS", unit="call")
    else:
        recorder.put(
            Metric("environment", "bare_pins_import", status=Status.BROKEN, failure=failure)
        )
    return recorder.finish(context.provenance(), context.out)
