"""Rung 6: parameters, dtypes, which modules are quantised, exact bytes, what LoRA adapts.

Cases such as `7b` are the family's published sizes on the meta device and need no snapshot;
cases `model` are the one at hand, predicted from its config and, where it has weights, loaded as
the recipe does.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from harness.errors import Lack
from harness.measuring.instruments import footprint, nf4
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import canonical_name, component, family, of, parts
from harness.measuring.probes import _loaded
from harness.measuring.probes._four_bit import record_quantised
from harness.measuring.probes._held import record_held
from harness.measuring.probes._loaded import record_start, record_values
from harness.measuring.snapshots import loading
from harness.measuring.training import adapter
from harness.recipe.published import PRINTED_LORA, Recipe
from harness.records.context import Context
from harness.records.files import json_digest
from harness.records.record import How, Record
from harness.records.typed import Json


def shapes(model: Any) -> dict[str, list[int]]:
    """Shape of every parameter, by canonical name."""
    loader = of(model)
    return {
        canonical_name(name, loader): [int(n) for n in parameter.shape]
        for name, parameter in model.named_parameters()
    }


def record_architecture(recorder: Recorder, model: Any, case: str) -> None:
    """Counts and predicted bytes of a model on the meta device."""
    inventory = shapes(model)
    recorder.add("inventory", json_digest(inventory), case=case, unit="digest")
    recorder.add("parameters", sum(p.numel() for p in model.parameters()), case=case)
    sizes: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for name, (rows, columns) in footprint.linears(model).items():
        where = name.split(".", 1)[0]
        names[where] += 1
        sizes[where] += rows * columns
    for where in sorted(names):
        recorder.add("linears", names[where], case=f"{case}.{where}", unit="modules")
        recorder.add("linear_weights", sizes[where], case=f"{case}.{where}")
    for scheme, how in footprint.SCHEMES.items():
        size = footprint.predict(model, how)
        at = f"{case}.{scheme}"
        recorder.add("bytes", size.total, case=at, unit="bytes", how=How.PREDICTED)
        recorder.add(
            "bytes_by_component", dict(size.by_component), case=at, unit="bytes", how=How.PREDICTED
        )
        recorder.add(
            "parameter_bytes",
            size.parameters,
            case=at,
            unit="bytes",
            how=How.PREDICTED,
            note="what get_memory_footprint() sees: no quantisation state",
        )


def record_lora(recorder: Recorder, model: Any, recipe: Recipe, case: str) -> Any:
    """Adapted modules and counts; returns the wrapped model."""
    loader = of(model)
    refused = [canonical_name(f"{n}.", loader)[:-1] for n in adapter.refused(model, recipe)]
    recorder.add("lora_refused", [*refused], case=case, note="targets that are no Linears")
    reach = adapter.size_by_component(model, recipe)
    recorder.add(
        "lora_reach", {str(k): size for k, size in reach.items()}, case=case, how=How.PREDICTED
    )
    wrapped = adapter.add_lora(model, recipe)
    trainable = {n: p for n, p in wrapped.named_parameters() if p.requires_grad}
    adapted = sorted(
        {canonical_name(n, loader).split(".lora_")[0] for n in trainable if ".lora_" in n}
    )
    recorder.add("lora_adapted", len(adapted), case=case, unit="modules")
    recorder.add("lora_modules", list(adapted), case=case)
    recorder.add("lora_trainable", sum(p.numel() for p in trainable.values()), case=case)
    sizes: Counter[str] = Counter()
    for name, parameter in trainable.items():
        sizes[str(component(name, loader))] += int(parameter.numel())
    recorder.add("lora_by_component", dict(sizes), case=case)
    recorder.add("lora_total", sum(p.numel() for p in wrapped.parameters()), case=case)
    _record_reach(recorder, model, adapted, case)
    strangers = sorted(n for n in trainable if ".lora_" not in n)
    recorder.add("trainable_outside_lora", list(strangers), case=case)
    return wrapped


def _record_reach(recorder: Recorder, model: Any, adapted: list[str], case: str) -> None:
    """What the recipe's targets reach beside the decoder's layers, and which of those they miss."""
    loader, modules = of(model), parts(model)
    names = {id(module): name for name, module in model.named_modules()}
    layers = [
        canonical_name(f"{names[id(layer)]}.", loader).removesuffix(".") for layer in modules.layers
    ]
    owner = {
        name: next((i for i, layer in enumerate(layers) if name.startswith(f"{layer}.")), None)
        for name in adapted
    }
    strays: list[Json] = [name for name, layer in owner.items() if layer is None]
    missed: list[Json] = [i for i in range(len(layers)) if i not in owner.values()]
    recorder.add("lora_strays", strays, case=case, note="adapted outside the decoder's layers")
    recorder.add("lora_missed", missed, case=case, note="the decoder's layers without an adapter")


def record_lora_config(recorder: Recorder, recipe: Recipe) -> None:
    """Every field of peft's LoraConfig beside the one the post prints."""
    from peft import LoraConfig

    arguments = {**asdict(recipe.lora), "target_modules": recipe.lora.targets}
    fields: dict[str, Any] = LoraConfig(**arguments).to_dict()
    for name in PRINTED_LORA:
        if name not in fields:
            recorder.add("lora_field", "absent", case=name)
            continue
        value = fields[name]
        plain: Json = sorted(value) if isinstance(value, set | list) else value
        # PeftType is an enum of strings; the record holds its value.
        recorder.add("lora_field", getattr(plain, "value", plain), case=name)
    added = sorted(set(fields) - set(PRINTED_LORA) - {"runtime_config"})
    recorder.add("lora_new_fields", list(added), note="fields that the post's repr does not have")


