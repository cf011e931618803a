"""What of a model peft's adapters really reach, and how they begin."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from harness.measuring.audit.finding import Findings
from harness.measuring.audit.structure import SEES, Structure, elements, is_peft_own
from harness.records.audit import Basis, Relation

# Initialisations at which an adapter changes nothing, for B begins at zero; and False, which draws
# B as well and changes the model at once: peft has it for tests.
NEUTRAL = (True, "gaussian", "orthogonal_a", None, False)
# The copy of the starting adapter that TRL's DPO holds the trained one against.
_REFERENCE = "ref"


def is_adapter(name: str) -> bool:
    """Whether a parameter belongs to an adapter, copies of whole modules included."""
    return is_peft_own(name) or name.startswith(("prompt_encoder.", "base_model.prompt"))


def adapter_checks(structure: Structure, findings: Findings) -> None:
    """Of every model that peft wraps."""
    _outside(structure, findings)
    _frozen(structure, findings)
    _idle(structure, findings)
    if not any(hasattr(config, "r") for config in structure.configs.values()):
        kinds = ", ".join(sorted(str(c.peft_type) for c in structure.configs.values()))
        findings.not_run("decoder_layers_adapted", f"The adapter is {kinds}, not of LoRA's kind.")
        return
    _reach(structure, findings)
    _tower(structure, findings)
    _scaling(structure, findings)
    _start(structure, findings)


def _outside(structure: Structure, findings: Findings) -> None:
    """Beside adapters nothing trains that peft was not told to train."""
    biases = any(getattr(c, "bias", "none") != "none" for c in structure.configs.values())
    outside = {
        name: elements(parameter)
        for name, parameter in structure.core.named_parameters()
        if parameter.requires_grad
        and not is_adapter(name)
        and not (biases and name.endswith("bias"))
    }
    components = Counter[str]()
    for name, count in outside.items():
        components[str(structure.component(name))] += count
    findings.put(
        "trained_beside_adapters",
        sum(outside.values()),
        0,
        basis=Basis.DECLARED,
        unit="elements",
        evidence=[f"{component} {count:,}" for component, count in components.items()],
        setting="requires_grad",
    )


def _frozen(structure: Structure, findings: Findings) -> None:
    """Every tensor of an active adapter trains."""
    names = _active_adapters(structure)
    adapters = {
        name: parameter
        for name, parameter in structure.core.named_parameters()
        if is_adapter(name) and set(names) & set(name.split("."))
    }
    frozen = [name for name, parameter in adapters.items() if not parameter.requires_grad]
    asleep = any(getattr(c, "inference_mode", False) for c in structure.configs.values())
    findings.put(
        "adapters_frozen",
        len(frozen),
        0,
        unit="tensors",
        evidence=[f"{len(frozen)} of {len(adapters)}", *frozen] if frozen else (),
        setting="inference_mode" if asleep else "requires_grad",
    )


def _idle(structure: Structure, findings: Findings) -> None:
    """Every adapter that was put on the model is active, those of a reference model apart."""
    names = set(_active_adapters(structure))
    idle = [name for name in structure.configs if name not in names | {_REFERENCE}]
    findings.put(
        "adapters_idle", len(idle), 0, unit="adapters", evidence=idle, setting="set_adapter"
    )


def _active_adapters(structure: Structure) -> list[str]:
    names = getattr(structure.model, "active_adapters", None) or list(structure.configs)
    return list(names() if callable(names) else names)


def _reach(structure: Structure, findings: Findings) -> None:
    """In how many of the decoder's layers something is adapted."""
    reached = [
        path
        for path, _ in structure.layers
        if any(adapted.startswith(f"{path}.") for adapted in structure.adapted)
    ]
    chosen = _chosen_layers(structure)
    missed = [path for path, _ in structure.layers if path not in reached]
    every = len(structure.layers)
    findings.put(
        "decoder_layers_adapted",
        len(reached),
        every if chosen is None else len(chosen),
        basis=Basis.ARITHMETIC if chosen is None else Basis.DECLARED,
        relation=Relation.AT_LEAST,
        unit="layers",
        evidence=missed,
        setting="target_modules",
    )
    if chosen is not None:
        findings.put(
            "layers_left_out",
            every - len(reached),
            0,
            unit="layers",
            evidence=missed,
            setting="layers_to_transform",
        )


