"""Real history: what the tool must find, with the evidence read in the two releases' sources.

Each truth was established by reading the wheels of both releases before the tool was run on it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.cli import main
from harness.record import read_json
from harness.stack import cache_root

ROOT = Path(__file__).resolve().parent.parent


class Truth(NamedTuple):
    package: str
    good: str
    bad: str
    ask: tuple[str, str]
    before: str
    after: str
    evidence: str
    base: str = "reference"
    # Releases at the edge that cannot be judged on this base, with a word of the reason.
    skipped: Mapping[str, str] = {}


TRUTHS = {
    "training computes M-RoPE": Truth(
        "transformers", "4.49.0", "4.45.1", ("--finding", "inputs.positions.left"),
        "4.47.0", "4.46.3",
        "models/qwen2_vl/modeling_qwen2_vl.py, Qwen2VLForConditionalGeneration.forward: 4.47.0 has "
        "a branch on `rope_deltas is None` that calls get_rope_index; 4.46.3 has none and the text "
        "model counts 0, 1, 2, …",
    ),
    "AutoModelForVision2Seq goes": Truth(
        "transformers", "4.57.1", "5.2.0", ("--finding", "interface.call.import_auto_model"),
        "4.57.6", "5.0.0",
        "models/auto/modeling_auto.py: `class AutoModelForVision2Seq` stands in 4.57.6 and is gone "
        "in 5.0.0",
    ),
    "default processor's pixels": Truth(
        "transformers", "4.52.4", "4.55.0", ("--finding", "images.pillow_gap.photo"),
        "4.53.3", "4.54.0",
        "models/auto/image_processing_auto.py: FORCE_FAST_IMAGE_PROCESSOR = "
        '["Qwen2VLImageProcessor"] is new in 4.54.0: torchvision resizes where Pillow did',
    ),
    "bitsandbytes quantises on CPU": Truth(
        "bitsandbytes", "0.45.3", "0.48.0", ("--metric", "interface.call.load_model_4bit"),
        "0.45.5", "0.46.0",
        "backends/cpu/ops.py with a quantize_4bit kernel is new in 0.46.0; transformers until "
        "4.52 would ask for Intel's extension besides",
        base="transformers-4.54.1",
    ),
    "SFTTrainer refuses a list": Truth(
        "trl", "1.8.0", "1.12.0", ("--finding", "interface.call.sft_trainer_train_dataset"),
        "1.9.2", "1.10.0",
        "trl/trainer/sft_trainer.py raises TypeError, `train_dataset` must be a `Dataset` or "
        "`IterableDataset`, since 1.10.0; 1.9.2 only looks at its first row",
        base="latest",
    ),
    "accumulated step equals the large batch": Truth(
        "transformers", "4.56.2", "4.53.0", ("--finding", "update.accumulation_gap"),
        "4.56.1", "4.55.4",
        "Qwen2VLForConditionalGeneration.forward: loss_function(…, **kwargs) since 4.56.0; 4.53.0 "
        "to 4.55.4 take **kwargs, so that the Trainer leaves the division to the model, and drop "
        "them. 4.56.0's Trainer asks accelerate for an attribute that the base's 1.9.0 lacks, and "
        "declares nothing about it",
        base="transformers-4.54.1",
        skipped={"4.56.0": "parallelism_config"},
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUTHS)
def test_real_history(name: str, tmp_path: Path) -> None:
    if os.environ.get("UV_OFFLINE"):
        pytest.skip("NOT_RUN: the registry's releases are needed, UV_OFFLINE is set")
    truth = TRUTHS[name]
    code = main([
        "bisect", truth.package, "--good", truth.good, "--bad", truth.bad, "--base", truth.base,
        *truth.ask, "--threads", "1", "--out", str(tmp_path / "out"),
    ])  # fmt: skip
    found = read_json(tmp_path / "out" / "bisect.json")["findings"][truth.ask[1]]
    (edge,) = found["boundaries"]
    assert (edge["before"], edge["after"]) == (truth.before, truth.after)
    assert set(edge["skipped"]) == set(truth.skipped)
    assert all(word in edge["skipped"][version] for version, word in truth.skipped.items())
    # What cannot be judged leaves the answer inexact.
    assert code == (3 if truth.skipped else 0)
    assert truth.before in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_killed_bisect_measures_nothing_twice(tmp_path: Path) -> None:
    """rich's own version is the metric: it moves at every release, the first step is the edge."""
    words = [
        sys.executable, "-m", "harness", "bisect", "rich", "--good", "13.9.1", "--bad", "13.9.4",
        "--metric", "environment.version.rich", "--threads", "1", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    environment = {**os.environ, "HARNESS_CACHE": str(cache_root()), "PYTHONPATH": str(ROOT)}
    base = cache_root() / "bisect" / "records"
    before = set(base.glob("*/environment.json"))
    first = subprocess.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while len(set(base.glob("*/environment.json")) - before) < 1:
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.kill()
    first.wait()
    kept = {p: p.stat().st_mtime_ns for p in base.glob("*/environment.json")}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "13.9.1  kept" in done.stderr
    (edge,) = read_json(tmp_path / "out" / "bisect.json")["findings"][
        "environment.version.rich"
    ]["boundaries"]  # fmt: skip
    assert (edge["before"], edge["after"]) == ("13.9.1", "13.9.2")
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
