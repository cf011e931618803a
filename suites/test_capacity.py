"""A training that cannot fit is refused before it starts; an out-of-memory leaves its reasons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.data.samples import training_conversations
from harness.judging.report.lane.published import FOLDER, read
from harness.measuring.lane import oom
from harness.measuring.models import qwen2_vl
from harness.measuring.snapshots.loading import load_model, load_processor, meta_model
from harness.measuring.snapshots.source import STAND_IN
from harness.measuring.training import adapter, capacity
from harness.measuring.training.collate import make_collator
from harness.recipe.published import REFERENCE, Lora, Recipe
from harness.records.components import Component
from suites.oracles import footprint as oracle


def test_the_7b_step_is_the_hand_calculation(seven_b: Any) -> None:
    parts = capacity.step_bytes(seven_b, size=4, tokens=1000)
    assert parts == {
        "weights": 5_898_851_352,
        # Limits: LoRA's weights, gradients and Adam state in float32 are 40.4 MB.
        "adapter": 28 * 8 * (3584 + 3584 + 3584 + 512) * 4 * 4,
        "logits": 4000 * 152_064 * 10,
        "checkpoints": 28 * 4000 * 3584 * 2,
    }
    assert parts["adapter"] == pytest.approx(40.4e6, rel=1e-3)


def test_the_adapter_is_that_of_the_targets_given(seven_b: Any) -> None:
    """A targets' list of the user's own, in decoder and tower, by the published widths."""
    lora = Lora(r=16, target_modules=("o_proj", "down_proj", "fc1"))
    parts = capacity.step_bytes(seven_b, size=1, tokens=1, recipe=replace(REFERENCE, lora=lora))
    decoder = 28 * ((3584 + 3584) + (18944 + 3584))
    tower = 32 * (1280 + 4 * 1280)
    assert parts["adapter"] == 16 * (decoder + tower) * 4 * 4


# peft 0.13 reads `all-linear` as the last words of all Linears' paths, one of which, `proj`, is a
# convolution's too that it refuses; so what is held against peft here is named one by one.
EVERY_LANGUAGE_LINEAR = (
    *("q_proj", "k_proj", "v_proj", "o_proj"),
    *("gate_proj", "up_proj", "down_proj"),
)


def targeting(*targets: str, dropout: float = 0.05, checkpointing: bool = True) -> Recipe:
    """The recipe with LoRA on those Linears."""
    own = replace(REFERENCE.lora, target_modules=targets, lora_dropout=dropout)
    steps = replace(REFERENCE.training, gradient_checkpointing=checkpointing)
    return replace(REFERENCE, lora=own, training=steps)


def test_what_the_recipes_lora_takes_is_limits_figure(seven_b: Any) -> None:
    """limits.md: 2,523,136 trainable parameters, 40.4 MB with gradients and Adam in float32."""
    assert adapter.adapter_size(seven_b) == 2_523_136
    assert adapter.size_by_component(seven_b) == {Component.LANGUAGE: 2_523_136}
    parts = capacity.step_bytes(seven_b, size=1, tokens=1)
    assert parts["adapter"] == 40_370_176


def test_lora_on_every_linear_is_the_oracles_sum_over_all_but_the_head(seven_b: Any) -> None:
    matrices = oracle.linears(oracle.SEVEN_B)
    wanted = {name: shape for name, shape in matrices.items() if name != "lm_head"}
    everything = targeting("all-linear")
    assert len(adapter.adapted_by(seven_b, everything)) == len(wanted) == 196 + 130
    by_hand = sum(8 * (rows + columns) for rows, columns in wanted.values())
    assert adapter.adapter_size(seven_b, everything) == by_hand
    reached = adapter.size_by_component(seven_b, everything)
    assert set(reached) == {Component.LANGUAGE, Component.TOWER, Component.CONNECTOR}
    # 32 blocks of 1280 wide: 3 × 1280, 1280, and twice 4 × 1280 beside 1280.
    assert reached[Component.TOWER] == 32 * 8 * 1280 * (4 + 2 + 5 + 5)
    parts = capacity.step_bytes(seven_b, size=1, tokens=100, recipe=everything)
    assert parts["adapter"] == by_hand * 16


@pytest.mark.parametrize(
    "targets",
    [
        ("q_proj", "v_proj"),
        EVERY_LANGUAGE_LINEAR,
        ("qkv", "fc1"),
        # The end of a path, and not of a word: no module is called so.
        ("layers.0.mlp.up_proj", "roj"),
    ],
)
def test_the_adapter_is_counted_as_peft_builds_it(targets: tuple[str, ...]) -> None:
    recipe = targeting(*targets)
    counted = adapter.adapter_size(meta_model(STAND_IN), recipe)
    wrapped = adapter.add_lora(meta_model(STAND_IN), recipe)
    assert counted == sum(p.numel() for p in wrapped.parameters() if p.requires_grad)


def saved_bytes(model: Any, batch: dict[str, Any]) -> int:
    """Bytes of every tensor that one forward keeps for the backward pass, each storage once."""
    kept: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(**batch, use_cache=False)
    assert output.loss is not None
    return sum(kept.values())


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), EVERY_LANGUAGE_LINEAR])
def test_without_checkpointing_at_least_the_predicted_activations_are_kept(
    targets: tuple[str, ...],
) -> None:
    """More than predicted: float32 here, and the masks of dropout."""
    recipe = targeting(*targets, checkpointing=False)
    batch = make_collator(load_processor(STAND_IN), recipe, qwen2_vl)(training_conversations(2))
    model = load_model(STAND_IN)
    size, tokens = batch["input_ids"].shape
    parts = capacity.step_bytes(model, size=size, tokens=tokens, recipe=recipe)
    assert {"logits", "activations"} <= set(parts)
    wrapped = adapter.add_lora(model, recipe).train()
    wrapped.enable_input_require_grads()
    adapted = saved_bytes(wrapped, batch)
    with wrapped.disable_adapter():
        grown = adapted - saved_bytes(wrapped, batch)
    assert parts["activations"] <= grown


def test_with_checkpointing_the_larger_of_logits_and_one_layer_counts(
    seven_b: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = targeting("all-linear")
    parts = capacity.step_bytes(seven_b, size=1, tokens=100, recipe=everything)
    assert "activations" not in parts
    # By hand, per position: q, k, v, o, gate and up read 3584 numbers, down 18944; seven of rank 8.
    one_layer = 100 * 2 * (6 * 3584 + 18944 + 7 * 8)
    assert max(adapter.kept_bytes(seven_b, everything, 100)) == one_layer
    assert one_layer < parts["logits"]
    monkeypatch.setattr(seven_b.config.get_text_config(), "vocab_size", 8)
    parts = capacity.step_bytes(seven_b, size=1, tokens=100, recipe=everything)
    assert parts["activations"] == one_layer
    assert "logits" not in parts


def test_without_dropout_only_what_is_surely_its_own_is_counted(seven_b: Any) -> None:
    bare = targeting("q_proj", "v_proj", dropout=0.0)
    assert max(adapter.kept_bytes(seven_b, bare, 100)) == 100 * 2 * (2 * 8)


def measured_peaks() -> list[tuple[str, int, int, int]]:
    """(name, samples of a micro-batch, padded tokens, peak) of the recipe's measured steps."""
    peaks = []
    for name, raw in read(FOLDER / "cuda-nvidia-h200").items():
        if "speed_up" in raw:
            peak, batch = raw["peak"]["A"], raw["recipe"]["batch"]
            peaks.append((name, 4, round(batch["padded_per_sample"]), peak))
    return peaks


@pytest.mark.parametrize(("name", "size", "tokens", "peak"), measured_peaks())
def test_the_prediction_is_below_every_measured_peak_and_not_by_half(
    name: str, size: int, tokens: int, peak: int, seven_b: Any
) -> None:
    parts = capacity.step_bytes(seven_b, size=size, tokens=tokens, scheme=oom.PREPARED)
    assert peak / 2 < sum(parts.values()) < peak
