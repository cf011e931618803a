"""Which Linears are held in 4 bits, against what the training's own settings say."""

from __future__ import annotations

from typing import Any

from harness.measuring.audit.finding import Findings
from harness.measuring.audit.structure import SEES, Structure, active, is_four_bit
from harness.measuring.audit.training import Training
from harness.measuring.instruments.nf4 import is_skipped
from harness.records.audit import Basis, Relation


def quantisation_checks(training: Training, findings: Findings) -> None:
    """Of every model; of one that nobody quantises that nobody asked for it."""
    structure = training.structure
    config = getattr(structure.core.config, "quantization_config", None)
    asked = [c for c in training.quantisations if getattr(c, "load_in_4bit", False)]
    packed = [path for path, module in structure.linears() if is_four_bit(module)]
    if asked or _four_bit(config):
        findings.put(
            "quantised",
            bool(packed),
            True,
            basis=Basis.DECLARED,
            evidence=[f"{len(packed)} Linears in 4 bits"],
            setting="quantization_config" if asked and config is not None else "load_in_4bit",
        )
    if not _four_bit(config) or not packed:
        findings.not_run("left_unquantised", "No weight is held in 4 bits.")
        return
    skip = _skipped(structure, config)
    meant = [path for path, _ in structure.linears() if not is_skipped(path, skip)]
    forgotten = sorted(set(meant) - set(packed))
    findings.put(
        "left_unquantised",
        len(forgotten),
        0,
        basis=Basis.DECLARED,
        unit="Linears",
        evidence=forgotten,
        setting="llm_int8_skip_modules",
    )
    _head(structure, findings)
    _scheme(structure, findings, config)
    sees = [path for path in packed if structure.component(f"{path}.weight") in SEES]
    findings.record("tower_quantised", len(sees), unit="Linears")


def _four_bit(config: Any) -> bool:
    if isinstance(config, dict):
        return bool(config.get("load_in_4bit"))
    return bool(getattr(config, "load_in_4bit", False))


def _setting(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, dict) else getattr(config, name, None)


def _skipped(structure: Structure, config: Any) -> list[str]:
    """Names that loading leaves alone: those of the settings, or the head and what is tied to it
    where they name none (transformers' rule; the last module is the head of every decoder)."""
    named = _setting(config, "llm_int8_skip_modules")
    if named:
        return list(named)
    head = structure.core.get_output_embeddings()
    return [] if head is None else [structure.path(head).rsplit(".", 1)[-1]]


def _head(structure: Structure, findings: Findings) -> None:
    """The head's rounding goes straight into the loss; the library leaves it alone by default."""
    head = structure.core.get_output_embeddings()
    if head is None or not hasattr(active(head), "weight"):
        findings.not_run("head_quantised", "The model names no head.")
        return
    findings.put(
        "head_quantised", is_four_bit(active(head)), False, setting="llm_int8_skip_modules"
    )


def _scheme(structure: Structure, findings: Findings, config: Any) -> None:
    """nf4 or fp4, once or twice, as the settings say."""
    kinds = set()
    for _, module in structure.linears():
        if is_four_bit(module):
            state = module.weight.quant_state
            kinds.add(f"{state.quant_type} {'double' if state.nested else 'single'}")
    twice = "double" if _setting(config, "bnb_4bit_use_double_quant") else "single"
    findings.put(
        "quantised_as",
        [*sorted(kinds)],
        [f"{_setting(config, 'bnb_4bit_quant_type')} {twice}"],
        basis=Basis.DECLARED,
        relation=Relation.EQUAL,
        setting="bnb_4bit_quant_type",
    )
