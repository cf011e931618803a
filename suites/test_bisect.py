"""Real history: what the tool must find, with the evidence read in the two releases' sources.

Each truth was established by reading the wheels of both releases before the tool was run on it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.cli import main
from harness.judging.environments.build import uv_binary
from harness.records.files import read_json
from suites.selftest.wheels import wheel

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
        "transformers",
        "4.49.0",
        "4.45.1",
        ("--finding", "inputs.positions.left"),
        "4.47.0",
        "4.46.3",
        "models/qwen2_vl/modeling_qwen2_vl.py, Qwen2VLForConditionalGeneration.forward: 4.47.0 has "
        "a branch on `rope_deltas is None` that calls get_rope_index; 4.46.3 has none and the text "
        "model counts 0, 1, 2, …",
    ),
    "AutoModelForVision2Seq goes": Truth(
        "transformers",
        "4.57.1",
        "5.2.0",
        ("--finding", "interface.call.import_auto_model"),
        "4.57.6",
        "5.0.0",
        "models/auto/modeling_auto.py: `class AutoModelForVision2Seq` stands in 4.57.6 and is gone "
        "in 5.0.0",
    ),
    "default processor's pixels": Truth(
        "transformers",
        "4.52.4",
        "4.55.0",
        ("--finding", "images.pillow_gap.photo"),
        "4.53.3",
        "4.54.0",
        "models/auto/image_processing_auto.py: FORCE_FAST_IMAGE_PROCESSOR = "
        '["Qwen2VLImageProcessor"] is new in 4.54.0: torchvision resizes where Pillow did',
    ),
    "bitsandbytes quantises on CPU": Truth(
        "bitsandbytes",
        "0.45.3",
        "0.48.0",
        ("--metric", "interface.call.load_model_4bit"),
        "0.45.5",
        "0.46.0",
        "backends/cpu/ops.py with a quantize_4bit kernel is new in 0.46.0; transformers until "
        "4.52 would ask for Intel's extension besides",
        base="transformers-4.54.1",
    ),
    "SFTTrainer refuses a list": Truth(
        "trl",
        "1.8.0",
        "1.12.0",
        ("--finding", "interface.call.sft_trainer_train_dataset"),
        "1.9.2",
        "1.10.0",
        "trl/trainer/sft_trainer.py raises TypeError, `train_dataset` must be a `Dataset` or "
        "`IterableDataset`, since 1.10.0; 1.9.2 only looks at its first row",
        base="latest",
    ),
    "a 4-bit model sees its pictures": Truth(
        "transformers",
        "4.54.1",
        "4.50.0",
        ("--finding", "inputs.patch_gap.four_bit"),
        "4.52.1",
        "4.51.3",
        "Qwen2VLForConditionalGeneration.forward casts pixels to visual.get_dtype(), the dtype of "
        "a vision weight that bitsandbytes packs into uint8, until 4.51.3; since 4.52.1 to "
        "visual.dtype, which skips what is no float. 4.52.0 was yanked",
    ),
    "accumulated step equals the large batch": Truth(
        "transformers",
        "4.56.2",
        "4.53.0",
        ("--finding", "update.accumulation_gap"),
        "4.56.1",
        "4.55.4",
        "Qwen2VLForConditionalGeneration.forward: loss_function(…, **kwargs) since 4.56.0; 4.53.0 "
        "to 4.55.4 take **kwargs, so that the Trainer leaves the division to the model, and drop "
        "them. 4.56.0's Trainer asks accelerate for an attribute that the base's 1.9.0 lacks, and "
        "declares nothing about it",
        base="transformers-4.54.1",
        skipped={"4.56.0": "parallelism_config"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUTHS)
def test_real_history(name: str, tmp_path: Path) -> None:
    if os.environ.get("UV_OFFLINE"):
        pytest.skip("NOT_RUN: the registry's releases are needed, UV_OFFLINE is set")
    truth = TRUTHS[name]
    code = main(
        [
            "bisect",
            truth.package,
            "--good",
            truth.good,
            "--bad",
            truth.bad,
            "--base",
            truth.base,
            *truth.ask,
            "--threads",
            "1",
            "--out",
            str(tmp_path / "out"),
        ]
    )
    finding = read_json(tmp_path / "out" / "bisect.json")["findings"][truth.ask[1]]
    (edge,) = finding["boundaries"]
    assert (edge["before"], edge["after"]) == (truth.before, truth.after)
    assert set(edge["skipped"]) == set(truth.skipped)
    assert all(word in edge["skipped"][version] for version, word in truth.skipped.items())
    # What cannot be judged leaves the answer inexact.
    assert code == (3 if truth.skipped else 0)
    assert truth.before in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def bisecting(tmp_path: Path) -> tuple[list[str], dict[str, str], Path]:
    """`harness bisect` over eight tiny wheels laid over this interpreter: the words, the variables
    and an empty cache. They are named like a package whose version the rung records: that is the
    metric, and 1.0 and every later one differ."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for number in range(8):
        wheel(wheels, "evaluate", f"1.{number}", f"value = {number}\n")
    words = [
        sys.executable,
        "-m",
        "harness",
        "bisect",
        "evaluate",
        "--good",
        "1.0",
        "--bad",
        "1.7",
        "--base",
        "current",
        "--wheels",
        str(wheels),
        "--metric",
        "environment.version.evaluate",
        "--threads",
        "1",
        "--assume-monotonic",
        "--json",
        "--out",
        str(tmp_path / "out"),
    ]
    cache = tmp_path / "cache"
    variables = {**os.environ, "HARNESS_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    return words, variables, cache


def measured(cache: Path) -> dict[Path, int]:
    """Every measurement kept so far, and when it was written."""
    records = (cache / "bisect" / "records").glob("*/environment.json")
    return {path: path.stat().st_mtime_ns for path in records}


def marks(cache: Path, stage: str) -> set[tuple[Path, int]]:
    """What shows that a bisect came to a stage, by the folders and files it leaves."""
    patterns = {
        "record": "bisect/records/*/environment.json",
        "current": "bisect/records/*/work/current.json",
        "layer": "bisect/layers/*/*",
    }
    return {(path, path.stat().st_mtime_ns) for path in cache.glob(patterns[stage])}


@pytest.mark.slow
def test_a_bisect_killed_at_every_stage_measures_nothing_twice(
    bisecting: tuple[list[str], dict[str, str], Path], tmp_path: Path
) -> None:
    words, variables, cache = bisecting
    times: dict[Path, int] = {}
    # In turn: right after a measurement, in the middle of one, while a layer is being built.
    for stage in ("record", "current", "layer", "record", "current", "record"):
        before = marks(cache, stage)
        with (tmp_path / "said").open("w") as log:
            child = subprocess.Popen(words, cwd=ROOT, env=variables, stdout=log, stderr=log)
        deadline = time.monotonic() + 300
        while not marks(cache, stage) - before:
            assert child.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.kill()
        child.wait()
        now = measured(cache)
        assert {p: now[p] for p in times} == times, "measured again"
        times = now
    done = subprocess.run(
        words, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    now = measured(cache)
    assert {p: now[p] for p in times} == times
    # Both ends and the search, ceil(log2 8) + 2 at most, and each side of the change once more.
    assert len(now) <= 5 + 2
    document = json.loads(done.stdout)
    (edge,) = document["findings"]["environment.version.evaluate"]["boundaries"]
    assert (edge["before"], edge["after"]) == ("1.0", "1.1")
    # Nothing that a killed one built is left.
    assert not [p for p in (cache / "bisect" / "layers").iterdir() if p.is_dir()]
    again = subprocess.run(
        words, cwd=ROOT, env=variables, capture_output=True, text=True, check=True
    )
    assert measured(cache) == now
    assert json.loads(again.stdout)["environments"] == 0


@pytest.mark.slow
def test_offline_from_a_folder_and_the_script_shows_it_again(
    bisecting: tuple[list[str], dict[str, str], Path], tmp_path: Path
) -> None:
    words, variables, _ = bisecting
    # Without a network of any kind, where this user may cut it off.
    cut = ["unshare", "-rn"]
    if subprocess.run([*cut, "true"], capture_output=True, check=False).returncode:
        cut = []
        variables = {**variables, "UV_OFFLINE": "1"}
    done = subprocess.run(
        [*cut, *words], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "uv").symlink_to(uv_binary())
    (tools / "python3").symlink_to(sys.executable)
    shown = subprocess.run(
        [*cut, "bash", str(out / "reproduce.sh")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={
            **variables,
            "HARNESS": f"{sys.executable} -m harness",
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        },
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines() == [
        "evaluate 1.0",
        "['1.0']",
        "evaluate 1.1",
        "['1.1']",
    ]
