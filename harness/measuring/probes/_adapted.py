"""What the adapter does instead of a call that this stack or this machine refuses: the result, and
a sentence that says so."""

from __future__ import annotations

from typing import Any

from harness.measuring import _compat
from harness.measuring.probes._written import Bench, generate
from harness.measuring.snapshots import loading
from harness.measuring.training import trainer


def _vision_to_text(bench: Bench) -> Any:
    """The installed auto class that knows this model."""
    return _compat.vision_to_text_class(loading.load_config(bench.snapshot))


def auto_class(bench: Bench) -> tuple[Any, str]:
    """The installed vision-to-text auto class."""
    other = _vision_to_text(bench)
    return other, f"{other.__name__} instead of AutoModelForVision2Seq"


def adapt_load_4bit(bench: Bench) -> tuple[Any, str]:
    """The family's loader: installed class, 4 bit where this machine can, else emulated."""
    mode = loading.quantisation_mode(bench.device)
    model = loading.load_model(
        bench.snapshot,
        device=bench.device,
        dtype="bfloat16",
        quantisation=mode,
        recipe=bench.recipe,
    )
    name = _vision_to_text(bench).__name__
    return model, f"{name}, {_compat.dtype_argument()}=, quantisation {mode}"


def adapt_load_float16(bench: Bench) -> tuple[Any, str]:
    """The family's loader in float32 on the CPU, float16 elsewhere."""
    dtype = "float16" if bench.device.startswith("cuda") else "float32"
    model = loading.load_model(bench.snapshot, device=bench.device, dtype=dtype)
    return model, f"{_vision_to_text(bench).__name__}, {_compat.dtype_argument()}={dtype}"


def adapt_sft_config(bench: Bench) -> tuple[Any, str]:
    """The arguments that this class and this machine take."""
    from trl import SFTConfig

    wanted = trainer.recipe_arguments(bench.recipe)
    wanted, notes = trainer.machine_arguments(bench.device, wanted)
    arguments, changed = _compat.sft_arguments(SFTConfig, wanted)
    args = SFTConfig(output_dir=str(bench.work / "trained"), **arguments)
    args.remove_unused_columns = False
    return args, " ".join([*notes, *changed])


def adapt_sft_trainer(bench: Bench) -> tuple[Any, str]:
    """The harness's own trainer."""
    # A trainer that failed half-way may have wrapped the model already: load it again.
    model, _ = adapt_load_4bit(bench)
    built = trainer.build_trainer(
        model,
        bench.results["load_processor"],
        bench.conversations,
        bench.recipe,
        bench.work / "trained",
    )
    return built.trainer, " ".join(built.notes)


def adapt_generate(bench: Bench) -> tuple[Any, str]:
    """The same call on a model in float32."""
    bench.results["load_model_float16"], sentence = adapt_load_float16(bench)
    return generate(bench), sentence
