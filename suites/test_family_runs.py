"""`harness run` to its end for every family: the ladder, a short training, its adapter saved,
loaded and merged, texts, verdict and page. `-m slow`, on the stacks that have the family."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.judging.goldens.judgement import RED
from harness.measuring.models import families, family, lacks_release, of_recipe
from harness.measuring.snapshots import tiny
from harness.measuring.snapshots.source import stand_ins
from harness.records.record import RUNGS, Record, Status, read_records
from suites.truths_training import ABOVE_CHANCE, CHANCE, FLOORS_OF_OTHERS

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 1800.0
# Of the sixteen products of a step each is seen once: enough that adapters move.
SHORT = ("--max-steps", "4")
OWN = of_recipe()[0]
# The recipe's family has its stand-in in the main job; here its model with a tied head.
TINY = [f"{tiny.PREFIX}{n}@2b" if n == OWN else f"{tiny.PREFIX}{n}" for n in families()]
TRAINED = [f"stand-in:{name}" for name in stand_ins() if name != OWN]
# What a machine without CUDA and four steps of an epoch leave open.
OPEN = frozenset({"cost", "environment", "interface", "trajectory"})
# Of a model whose Linears' rows bitsandbytes does not repack, on a CPU or a GPU.
UNPACKED = "forward.repacked_inference_gap"


def ran(model: str, out: Path, *words: str) -> tuple[int, dict[str, Any], dict[str, Record]]:
    """Exit code, the printed document, and the records of a whole run."""
    name = model.partition(":")[2].partition("@")[0]
    if lack := lacks_release(name):
        pytest.skip(f"NOT_RUN: {lack}")
    command = [sys.executable, "-m", "harness", "run", "--model", model, "--out", out, "--json"]
    done = subprocess.run(
        [*map(str, command), "--threads", "1", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode in {0, 1, 3}, done.stderr
    return done.returncode, json.loads(done.stdout), read_records(out)


@pytest.mark.slow
@pytest.mark.parametrize("model", TINY)
def test_a_tiny_model_is_run_to_its_end(model: str, tmp_path: Path) -> None:
    code, document, records = ran(model, tmp_path / "run", *SHORT)
    assert code == 0, (document["headline"], [i["finding"] for i in red_of(document)])
    assert set(records) == set(RUNGS)
    lacking = [m for r in records.values() for m in r.metrics if m.status is Status.NOT_RUN]
    assert {m.rung for m in lacking if m.metric_id != UNPACKED} <= OPEN
    trained = records["trajectory"]
    assert trained.find("steps").value == 4
    assert trained.find("reload_gap").value == 0.0
    assert trained.find("merged_reload_gap").value == 0.0
    assert_page(tmp_path / "run", model)


@pytest.mark.slow
@pytest.mark.parametrize("model", TRAINED)
def test_a_stand_in_does_the_whole_main_job(model: str, tmp_path: Path) -> None:
    """With pictures that matter: colour and kind are read off them, and off a blank one nothing."""
    code, document, records = ran(model, tmp_path / "run")
    assert code == 0, (document["headline"], [i["finding"] for i in red_of(document)])
    assert set(records) == set(RUNGS)
    texts = records["generation"]
    for attribute, floor in FLOORS_OF_OTHERS.items():
        seen = texts.find("grounding", f"base.greedy.{attribute}").value
        blank = texts.find("grounding_blank", f"base.{attribute}").value
        assert isinstance(seen, float)
        assert isinstance(blank, float)
        assert seen >= floor
        assert blank <= CHANCE[attribute] + ABOVE_CHANCE
    assert_page(tmp_path / "run", model)


def red_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The values that no list knows."""
    red = {str(verdict) for verdict in RED}
    return [i for i in document["items"] if i["verdict"] in red and not i["known"]]


def assert_page(out: Path, model: str) -> None:
    """It names the family and the model."""
    page = re.sub(r"<[^>]+>", "", (out / "report.html").read_text("utf-8"))
    name = model.partition(":")[2].partition("@")[0]
    assert model in page
    assert family(name).TITLE in page