def _chosen_layers(structure: Structure) -> set[int] | None:
    """The layers that the settings name; None where they name none."""
    chosen: set[int] = set()
    for config in structure.configs.values():
        layers = getattr(config, "layers_to_transform", None)
        if layers is None:
            return None
        chosen |= {layers} if isinstance(layers, int) else set(layers)
    return chosen


def _tower(structure: Structure, findings: Findings) -> None:
    """Whether names that are meant for the decoder also name Linears of the tower.

    A tower whose every Linear is adapted was meant: `all-linear` says so, and peft keeps of it
    only the names that it found.
    """
    linears = [path for path, _ in structure.linears() if _sees(structure, path)]
    reached = [path for path in linears if path in structure.adapted]
    shared = set() if len(reached) == len(linears) else _shared_names(structure)
    unmeant = [path for path in reached if any(_ends(path, name) for name in shared)]
    findings.put(
        "tower_adapted",
        len(unmeant),
        0,
        unit="Linears",
        evidence=sorted({name for name in shared if any(_ends(p, name) for p in unmeant)}),
        setting="target_modules",
    )


def _shared_names(structure: Structure) -> set[str]:
    """Names of target_modules that reach decoder and tower; a regular expression counts as one
    unless it names the tower itself."""
    names: set[str] = set()
    for config in structure.configs.values():
        targets = getattr(config, "target_modules", None) or ()
        names |= {targets} if isinstance(targets, str) else set(targets)
    both = set()
    for name in names:
        hit = [path for path in structure.adapted if _ends(path, name)]
        sees = [path for path in hit if _sees(structure, path)]
        named = any(
            part in name for path in sees for part in path.split(".")[:-1] if part.isalpha()
        )
        if sees and len(sees) < len(hit) and not named:
            both.add(name)
    return both


def _sees(structure: Structure, path: str) -> bool:
    return structure.component(f"{path}.weight") in SEES


def _ends(path: str, name: str) -> bool:
    """Whether a name of target_modules means that module, as peft reads it."""
    if path == name or path.endswith(f".{name}"):
        return True
    try:
        return re.fullmatch(name, path) is not None
    except re.error:
        return False


def _scaling(structure: Structure, findings: Findings) -> None:
    """Every adapter multiplies by alpha / r, or alpha / sqrt(r), of its own settings."""
    wrong = []
    for path, layer in structure.adapted.items():
        for name, config in structure.configs.items():
            if name not in getattr(layer, "scaling", {}) or not hasattr(config, "lora_alpha"):
                continue
            rank = _by_pattern(path, getattr(config, "rank_pattern", None), config.r)
            alpha = _by_pattern(path, getattr(config, "alpha_pattern", None), config.lora_alpha)
            meant = alpha / (rank**0.5 if getattr(config, "use_rslora", False) else rank)
            # Both are the same division of the same two numbers in float64.
            if layer.r[name] != rank or abs(layer.scaling[name] - meant) > 1e-9 * abs(meant):
                wrong.append(f"{path}: r {layer.r[name]}, scale {layer.scaling[name]:g}")
    findings.put(
        "adapters_scaled_otherwise",
        len(wrong),
        0,
        basis=Basis.DECLARED,
        unit="Linears",
        evidence=wrong,
        setting="scaling",
    )


def _by_pattern(path: str, patterns: Any, default: Any) -> Any:
    """The rank or alpha of a module: that of the first pattern that its path ends with."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", path):
            return value
    return default


def _start(structure: Structure, findings: Findings) -> None:
    """At the start A is drawn and B is zero: the adapter changes nothing, and can learn."""
    dead, moved, counted = [], [], 0
    for path, layer in structure.adapted.items():
        for name, config in structure.configs.items():
            first, second = (getattr(layer, part, {}) for part in ("lora_A", "lora_B"))
            if name not in first or name not in second:
                continue
            counted += 1
            if not bool(first[name].weight.detach().any()):
                dead.append(path)
            neutral = getattr(config, "init_lora_weights", None) in NEUTRAL
            if neutral and bool(second[name].weight.detach().any()):
                moved.append(path)
    if not counted:
        findings.not_run("adapters_dead", "The adapters have no two factors.")
        return
    findings.put("adapters_dead", len(dead), 0, unit="Linears", evidence=dead)
    findings.put(
        "adapters_moved",
        len(moved),
        0,
        unit="Linears",
        evidence=moved,
        setting="init_lora_weights",
    )
