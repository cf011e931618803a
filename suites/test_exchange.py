"""Values handed from one stack's run to another's: batches, texts, positions, the adapter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.data.samples import training_conversations
from harness.errors import HarnessError
from harness.judging.compare.sides import differing_values, handed_values
from harness.measuring.instruments.capture import captured
from harness.measuring.instruments.exchange import batch_key, exchanging
from harness.measuring.instruments.handed import read_handed, write_handed
from harness.measuring.probes._batches import batch, forward, plain_model
from harness.records.context import Context
from harness.records.files import write_json


@pytest.fixture(scope="module")
def kept(context: Context, tmp_path_factory: pytest.TempPathFactory) -> Context:
    """One forward pass whose values were kept."""
    if not context.has_weights:
        pytest.skip(f"{context.model} has no weights")
    out = tmp_path_factory.mktemp("kept")
    here = replace(context, out=out, exchange="keep")
    with exchanging(here, "forward"):
        _positions(here)
    return here


def _positions(context: Context) -> Any:
    import torch

    model = plain_model(context).train()
    inputs = batch(context, "left")
    with captured(model) as seen, torch.no_grad():
        forward(model, inputs)
    return seen.positions


def taking(kept: Context, out: Path, *names: str) -> Context:
    given = {name: str(kept.out / "given") for name in names}
    return replace(kept, out=out, exchange="digest", given=given)


def test_the_index_names_every_value_by_rung(kept: Context) -> None:
    index = handed_values(kept.out)
    assert set(index) == {"text", "ids", "images", "labels", "inputs"}
    key = batch_key(training_conversations(4), "left")
    assert f"{key}.pixel_values" in index["images"]
    assert (kept.out / "given" / f"{key}.safetensors").is_file()


def test_two_equal_runs_hand_over_equal_values(kept: Context, tmp_path: Path) -> None:
    again = replace(kept, out=tmp_path, exchange="digest")
    with exchanging(again, "forward"):
        _positions(again)
    assert differing_values(kept.out, tmp_path, ("text", "ids", "images", "labels", "inputs")) == ()
    # Digests only: nothing large is written twice.
    assert not list((tmp_path / "given").glob("*.safetensors"))


def test_a_taken_batch_is_the_other_sides(kept: Context, tmp_path: Path) -> None:
    key = batch_key(training_conversations(4), "left")
    path = kept.out / "given" / f"{key}.safetensors"
    other = tmp_path / "other"
    other.mkdir()
    tensors = read_handed(path)
    tensors["pixel_values"] = tensors["pixel_values"] + 1
    tensors["labels"] = tensors["labels"] * 0
    write_handed(other / path.name, tensors)
    here = replace(taking(kept, tmp_path), given={"images": str(other)})
    with exchanging(here, "forward"):
        got = {k: v.cpu() for k, v in batch(here, "left").items()}
    assert (got["pixel_values"] == tensors["pixel_values"]).all()
    # What was not taken stays the own.
    assert not (got["labels"] == tensors["labels"]).all()


def test_rows_without_a_picture_are_handed_over_too(kept: Context, tmp_path: Path) -> None:
    """Their batch has no pixels, on either side."""
    asked = [{"role": r, "content": [{"type": "text", "text": r}]} for r in ("user", "assistant")]
    keeping = replace(kept, out=tmp_path / "old")
    with exchanging(keeping, "forward"):
        own = batch(keeping, "left", [asked])
    assert "pixel_values" not in own
    index = handed_values(keeping.out)
    key = batch_key([asked], "left")
    assert f"{key}.input_ids" in index["ids"]
    assert not [name for name in index.get("images", {}) if name.startswith(key)]
    there = str(keeping.out / "given")
    here = replace(kept, out=tmp_path / "new", exchange="digest", given={"images": there})
    with exchanging(here, "forward"):
        assert batch(here, "left", [asked]).keys() == own.keys()


def test_taken_positions_reach_the_rotary_embedding(kept: Context, tmp_path: Path) -> None:
    other = tmp_path / "given" / "positions"
    other.mkdir(parents=True)
    for path in (kept.out / "given" / "positions").glob("*.safetensors"):
        write_handed(other / path.name, {"positions": read_handed(path)["positions"] + 5})
    own = _positions(replace(kept, exchange=""))
    here = replace(taking(kept, tmp_path), given={"inputs": str(tmp_path / "given")})
    with exchanging(here, "forward"):
        assert (_positions(here) == own + 5).all()


def test_a_value_that_was_not_handed_over_is_an_error_not_a_silence(
    kept: Context, tmp_path: Path
) -> None:
    here = replace(kept, out=tmp_path, exchange="digest", given={"images": str(tmp_path)})
    with exchanging(here, "forward"), pytest.raises(HarnessError, match="handed over no images"):
        batch(here, "left")


def test_nothing_is_exchanged_in_a_plain_run(context: Context, tmp_path: Path) -> None:
    plain = replace(context, out=tmp_path)
    with exchanging(plain, "text"):
        batch(plain, "right")
    assert not (tmp_path / "given").exists()


def test_a_pictures_address_follows_its_pixels_not_its_object() -> None:
    one, again = training_conversations(2), training_conversations(2)
    assert batch_key(one, "left") == batch_key(again, "left")
    assert batch_key(one, "left") != batch_key(one, "right")
    assert batch_key(one, "left") != batch_key(one[::-1], "left")
    picture = next(p["image"] for m in again[0] for p in m["content"] if p["type"] == "image")
    picture.putpixel((0, 0), (1, 2, 3))
    assert batch_key(one, "left") != batch_key(again, "left")


def test_an_index_of_another_run_shares_no_address(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "given" / "index" / "x.json", {"ids": {"k": "1"}})
    write_json(tmp_path / "b" / "given" / "index" / "x.json", {"ids": {"other": "2"}})
    assert differing_values(tmp_path / "a", tmp_path / "b", ("ids",)) == ()
