"""What one stack hands to another, to tell what follows from what: a flipped bit of it would make a
cause of what is none."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput, Damaged, HarnessError
from harness.judging.compare.sides import handed_values
from harness.measuring.child import crossing
from harness.measuring.instruments.exchange import Exchange, exchanging
from harness.measuring.instruments.handed import read_handed, write_handed
from harness.measuring.training.spec import TrainSpec
from harness.records.context import Context
from suites.reliability.counts import count
from suites.reliability.damage import flip
from suites.reliability.test_state import finished, spec  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("no_variables")


def no_flip_passes(files: list[Path], read: Callable[[], Any], places: int) -> None:
    """Refused by the file's name, or it says the same."""
    whole, meant, dice = {path: path.read_bytes() for path in files}, read(), random.Random(31)
    refused = 0
    for _ in range(places):
        path = dice.choice(files)
        flip(path, dice.randrange(len(whole[path])))
        try:
            assert str(read()) == str(meant), path
        except BadInput as error:
            assert path.name in str(error)  # noqa: PT017 - either outcome is right
            refused += 1
        path.write_bytes(whole[path])
    assert refused > places / 3
    for path in files:
        path.unlink()
        with pytest.raises(HarnessError, match=path.name):
            read()
        path.write_bytes(whole[path])


def test_no_flipped_bit_of_a_tensor_goes_unnoticed(
    tmp_path: Path, tried: Callable[[int], None]
) -> None:
    import torch

    path = tmp_path / "key.safetensors"
    write_handed(path, {"input_ids": torch.arange(64)})
    assert torch.equal(read_handed(path)["input_ids"], torch.arange(64))
    places = count(60, 300)
    no_flip_passes(sorted(tmp_path.iterdir()), lambda: read_handed(path), places)
    tried(places)


def test_no_flipped_bit_of_a_text_goes_unnoticed(
    tmp_path: Path, tried: Callable[[int], None]
) -> None:
    Exchange(tmp_path, True, {}).texts("key", ["a text", "another"])
    here = Exchange(tmp_path / "new", False, {"text": tmp_path})
    assert here.texts("key", ["mine"]) == ["a text", "another"]
    places = count(60, 300)
    no_flip_passes([tmp_path / "key.json"], lambda: here.texts("key", ["mine"]), places)
    tried(places)


def test_no_flipped_bit_of_an_index_goes_unnoticed(
    context: Context, tmp_path: Path, tried: Callable[[int], None]
) -> None:
    """It says which values differ, so which experiments are made."""
    from harness.measuring.instruments.exchange import current

    with exchanging(replace(context, out=tmp_path, exchange="digest"), "text"):
        exchange = current()
        assert exchange is not None
        exchange.texts("key", ["a"])
    assert set(handed_values(tmp_path)) == {"text"}
    places = count(60, 300)
    path = tmp_path / "given" / "index" / "text.json"
    whole, meant, dice = path.read_bytes(), handed_values(tmp_path), random.Random(37)
    for _ in range(places):
        flip(path, dice.randrange(len(whole)))
        try:
            assert handed_values(tmp_path) == meant
        except BadInput as error:
            assert path.name in str(error)  # noqa: PT017 - either outcome is right
        path.write_bytes(whole)
    tried(places)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_damaged_adapter_is_handed_to_nobody(
    context: Context,
    spec: TrainSpec,  # noqa: F811
    finished: Path,  # noqa: F811
    tmp_path: Path,
    name: str,
) -> None:
    """Neither read across stacks nor generated with."""
    training = tmp_path / "training"
    shutil.copytree(finished, training)
    here = replace(context, out=tmp_path / "out", exchange="")
    taking = Exchange(tmp_path / "new", False, {"trajectory": training})
    assert taking.adapter() == training / "adapter"
    flip(training / "adapter" / name)
    with pytest.raises(Damaged, match=name):
        taking.adapter()
    with pytest.raises(Damaged, match=name):
        crossing.run(here, {"saved_by_old": training / "adapter"})
