"""What a kept record of a bisect is found again by: everything that decides its numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.judging.bisect.addresses import address, data_state, measuring_files
from harness.judging.environments.overlay import Layer
from harness.records import machine as environment
from harness.records.context import Context

CONTEXT = Context(
    "current", "stand-in", "catalogue", Path(), True, Path(), model_digest="m", family="qwen2_vl"
)
LAYER = Layer("current", ("peft==0.14.0",), {"torch": "2.4.0", "peft": "0.14.0"}, {}, {})


def kept_at(context: Context = CONTEXT, layer: Layer = LAYER) -> str:
    return address("current", Path("python"), layer, context)


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts NVIDIA's driver and its cards in, or takes them out."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(environment, "DRIVER", tmp_path / "nvidiactl")
    monkeypatch.setattr(environment, "CARDS", tmp_path / "gpus")

    def put(*cards: str) -> None:
        (tmp_path / "nvidiactl").touch()
        for number, card in enumerate(cards):
            path = tmp_path / "gpus" / f"0000:{number}" / "information"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"Model: \t\t {card}\nIRQ: {os.getpid()}\n")

    return put


@pytest.mark.parametrize(
    "changed",
    [{"model_digest": "n"}, {"threads": 7}, {"seed": 1}, {"exchange": "digest"}, {"data": "x"}],
)
def test_a_context_that_measures_something_else_has_another_address(
    changed: dict[str, Any],
) -> None:
    assert kept_at(replace(CONTEXT, **changed)) != kept_at()
    assert kept_at(replace(CONTEXT, stack="x", out=Path("/x"), created="now")) == kept_at()


def test_other_installed_versions_beside_the_layer_are_another_address() -> None:
    other = replace(LAYER, versions={"torch": "2.11.0", "peft": "0.14.0"})
    assert kept_at(layer=other) != kept_at()


def test_the_device_is_the_one_that_auto_finds(
    driver: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    auto, cpu = CONTEXT, replace(CONTEXT, device="cpu")
    without = kept_at(auto)
    assert without == kept_at(cpu)
    driver("NVIDIA H100")
    one = kept_at(auto)
    assert kept_at(cpu) == without != one
    driver("NVIDIA H200")
    assert kept_at(auto) not in {one, without}
    # torch sees no card that is hidden.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert kept_at(auto) == without


def test_another_processor_is_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept_at()
    monkeypatch.setattr(environment, "cpu_capability", lambda: "other")
    assert kept_at() != before


def test_data_in_a_folder_is_known_by_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "products"
    (folder / "deep").mkdir(parents=True)
    rows = folder / "deep" / "rows.jsonl"
    rows.write_text("{}\n")
    first = kept_at(replace(CONTEXT, data=str(folder)))
    assert kept_at(replace(CONTEXT, data=str(folder))) == first
    rows.write_text('{"a": 1}\n')
    second = kept_at(replace(CONTEXT, data=str(folder)))
    (folder / "more.jsonl").touch()
    third = kept_at(replace(CONTEXT, data=str(folder)))
    os.utime(rows, ns=(1, 1))
    fourth = kept_at(replace(CONTEXT, data=str(folder)))
    assert len({first, second, third, fourth}) == 4


def test_data_that_is_a_name_is_known_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "catalogue").mkdir()
    assert data_state("catalogue") == []
    assert data_state("org/name@" + "0" * 40) == []


def test_a_change_of_what_judges_leaves_the_records_kept(repository: Path) -> None:
    package = repository / "harness"
    rooms = {path.relative_to(package).parts[0] for path in measuring_files()}
    assert rooms == {"measuring", "records", "recipe", "data"}
    assert package / "measuring" / "probes" / "forward.py" in measuring_files()
