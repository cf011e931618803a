"""Rung 6: the numbers that the loaded modules compute with, and the config that they were given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import parts
from harness.measuring.models._numbers import bases_of, numbers_of
from harness.records.files import read_json
from harness.records.typed import Json

# Where a config keeps the numbers of its angles, by release.
ROTARY = ("rope_parameters", "rope_scaling")
# What a loader sets for what is generated, and what is asked for when a model is loaded.
NOT_COMPUTED_WITH = ("bos_token_id", "eos_token_id", "pad_token_id")


def record_held(recorder: Recorder, model: Any, snapshot: Path) -> None:
    """What each part's modules hold of each number: the values that differ, in order; and which
    numbers of the snapshot's config.json the loaded model's configs have otherwise.

    model: as it was loaded, without an adapter.
    """
    for part, modules in _by_part(model).items():
        by_name: dict[str, set[Any]] = {}
        for module in modules:
            for name, value in numbers_of(module):
                by_name.setdefault(name, set()).add(value)
        if part == "decoder":
            by_name["base"] = {base for module in modules for base in bases_of(module)}
        for name, values in by_name.items():
            different: list[Json] = [*sorted(values)]
            if different:
                recorder.add("held", different, case=f"{part}.{name}")
    strays: list[Json] = [*sorted(set(_strays(model, read_json(snapshot / "config.json"))))]
    recorder.add("config_strays", strays, unit="numbers")


def _by_part(model: Any) -> dict[str, list[Any]]:
    """The modules of the tower, of a connector that lies behind it, and of the decoder."""
    modules = parts(model)
    tower = [*modules.tower.modules()]
    inside = {id(module) for module in tower}
    beside = [m for m in modules.connector.modules() if id(m) not in inside]
    return {"tower": tower, "connector": beside, "decoder": [*modules.decoder.modules()]}


def _strays(model: Any, written: Mapping[str, Any]) -> Iterator[str]:
    """Numbers and activations of a config.json that a config of the model's modules has otherwise;
    none of what the installed library has no name for.

    A section's numbers are those of the configs that the modules of its part hold.
    """
    of_model = parts(model)
    by_section = {"": [model], "text_config": [of_model.decoder], "vision_config": [of_model.tower]}
    for section, modules in by_section.items():
        numbers = written.get(section, {}) if section else written
        every = [m for module in modules for m in module.modules() if hasattr(m, "config")]
        configs = {id(m.config): m.config for m in every}.values()
        own = configs if section else [model.config, of_model.decoder.config]
        for name, value in numbers.items():
            if name in NOT_COMPUTED_WITH:
                continue
            at = f"{section}.{name}" if section else name
            if name in ROTARY and isinstance(value, Mapping):
                own_of: list[Any] = [next(filter(None, map(vars(c).get, ROTARY)), {}) for c in own]
                inside = [each for each in own_of if isinstance(each, Mapping)]
                yield from (f"{at}.{n}" for n, v in value.items() if _is_otherwise(n, v, inside))
            elif _is_otherwise(name, value, [vars(config) for config in own]):
                yield at


def _is_otherwise(name: str, value: Any, configs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of the configs has another value; none of what nothing is computed with."""
    if not _is_computed_with(name, value):
        return False
    return any(c.get(name) is not None and c[name] != value for c in configs)


def _is_computed_with(name: str, value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_computed_with(name, each) for each in value)
    return (isinstance(value, int | float) and not isinstance(value, bool)) or (
        isinstance(value, str) and name.endswith(("_act", "_activation"))
    )
