"""Mutants of the libraries: one that acts is found; one that changes nothing and one that ends in
an error are called what they are; no file of the environment is another after it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from harness.judging.environments.installed import installed_stack
from suites.mutants.frame import Mutant, library_of
from suites.mutants.operators import edits, shown

SITE = Path(sysconfig.get_path("purelib"))
MODEL = "transformers/models/qwen2_vl/modeling_qwen2_vl.py"
# (file, operator, its line before, after).
ACTS = (
    MODEL,
    "arithmetic",
    "q_embed = (q * cos) + (rotate_half(q) * sin)",
    "q_embed = ((q * cos) - (rotate_half(q) * sin))",
)
NOTHING = ("torch/optim/adam.py", "number", "if not 0.0 <= eps:", "if not (-1.0) <= eps:")
FAILS = (
    "peft/tuners/lora/layer.py",
    "statement dropped",
    "self.lora_dropout.update(nn.ModuleDict({adapter_name: lora_dropout_layer}))",
    "pass",
)


def name_of(file: str, operator: str, before: str, after: str) -> str:
    source = (SITE / file).read_bytes()
    matching = [e for e in edits(source) if e.operator == operator]
    return next(Mutant(file, e, "").name for e in matching if shown(e, source) == (before, after))


def digests() -> dict[str, str]:
    """Of every Python file of the libraries."""
    files = (path for path in SITE.rglob("*.py") if library_of(str(path.relative_to(SITE))))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
@pytest.mark.skipif(installed_stack() != "latest", reason="NOT_RUN: these lines are latest's")
def test_mutants_of_the_libraries_are_told_apart_and_leave_nothing_behind(
    tmp_path: Path, repository: Path
) -> None:
    before = digests()
    assert len(before) > 1000
    names = [name_of(*each) for each in (ACTS, NOTHING, FAILS)]
    words = [sys.executable, "-m", "suites.mutants", "one", str(tmp_path), *names]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    ended = subprocess.run(
        words, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    acts, nothing, fails = told(ended.stdout)
    assert (acts["outcome"], acts["stage"]) == ("acts", "forward")
    assert acts["expected"] == acts["found"] == acts["compared"] == "forward"
    assert acts["metrics"]
    assert (nothing["outcome"], nothing["moved"], nothing["found"]) == ("equivalent", [], "")
    assert (fails["outcome"], fails["found"], fails["rungs"]) == ("crashed", "", [])
    assert fails["error"] == "KeyError: 'default'"
    assert digests() == before


def told(text: str) -> list[dict[str, Any]]:
    lines = [line for line in text.splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]
