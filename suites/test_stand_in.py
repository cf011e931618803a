"""The stand-in is what its PROVENANCE.json says: the weights, how they were made, what they see."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.data.catalogue import Product, attributes_in, products, render
from harness.judging.environments.installed import installed_stack
from harness.judging.goldens.golden import read_goldens
from harness.measuring.models.qwen2_vl import PUBLISHED
from harness.measuring.snapshots.source import resolve
from harness.measuring.stand_in.data import conversation
from harness.measuring.stand_in.files import control_tokens, write_files
from harness.measuring.stand_in.pretrain import Step, pretrain
from harness.measuring.stand_in.tell import describe, grounding
from harness.records.files import json_digest
from harness.records.upgrade import FIRST_STAND_IN, STAND_IN

FOLDER = Path(__file__).resolve().parent.parent / "harness" / "measuring" / "stand_in" / "qwen2_vl"
WEIGHTS = FOLDER / "model.safetensors"
HELDOUT = products("heldout")
FIRST_STEPS = 10
# In the environment that made the curve these losses came back bit for bit, four times of four.
# One thread or torch's plain kernels moved them by at most 1e-6, another environment with the same
# torch but another Pillow by 7e-6; another seed moves the largest by 0.2. Two orders above the
# first, two below the last.
CURVE_TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def provenance() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((FOLDER / "PROVENANCE.json").read_text("utf-8"))
    return read


@pytest.fixture
def same_threads_after() -> Iterator[None]:
    """Pre-training sets the thread count and the seed; the next suite shall not notice."""
    import torch

    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


@pytest.fixture(scope="module")
def base() -> tuple[Any, Any]:
    """(model, processor) as the harness loads them, float32."""
    from harness.measuring.snapshots.loading import load_model, load_processor

    return load_model(FOLDER, device="cpu", dtype="float32"), load_processor(FOLDER)


def test_the_digest_of_earlier_records_was_of_the_same_files() -> None:
    """It counted what tells how the weights came about as well, as that then was: with nothing else
    changed the earlier digest comes out, so the observed goldens are of these very files."""
    here = resolve("stand-in")
    history = "f58f32753cce174a2b0fd581ce79a577648102c1a9b8b3fe6c2ad6aa17a482a6"
    earlier = json_digest({**here.digests, "PROVENANCE.json": history})
    assert (earlier, here.digest) == (FIRST_STAND_IN, STAND_IN)
    observed = [golden for golden in read_goldens() if golden.kind == "observed"]
    assert observed
    assert {golden.provenance["model_digest"] for golden in observed} == {here.digest}


def test_the_recorded_script_is_the_one_that_there_is(provenance: dict[str, Any]) -> None:
    words = provenance["script"].split()
    assert words[:2] == ["python", "-m"]
    assert importlib.util.find_spec(words[2]) is not None


def test_the_weights_are_the_recorded_ones(provenance: dict[str, Any]) -> None:
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == provenance["sha256"]


def test_the_snapshot_is_small_and_holds_no_pickle() -> None:
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".txt", ".safetensors"}
    assert sum(path.stat().st_size for path in files) <= 12_000_000


def test_every_weight_is_finite_and_counted(provenance: dict[str, Any]) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(WEIGHTS)
    assert sum(math.prod(t.shape) for t in tensors.values()) == provenance["parameters"]
    assert 1_500_000 <= provenance["parameters"] <= 3_000_000
    assert not [name for name, t in tensors.items() if not (abs(t) < 1e4).all()]
    # An untrained network's norms are all ones: weights put here as a place holder would show.
    assert float(tensors["model.norm.weight"].std()) > 0.01


def test_it_was_made_as_recorded_in_under_two_hours(provenance: dict[str, Any]) -> None:
    assert provenance["versions"]["transformers"] == "4.45.1"
    assert provenance["versions"]["torch"].split("+")[0] == "2.4.0"
    assert provenance["threads"] == 2
    assert provenance["seconds"] < 7200
    losses = [point["loss"] for point in provenance["curve"]]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < 0.5 < losses[0]


def test_recorded_grounding_meets_the_requirement(provenance: dict[str, Any]) -> None:
    assert min(provenance["heldout_grounding"].values()) >= 0.6
    # Chance is at most 1/4; the share of 112 guesses has a standard deviation of 0.041.
    assert max(provenance["heldout_grounding_shuffled_images"].values()) <= 0.25 + 0.15


def test_control_tokens_are_the_last_ids_in_the_published_order() -> None:
    vocabulary = json.loads((FOLDER / "vocab.json").read_text("utf-8"))
    config = json.loads((FOLDER / "config.json").read_text("utf-8"))
    ids, published = control_tokens(FOLDER), PUBLISHED["7b"].control_ids
    assert config["vocab_size"] == 960
    assert sorted([*vocabulary.values(), *ids.values()]) == list(range(960))
    # 14 in a row, as the published ones: the first is <|endoftext|> there too.
    first = published["<|endoftext|>"]
    assert {token: ids[token] - 946 for token in published} == {
        token: number - first for token, number in published.items()
    }


@pytest.mark.parametrize(
    "text",
    [
        "The Lumora Prime No. 123 is a red, round mug.",
        "상품 설명을 작성해 주세요.",
        "👩‍👩‍👧 ❤️ 🧸\n\n \ttabs  and   spaces ",
        "".join(map(chr, range(32, 256))),
        "\x00\x01\x7f",
    ],
)
def test_every_text_comes_back(base: tuple[Any, Any], text: str) -> None:
    tokenizer = base[1].tokenizer
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert max(ids) < min(control_tokens(FOLDER).values())
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_the_files_beside_the_weights_are_what_the_script_writes(tmp_path: Path) -> None:
    if installed_stack() != "reference":
        pytest.skip("NOT_RUN: the vocabulary was learnt with the reference stack's tokenizers")
    write_files(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        assert path.read_bytes() == (FOLDER / path.name).read_bytes(), path.name


def test_pre_training_never_draws_a_held_out_combination() -> None:
    chance, unseen = random.Random(0), {tuple(sorted(p.attributes.values())) for p in HELDOUT}
    shown = set()
    for i in range(300):
        answer = conversation(chance, f"leak-{i}")[2]["content"][0]["text"]
        shown.add(tuple(sorted(str(value) for value in attributes_in(answer).values())))
    assert len(shown) > 100
    assert not unseen & shown


@pytest.mark.slow
@pytest.mark.usefixtures("same_threads_after")
def test_the_first_steps_come_back(provenance: dict[str, Any], tmp_path: Path) -> None:
    import torch

    if installed_stack() != "reference":
        pytest.skip("NOT_RUN: the curve is the reference stack's")
    for path in FOLDER.iterdir():
        if path.suffix in {".json", ".txt"}:
            shutil.copy(path, tmp_path)
    # This process's threads: more than the cores that are free spin, five times as long.
    begun = pretrain(
        tmp_path,
        provenance["vision_steps"],
        provenance["steps"],
        provenance["seed"],
        FIRST_STEPS,
        torch.get_num_threads(),
    )
    steps = list(begun)
    assert all(isinstance(step, Step) for step in steps)
    recorded = provenance["curve"][:FIRST_STEPS]
    assert [step.step for step in steps] == [point["step"] for point in recorded]
    assert [step.learning_rate for step in steps] == [point["learning_rate"] for point in recorded]
    gaps = [abs(s.loss - point["loss"]) for s, point in zip(steps, recorded, strict=True)]
    assert max(gaps) <= CURVE_TOLERANCE, gaps


def test_it_names_what_the_picture_shows_not_what_the_row_is(base: tuple[Any, Any]) -> None:
    """A dozen held-out rows with other products' pictures: the text follows the picture."""
    rows, shown = HELDOUT[:12], HELDOUT[40:52]
    texts = describe(*base, rows, [render(product) for product in shown])
    assert min(grounding(shown, texts).values()) >= 0.6, texts
    assert min(grounding(rows, texts).values()) < 0.6


@pytest.mark.slow
def test_recorded_grounding_is_what_the_weights_do(
    base: tuple[Any, Any], provenance: dict[str, Any]
) -> None:
    chosen: tuple[Product, ...] = HELDOUT
    texts = describe(*base, chosen, [render(product) for product in chosen])
    for attribute, share in grounding(chosen, texts).items():
        # Other kernels round otherwise; a near tie between two words may then fall the other way.
        assert share == pytest.approx(provenance["heldout_grounding"][attribute], abs=3 / 112)


def test_a_tied_head_is_saved_once() -> None:
    """safetensors refuses a tensor under two names, after all the training."""
    from safetensors.torch import save

    from harness.measuring.snapshots import loading, tiny
    from harness.measuring.stand_in.pretrain import state_of

    model = loading.load_model(tiny.snapshot("tiny:qwen2_vl@2b"))
    state = state_of(model)
    assert save(state)
    assert "lm_head.weight" not in state
    # By the checkpoint's names, which a newer library's own need not be: every other one is there.
    assert len(state) == len(model.state_dict()) - 1