def quantised_by_value(weight: Any) -> bool:
    """Whether a weight went through NF4: no block of 64 holds more than 16 different values."""
    rows = nf4.blocks(weight.detach().reshape(-1).float(), nf4.BLOCK).sort(dim=1).values
    distinct = 1 + (rows[:, 1:] != rows[:, :-1]).sum(1)
    return bool((distinct <= len(nf4.TABLE)).all())


def emulated_footprint(model: Any) -> footprint.Footprint:
    """Bytes that the emulated weights would hold packed, module by module as really passed."""
    import torch

    loader = of(model)
    parts: Counter[str] = Counter()
    quantised: list[str] = []
    parameters = 0
    linears = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    for raw, parameter in model.named_parameters():
        name = canonical_name(raw, loader)
        seen = own = int(parameter.numel()) * int(parameter.element_size())
        owner, kind = raw.rsplit(".", 1)
        if kind == "weight" and owner in linears and quantised_by_value(parameter):
            packed = nf4.quantise(parameter)
            quantised.append(name.removesuffix(".weight"))
            own, seen = packed.nbytes, int(packed.packed.numel())
        parts[str(component(name, loader))] += own
        parameters += seen
    return footprint.Footprint(sum(parts.values()), parameters, dict(parts), tuple(quantised))


def record_codes(recorder: Recorder, model: Any) -> None:
    """What the 4-bit weights' states say of their type, and the 16 values that their codes mean;
    one for all, or every one that there is."""
    states = [p.quant_state for p in model.parameters() if hasattr(p, "quant_state")]
    types: list[Json] = [*sorted({str(state.quant_type) for state in states})]
    recorder.add("quant_type", types, case="model", unit="text")
    codes: list[Json] = [[*code] for code in sorted({(*s.code.tolist(),) for s in states})]
    recorder.add("quant_code", codes, case="model")


