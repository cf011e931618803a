"""The model: what trains, what is adapted, how weights are held, what is tied."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from harness.measuring.audit.checks._adapters import adapter_checks, is_adapter
from harness.measuring.audit.checks._new_tokens import new_token_checks
from harness.measuring.audit.checks._quantised import quantisation_checks
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.structure import (
    Structure,
    active,
    dtype,
    elements,
    is_peft_own,
    single_rows,
    stored,
    ties_head,
    without_wrapper,
)
from harness.measuring.audit.training import Training
from harness.records.audit import Basis, ComponentRow, Relation

# Eight and eleven bits of mantissa: a step of the learning rate is often smaller than the distance
# between a weight and its neighbour, and is lost.
SHORT = ("bfloat16", "float16")


def checks(training: Training, findings: Findings) -> None:
    """See the module."""
    structure = training.structure
    findings.components.extend(component_rows(structure))
    trained = {n: p for n, p in structure.core.named_parameters() if p.requires_grad}
    count = sum(elements(p) for p in trained.values())
    findings.put(
        "trains", count, 1, relation=Relation.AT_LEAST, unit="elements", setting="requires_grad"
    )
    if structure.configs:
        adapter_checks(structure, findings)
    else:
        findings.not_run("decoder_layers_adapted", "The model has no adapter of peft.")
        _layers(structure, findings)
    _precision(training, findings, trained)
    _tied(structure, findings)
    new_token_checks(training, findings)
    quantisation_checks(training, findings)


def _layers(structure: Structure, findings: Findings) -> None:
    """Without adapters: in which layers of the decoder nothing trains, where anything trains."""
    layers = findings.attempt("layers_frozen", lambda: structure.layers)
    if not layers:
        return
    frozen = [
        path for path, layer in layers if not any(p.requires_grad for p in layer.parameters())
    ]
    findings.put(
        "layers_frozen", len(frozen), 0, unit="layers", evidence=frozen, setting="requires_grad"
    )


def component_rows(structure: Structure) -> list[ComponentRow]:
    """What of each component trains, and how it is stored; shared weights count once."""
    total, training, sizes = Counter[str](), Counter[str](), Counter[str]()
    dtypes: dict[str, Counter[str]] = defaultdict(Counter)
    trained_dtypes: dict[str, Counter[str]] = defaultdict(Counter)
    for name, parameter in structure.core.named_parameters():
        component, count = str(structure.component(name)), elements(parameter)
        total[component] += count
        sizes[component] += stored(parameter)
        dtypes[component][dtype(parameter)] += count
        if parameter.requires_grad:
            training[component] += count
            trained_dtypes[component][dtype(parameter)] += count
    linears, adapted = Counter[str](), Counter[str]()
    for path, _ in structure.linears():
        component = str(structure.component(f"{path}.weight"))
        linears[component] += 1
        adapted[component] += path in structure.adapted
    return [
        ComponentRow(
            component,
            total[component],
            training[component],
            sizes[component],
            dict(dtypes[component]),
            dict(trained_dtypes[component]),
            linears[component],
            adapted[component],
        )
        for component in total
    ]


def _precision(training: Training, findings: Findings, trained: dict[str, Any]) -> None:
    """What trains in 16 bits has no master weights: neither Trainer nor AdamW keeps any."""
    adapters = {name: p for name, p in trained.items() if is_adapter(name)}
    weights = {name: p for name, p in trained.items() if not is_adapter(name)}
    if adapters:
        # TRL turns a quantised model's adapters to bfloat16 itself; no setting keeps it from it.
        library = training.casts_adapters
        findings.put(
            "adapters_in_16_bits_by_library" if library else "adapters_in_16_bits",
            _short(adapters),
            0,
            unit="elements",
            evidence=_kinds(adapters),
            setting="autocast_adapter_dtype",
        )
    if weights:
        findings.put(
            "weights_in_16_bits",
            _short(weights),
            0,
            unit="elements",
            evidence=_kinds(weights),
            setting="dtype",
        )


def _short(parameters: dict[str, Any]) -> int:
    return sum(int(p.numel()) for p in parameters.values() if dtype(p) in SHORT)


def _kinds(parameters: dict[str, Any]) -> list[str]:
    return sorted({dtype(p) for p in parameters.values()} & set(SHORT))


def _tied(structure: Structure, findings: Findings) -> None:
    """Embedding and head are one tensor where the library takes them for one."""
    core = structure.core
    head, embedding = core.get_output_embeddings(), core.get_input_embeddings()
    if head is None or embedding is None:
        findings.not_run("tied", "The model names no head or no embedding.")
        return
    one, other = active(head).weight, active(embedding).weight
    tied = one.data_ptr() == other.data_ptr() and single_rows(head) == single_rows(embedding)
    if not ties_head(core):
        findings.record("untied", tied)
        return
    beside = ("modules_to_save", "trainable_tokens_delta")
    copies = [
        name
        for name, _ in core.named_parameters()
        if is_peft_own(name) and any(kind in name for kind in beside)
    ]
    findings.put(
        "tied",
        tied,
        True,
        basis=Basis.DECLARED,
        evidence=[without_wrapper(n) for n in copies],
        setting="modules_to_save" if copies else "weight",
    )
