"""The stand-ins of families beside the recipe's are what their PROVENANCE.json says: the weights,
how they came about, and that they look at pictures."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.data.catalogue import products, render
from harness.data.samples import training_conversations
from harness.measuring.models import canonical_name, family, lacks_release, of_recipe
from harness.measuring.probes.interface import tiny_snapshot
from harness.measuring.snapshots.loading import load_model, load_processor
from harness.measuring.snapshots.source import STAND_INS, resolve, stand_ins
from harness.measuring.stand_in.files import write_files
from harness.measuring.stand_in.pretrain import STEPS, THREADS, VISION_STEPS, pretrain
from harness.measuring.stand_in.tell import describe, grounding
from harness.measuring.training.collate import make_collator
from harness.recipe.published import REFERENCE
from harness.records.components import Component
from suites.truths_training import ABOVE_CHANCE, CHANCE, FLOORS_OF_OTHERS

OTHERS = [name for name in stand_ins() if name != of_recipe()[0]]
FIRST_STEPS = 10
# As the recipe's own: other kernels move a loss by some 1e-6, another seed by some 0.2.
CURVE_TOLERANCE = 1e-3


def provenance(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((STAND_INS / name / "PROVENANCE.json").read_text("utf-8"))
    return read


@pytest.fixture(params=OTHERS)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def runs(name: str) -> None:
    lack = lacks_release(name)
    if lack:
        pytest.skip(f"NOT_RUN: {lack}")


@pytest.fixture
def same_threads_after() -> Iterator[None]:
    """Pre-training sets the thread count and the seed; the next suite shall not notice."""
    import torch

    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


def test_it_is_resolved_by_its_family(name: str) -> None:
    source = resolve(f"stand-in:{name}")
    assert (source.name, source.family) == (f"stand-in:{name}", name)
    assert source.has_weights
    assert source.vocabulary == "stand-in"


def test_the_recipes_own_has_one_name() -> None:
    assert resolve(f"stand-in:{of_recipe()[0]}") == resolve("stand-in")


def test_the_weights_are_the_recorded_ones(name: str) -> None:
    from safetensors.numpy import load_file

    weights, recorded = STAND_INS / name / "model.safetensors", provenance(name)
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == recorded["sha256"]
    tensors = load_file(weights)
    assert sum(math.prod(t.shape) for t in tensors.values()) == recorded["parameters"]
    assert 1_500_000 <= recorded["parameters"] <= 5_000_000
    assert not [tensor for tensor, t in tensors.items() if not (abs(t) < 1e4).all()]


def test_its_tensors_are_called_as_the_published_ones(name: str) -> None:
    """Whatever the library that trained it calls them."""
    from safetensors import safe_open

    loader = family(name)
    with safe_open(STAND_INS / name / "model.safetensors", "np") as file:
        names = list(file.keys())
    assert [canonical_name(n, loader) for n in names] == names
    assert not [n for n in names if loader.component(n) is Component.OTHER]


def test_it_was_made_as_recorded_in_minutes_of_one_thread(name: str) -> None:
    recorded = provenance(name)
    words = recorded["script"].split()
    assert words[:5] == ["python", "-m", "harness.measuring.stand_in", "--family", name]
    # The command as it stands does the same again: what is not said is as by default.
    options = dict(zip(words[5::2], words[6::2], strict=True))
    plain = {"--vision-steps": VISION_STEPS, "--steps": STEPS, "--seed": 1, "--threads": THREADS}
    assert options.keys() <= {*plain, "--device"}
    for option, usual in plain.items():
        value = recorded[option.removeprefix("--").replace("-", "_")]
        assert int(options.get(option, usual)) == value, option
    assert recorded["threads"] == 1
    assert recorded["processor_seconds"] < 600
    losses = [point["loss"] for point in recorded["curve"]]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < 0.5 < losses[0]


def test_recorded_grounding_meets_the_requirement(name: str) -> None:
    recorded = provenance(name)
    for attribute, floor in FLOORS_OF_OTHERS.items():
        assert recorded["heldout_grounding"][attribute] >= floor
    for attribute, chance in CHANCE.items():
        shuffled = recorded["heldout_grounding_shuffled_images"][attribute]
        assert shuffled <= chance + ABOVE_CHANCE


def test_its_files_are_the_familys_own(name: str, tmp_path: Path) -> None:
    """All but how large a picture becomes: every size of it costs time here."""
    folder, loader = STAND_INS / name, family(name)
    written = loader.files(next(iter(loader.PUBLISHED.values())).config)
    for file, content in written.items():
        here = (folder / file).read_text("utf-8")
        if isinstance(content, str):
            assert here == content, file
            continue
        read = json.loads(here)
        sizes = {key: content[key] for key in ("size", "image_seq_length") if key in content}
        assert {**read, **sizes} == content, file


@pytest.mark.slow
@pytest.mark.usefixtures("same_threads_after", "runs")
def test_the_first_steps_come_back(name: str, tmp_path: Path) -> None:
    import torch

    recorded, folder = provenance(name), STAND_INS / name
    for path in folder.iterdir():
        if path.suffix in {".json", ".txt"}:
            shutil.copy(path, tmp_path)
    threads = torch.get_num_threads()
    steps = recorded["vision_steps"], recorded["steps"]
    begun = list(pretrain(tmp_path, *steps, recorded["seed"], FIRST_STEPS, threads))
    points = recorded["curve"][:FIRST_STEPS]
    assert [step.learning_rate for step in begun] == [point["learning_rate"] for point in points]
    gaps = [abs(step.loss - point["loss"]) for step, point in zip(begun, points, strict=True)]
    assert max(gaps) <= CURVE_TOLERANCE, gaps


@pytest.mark.slow
@pytest.mark.usefixtures("runs")
def test_the_files_beside_the_weights_are_what_the_script_writes(name: str, tmp_path: Path) -> None:
    write_files(tmp_path, STAND_INS / name)
    for path in sorted(tmp_path.iterdir()):
        assert path.read_bytes() == (STAND_INS / name / path.name).read_bytes(), path.name


@pytest.mark.slow
@pytest.mark.usefixtures("runs")
def test_the_small_model_of_rung_1_takes_its_processors_pictures(name: str, tmp_path: Path) -> None:
    """Whatever size the stand-in's own are of."""
    small = tiny_snapshot(STAND_INS / name, tmp_path)
    collate = make_collator(load_processor(small), REFERENCE, family(name))
    batch = collate(training_conversations(1))
    assert math.isfinite(float(load_model(small)(**batch).loss.detach()))


@pytest.mark.slow
@pytest.mark.usefixtures("runs")
def test_it_names_what_the_picture_shows_not_what_the_row_is(name: str) -> None:
    """A dozen held-out rows with other products' pictures: the text follows the picture."""
    held_out = products("heldout")
    rows, shown = held_out[:12], held_out[40:52]
    folder = STAND_INS / name
    model = load_model(folder, device="cpu", dtype="float32")
    texts = describe(model, load_processor(folder), rows, [render(p) for p in shown])
    seen, guessed = grounding(shown, texts), grounding(rows, texts)
    assert all(seen[attribute] >= 0.6 for attribute in FLOORS_OF_OTHERS), texts
    assert min(guessed.values()) < 0.6