def record_loaded(recorder: Recorder, context: Context, predicted: footprint.Footprint) -> None:
    """The weights as the recipe loads them: 4 bit, bfloat16."""
    loader = family(context.family)
    mode = loading.quantisation_mode(context.device)
    emulated = mode == "emulated"
    how = How.EMULATED if emulated else How.MEASURED
    model = loading.load_model(
        context.snapshot,
        device=context.device,
        dtype=context.recipe.quantisation.bnb_4bit_compute_dtype,
        quantisation=mode,
        recipe=context.recipe,
    )
    loaded = emulated_footprint(model) if emulated else footprint.measure(model)
    quantised: list[Json] = [*sorted(loaded.quantised)]
    recorder.add("quantised", quantised, case="model", how=how, unit="modules")
    recorder.add("held_bytes", loaded.total, case="model", how=how, unit="bytes")
    for part in sorted(set(loaded.by_component) | set(predicted.by_component)):
        gap = loaded.by_component.get(part, 0) - predicted.by_component.get(part, 0)
        recorder.add("bytes_gap", gap, case=part, how=how, unit="bytes")
    recorder.add("buffer_bytes", footprint.buffer_bytes(model), case="model", unit="bytes")
    if not emulated:
        gap = int(model.get_memory_footprint()) - footprint.buffer_bytes(model) - loaded.parameters
        recorder.add("library_footprint_gap", gap, case="model", unit="bytes")
        record_codes(recorder, model)
    else:
        recorder.not_run(
            "library_footprint_gap",
            "the weights are emulated, get_memory_footprint() would count them unpacked",
            Lack.QUANTISATION,
            case="model",
        )
        for name in ("quant_type", "quant_code"):
            recorder.not_run(name, "the weights are emulated", Lack.QUANTISATION, case="model")
    unquantised = {f"{name}.weight" for name in loaded.quantised}
    dtypes = Counter(
        str(p.dtype).removeprefix("torch.")
        for n, p in model.named_parameters()
        if canonical_name(n, loader) not in unquantised
    )
    recorder.add("unquantised_dtypes", dict(dtypes), case="model", unit="tensors")
    record_values(recorder, context, model, loaded.quantised)
    record_held(recorder, model, context.snapshot)
    wrapped = adapter.add_lora(model, context.recipe)
    record_start(recorder, wrapped)
    lora = Counter(
        str(p.dtype).removeprefix("torch.") for p in wrapped.parameters() if p.requires_grad
    )
    recorder.add("lora_dtypes", dict(lora), case="model", unit="tensors")


NO_WEIGHTS = "the snapshot has no weights"
LOADED = (
    "quantised",
    "held_bytes",
    "buffer_bytes",
    "library_footprint_gap",
    "quant_type",
    "quant_code",
    "unquantised_dtypes",
    "lora_dtypes",
    "loaded_strays",
    *_loaded.PACKED,
    "start_of_b",
    "start_reach",
    "start_spread",
    "lora_scaling",
    "lora_dropouts",
    "lora_ranks",
    "lora_idle",
)


def run(context: Context) -> Record:
    """The published models and the one at hand on the meta device, then the weights if any."""
    recorder = Recorder("model")
    loader = family(context.family)
    recorder.add("family", loader.TITLE, unit="text", note=loader.SPECIAL)
    for size in loader.PUBLISHED:
        published = loading.published_model(context.family, size)
        record_architecture(recorder, published, size)
        record_lora(recorder, published, context.recipe, size)
    here = loading.meta_model(context.snapshot)
    predicted = footprint.predict(here, footprint.NF4_DOUBLE)
    record_architecture(recorder, here, "model")
    record_lora(recorder, here, context.recipe, "model")
    record_lora_config(recorder, context.recipe)
    record_quantised(recorder, context)
    if context.has_weights:
        # A library that refuses to load in 4 bit takes nothing of what the config says with it.
        recorder.attempt("loaded", lambda: record_loaded(recorder, context, predicted))
    else:
        for name in LOADED:
            recorder.not_run(name, NO_WEIGHTS, Lack.WEIGHTS, case="model")
        for part in sorted(predicted.by_component):
            recorder.not_run("bytes_gap", NO_WEIGHTS, Lack.WEIGHTS, case=part)
        for name in ("held", "config_strays"):
            recorder.not_run(name, NO_WEIGHTS, Lack.WEIGHTS)
    return recorder.finish(context.provenance("config"), context.out)
