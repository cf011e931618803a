"""Rung 0: what is declared is installed, and what the recipe imports can be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from harness.judging.environments.stack import locked, pins
from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.judgement import Judged, Judgement
from harness.measuring.probes import _bare
from harness.measuring.probes.environment import BARE_IMPORT, differing
from harness.pytest_plugin import assert_no_unexpected
from harness.records.context import Context
from harness.records.record import Record, Status


def test_goldens(judgement_of: Callable[[str], Judgement]) -> None:
    assert_no_unexpected(judgement_of("environment"))


def test_versions_are_the_installed_ones(record_of: Callable[[str], Record]) -> None:
    record = record_of("environment")
    for name in ("torch", "transformers", "trl", "peft", "bitsandbytes"):
        assert record.find("version", name).value == version(name)


def test_a_package_that_moved_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = dict(locked("reference"))
    monkeypatch.setattr(
        "harness.measuring.probes.environment.installed_versions",
        lambda: {**versions, "trl": "0.12.0"},
    )
    assert differing("reference") == [f"trl declared {versions['trl']}, installed 0.12.0"]
    assert differing("reference,trl==0.12.0") == []
    versions.pop("rich")
    monkeypatch.setattr("harness.measuring.probes.environment.installed_versions", lambda: versions)
    assert differing("reference") == ["rich declared 13.9.1, installed nothing"]


def test_a_cuda_build_of_the_same_version_is_no_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {**locked("reference"), "torch": "2.4.0+cu121"}
    monkeypatch.setattr("harness.measuring.probes.environment.installed_versions", lambda: versions)
    assert differing("reference") == []


def test_the_bare_pins_lack_rich_on_the_reference_stack(
    context: Context,
    record_of: Callable[[str], Record],
    judged: Callable[[str], tuple[Judged, ...]],
) -> None:
    """Contradiction 7: trl 0.11.1 imports rich without declaring it."""
    metric = record_of("environment").find("bare_pins_import")
    if context.stack == "reference":
        assert metric.failure is not None
        assert metric.failure.type == "ModuleNotFoundError"
        assert "'rich'" in metric.failure.message
        assert metric.failure.where.startswith("trl/")
        (item,) = [i for i in judged("environment") if i.finding.endswith("bare_pins_import")]
        assert item.known
    elif not read_expected(context.stack):
        pytest.skip(f"NOT_RUN: nobody knows which trl the stack {context.stack} holds")
    else:
        assert metric.status is Status.OK


def test_a_declared_module_is_found_and_an_undeclared_one_is_not() -> None:
    names = [pin.name for pin in pins("recipe-bare")]
    assert _bare.run_bare("import numpy, yaml", names) is None
    missing = _bare.run_bare("import pytest", names)
    assert missing is not None
    assert (missing.type, missing.message) == ("ModuleNotFoundError", "No module named 'pytest'")
    died = _bare.run_bare("import os; os._exit(9)", names)
    assert died is not None
    assert died.type == "ProcessDied"


def test_the_closure_follows_extras_and_markers() -> None:
    assert "urllib3" in _bare.closure(["requests"])
    assert "pytest" not in _bare.closure(["trl"])
    assert _bare.closure(["no-such-distribution"]) == {"no-such-distribution"}


@pytest.mark.slow
def test_a_fresh_environment_of_the_bare_pins_cannot_import_the_trainer() -> None:
    """The same as above without any trick: the pins as published, installed from nothing."""
    from harness.judging.environments.build import environment_for

    if sys.version_info[:2] > (3, 12):
        pytest.fail("the recipe's torch has no build for this Python")
    python: Path = environment_for("recipe-bare")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-c", BARE_IMPORT], capture_output=True, text=True, env=environment
    )
    assert done.returncode != 0
    assert "No module named 'rich'" in done.stderr


def test_an_undeclared_distribution_is_neither_listed_nor_found_by_its_name() -> None:
    names = [pin.name for pin in pins("recipe-bare")]
    listed = "{d.metadata['Name'].lower() for d in distributions()}"
    seen = f"from importlib.metadata import distributions; assert {listed} >= {{'numpy', 'torch'}}"
    assert _bare.run_bare(f"{seen}; assert not {{'pytest', 'iniconfig'}} & {listed}", names) is None
    for name in ("numpy", "PyYAML", "huggingface_hub"):
        assert _bare.run_bare(f"{VERSION}version({name!r})", names) is None
    for name in ("pytest", "pytest-benchmark", "pytest_benchmark", "Pytest"):
        missing = _bare.run_bare(f"{VERSION}version({name!r})", names)
        assert missing is not None
        # What importlib raises PackageNotFoundError for: it found none.
        assert (missing.type, missing.message) == ("StopIteration", "")


VERSION = "from importlib.metadata import version; "


def test_an_error_that_says_nothing_is_named_by_its_type() -> None:
    failure = _bare.run_bare("raise ValueError", ["numpy"])
    assert failure is not None
    assert (failure.type, failure.message, failure.where) == ("ValueError", "", "unknown")
