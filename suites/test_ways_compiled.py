"""What a way hands to torch.compile: how many graphs, and what goes into them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from packaging.version import Version

from harness.data.dataset import load_rows
from harness.measuring import _compat
from harness.measuring.lane.step import Prepared, accumulate, prepare
from harness.measuring.lane.whole.rows import Batches
from harness.measuring.models import family
from harness.measuring.snapshots.loading import load_model, load_processor
from harness.measuring.snapshots.source import STAND_IN
from harness.measuring.training.collate import make_collator
from harness.measuring.ways.compiling import compiled
from harness.recipe.published import REFERENCE, training_messages
from harness.recipe.ways import Variant, variant

ONE_FOR_ALL = pytest.mark.skipif(
    Version(torch.__version__) < Version("2.5"),
    reason=f"NOT_RUN: torch {torch.__version__} compiles every layer for itself, 2.5 one for all",
)


def prepared_as(kind: Variant) -> Prepared:
    """The stand-in that way, nothing compiled yet."""
    torch._dynamo.reset()
    model = load_model(STAND_IN, attention=_compat.training_attention("cpu"))
    return prepare(kind, model, "cpu")


def take_steps(prepared: Prepared) -> None:
    """Two micro-batches of two rows, of other lengths."""
    rows = [training_messages(row) for row in load_rows("catalogue", "train", limit=3)]
    collate = make_collator(load_processor(STAND_IN), REFERENCE, family("qwen2_vl"))
    accumulate(prepared, [collate(rows[:2]), collate(rows[1:])])


@pytest.mark.slow
@ONE_FOR_ALL
def test_the_first_decoder_layer_is_not_compiled_for_itself() -> None:
    """Nothing before it trains; its graph is the others' all the same."""
    from torch._dynamo.utils import counters

    prepared = prepared_as(replace(variant("fastest"), compiled=True))
    counters.clear()
    take_steps(prepared)
    assert counters["stats"]["unique_graphs"] == 1


@ONE_FOR_ALL
def test_no_number_is_read_off_the_cpu_inside_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """A norm's epsilon and LoRA's scaling are constants of a graph, not inputs on the CPU.

    As inputs they have kernels in C++, for which torch.compile looks what vector instructions the
    CPU has, by compiling and starting a program for each, in every process: a minute on two cores.
    """
    graphs: list[tuple[Any, list[Any]]] = []

    def kept(_: Any, graph: Any, inputs: list[Any]) -> Any:
        graphs.append((graph, inputs))
        return graph.forward

    monkeypatch.setattr(torch._TorchCompileInductorWrapper, "__call__", kept)
    kind = variant("unpacked_unmasked_cached")
    rows = [training_messages(row) for row in load_rows("catalogue", "train", limit=5)]
    batches = Batches(STAND_IN, rows, REFERENCE, kind.unmasked)
    try:
        accumulate(prepared_as(kind), [batches([0, 1, 2]), batches([3, 4])])
    finally:
        torch._dynamo.reset()
    # Of any length: a decoder layer, and what is before and after a tower block's attention.
    assert len(graphs) == 3
    for graph, inputs in graphs:
        scalars = [v for v in inputs if isinstance(v, torch.Tensor) and not v.dim()]
        assert not scalars
        assert not [node for node in graph.graph.nodes if node.target == "item"]


@ONE_FOR_ALL
def test_numbers_are_symbols_again_outside_what_a_way_compiles() -> None:
    """What torch.compile does elsewhere in the process is not the way's to change."""
    config = torch._dynamo.config
    before, inside = config.specialize_float, []

    def failing() -> None:
        inside.append(config.specialize_float)
        raise ValueError("as it is")

    with torch.compiler.set_stance("force_eager"), pytest.raises(ValueError, match="as it is"):
        compiled(failing)()
    assert inside == [True]
    assert config.specialize_float is before
