"""Rung 6: inventory, quantised modules, exact bytes and LoRA, of the 7B model and of the one at
hand; and that a model which was quantised otherwise than the recipe says is seen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from harness.judging.goldens.judgement import Judgement
from harness.measuring import _compat
from harness.measuring.instruments import footprint, nf4
from harness.measuring.models import canonical_name, qwen2_vl
from harness.measuring.probes import model as probe
from harness.measuring.snapshots import loading
from harness.pytest_plugin import assert_no_unexpected
from harness.records.record import How, Record, Status
from suites.oracles import footprint as oracle
from suites.oracles.architecture import SCHEMES

SEVEN_B = qwen2_vl.PUBLISHED["7b"].config


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("model"))


def test_the_7b_figures_are_the_published_ones(record_of: Callable[[str], Record]) -> None:
    record = record_of("model")
    assert record.find("parameters", "7b").value == 8_291_375_616
    assert record.find("linears", "7b.model").value == 196
    assert record.find("linears", "7b.visual").value == 130
    assert record.find("linear_weights", "7b.model").value == 6_525_288_448
    assert record.find("bytes", "7b.nf4_double").value == 5_898_851_352
    assert record.find("lora_trainable", "7b").value == 2_523_136
    assert record.find("lora_total", "7b").value == 8_293_898_752


def test_predicted_measured_and_emulated_are_told_apart(
    record_of: Callable[[str], Record],
) -> None:
    record = record_of("model")
    metric = record.find("held_bytes", "model")
    assert record.find("bytes", "7b.nf4_double").how is How.PREDICTED
    mode = loading.quantisation_mode(record.provenance.device_key)
    if metric.status is Status.OK:
        assert metric.how is (How.EMULATED if mode == "emulated" else How.MEASURED)
    else:
        assert metric.reason == "the snapshot has no weights"


def small_config(**changes: Any) -> dict[str, Any]:
    """A config whose matrices have sizes that are no multiple of 64 anywhere."""
    base: dict[str, Any] = {
        **SEVEN_B,
        "hidden_size": 60,
        "intermediate_size": 90,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "vocab_size": 77,
        "rope_scaling": {"type": "mrope", "mrope_section": [5, 5, 5]},
        "vision_start_token_id": 70,
        "vision_end_token_id": 71,
        "vision_token_id": 72,
        "image_token_id": 73,
        "video_token_id": 74,
    }
    vision = {
        **SEVEN_B["vision_config"],
        "depth": 2,
        "embed_dim": 24,
        "num_heads": 2,
        "hidden_size": 60,
    }
    return {**base, "vision_config": vision, **changes}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of that config, as a snapshot folder."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "config.json").write_text(json.dumps(small_config()), encoding="utf-8")
    torch.manual_seed(0)
    built = _compat.vision_to_text_class().from_config(loading.load_config(folder))
    state = {canonical_name(k, qwen2_vl): v.contiguous() for k, v in built.state_dict().items()}
    save_file(state, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("scheme", footprint.SCHEMES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_key_value_heads": 2, "vocab_size": 101},
        {"num_hidden_layers": 1, "intermediate_size": 65},
        {"rope_scaling": {"type": "mrope", "mrope_section": [2, 2, 1]}, "num_attention_heads": 6},
    ],
)
def test_prediction_of_any_config(tmp_path: Path, scheme: str, changes: dict[str, Any]) -> None:
    config = small_config(**changes)
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    predicted = footprint.predict(loading.meta_model(tmp_path), footprint.SCHEMES[scheme])
    expected = oracle.bytes_by_part(config, **SCHEMES[scheme])
    assert dict(predicted.by_component) == expected
    assert predicted.total == sum(expected.values())


def test_a_loaded_model_holds_what_was_predicted(snapshot: Path) -> None:
    mode = loading.quantisation_mode("cpu")
    loaded = loading.load_model(snapshot, dtype="bfloat16", quantisation=mode)
    counted = probe.emulated_footprint(loaded) if mode == "emulated" else footprint.measure(loaded)
    assert dict(counted.by_component) == oracle.bytes_by_part(small_config())
    assert sorted(counted.quantised) == sorted(
        n for n in oracle.linears(small_config()) if n != "lm_head"
    )
    assert counted.parameters == oracle.parameter_bytes(small_config())


def test_bfloat16_model_holds_two_bytes_per_parameter(snapshot: Path) -> None:
    loaded = loading.load_model(snapshot, dtype="bfloat16")
    counted = footprint.measure(loaded)
    assert dict(counted.by_component) == oracle.bytes_by_part(small_config(), four_bit=False)
    assert counted.quantised == ()


def test_one_linear_left_unquantised_is_seen(snapshot: Path) -> None:
    loaded = loading.load_model(snapshot, dtype="bfloat16")
    nf4.emulate_(loaded, skip=("lm_head", "up_proj"))
    counted = probe.emulated_footprint(loaded)
    missing = {n for n in oracle.linears(small_config()) if n.endswith(("lm_head", "up_proj"))}
    assert set(oracle.linears(small_config())) - set(counted.quantised) == missing


def test_a_model_without_weights_is_judged_by_its_shapes(
    snapshot: Path, tmp_path: Path, context: Any
) -> None:
    shutil.copy(snapshot / "config.json", tmp_path / "config.json")
    bare = replace(context, snapshot=tmp_path, has_weights=False, out=tmp_path / "out")
    record = probe.run(bare)
    assert record.find("quantised", "model").status is Status.NOT_RUN
    assert record.find("bytes", "model.nf4_double").value == sum(
        oracle.bytes_by_part(small_config()).values()
    )
