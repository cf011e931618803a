"""A damaged training state or finished run is refused by its file's name, or resumes to the same
bits; never to other weights."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harness.errors import BadInput, Damaged
from harness.measuring.child import job
from harness.measuring.training.checkpoint import FILES, POINTER, newest
from harness.measuring.training.end import FINISHED
from harness.measuring.training.run import train
from harness.measuring.training.spec import TrainSpec
from harness.records import seals
from harness.records.context import Context
from harness.records.files import read_json, write_json
from suites.reliability.counts import LARGE, count
from suites.reliability.damage import WAYS, flip, tensor_places

# A training of three steps, and 24 that go on from its state.
pytestmark = pytest.mark.slow

STEPS = 3


@pytest.fixture(scope="module")
def spec(context: Context) -> TrainSpec:
    return TrainSpec(
        snapshot=str(context.snapshot),
        model=context.model,
        data="catalogue",
        recipe=context.recipe,
        device="cpu",
        quantisation="none",
        dtype="float32",
        max_steps=STEPS,
        micro_batch=1,
        accumulation=1,
        learning_rate=5e-3,
        threads=1,
        save_every=1,
        rows=4,
        family=context.family,
    )


@pytest.fixture(scope="module")
def finished(spec: TrainSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; its state is that of the last step but one."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(spec, folder, bar=False)
    return folder


@pytest.fixture
def stopped(finished: Path, tmp_path: Path) -> Path:
    """The same run as a kill in its last step leaves it."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    for name in (seals.NAME, "run.json", "final_logits.safetensors"):
        (folder / name).unlink()
    shutil.rmtree(folder / "adapter")
    return folder


def weights(folder: Path) -> tuple[bytes, bytes, Any]:
    run = read_json(folder / "run.json")
    return (
        (folder / "adapter" / "adapter_model.safetensors").read_bytes(),
        (folder / "final_logits.safetensors").read_bytes(),
        run["curve"],
    )


def outcome(spec: TrainSpec, folder: Path) -> str:
    """The sentence that a run is refused with, empty where it trained."""
    try:
        train(spec, folder, bar=False)
    except BadInput as error:
        return str(error)
    return ""


def state_file(folder: Path, name: str) -> Path:
    if name == "spec.json":
        return folder / name
    if name == POINTER:
        return folder / "state" / name
    return folder / "state" / f"step-{STEPS - 1:06d}" / name


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*FILES, seals.NAME, POINTER, "spec.json"])
def test_a_damaged_state_is_refused_or_gives_the_same_bits(
    spec: TrainSpec, finished: Path, stopped: Path, name: str, way: str
) -> None:
    path = state_file(stopped, name)
    WAYS[way](path)
    refusal = outcome(spec, stopped)
    if refusal:
        assert path.name in refusal
    else:
        assert weights(stopped) == weights(finished)
        assert (name, way) not in itertools.product(FILES, WAYS), "only what names a state may go"


def test_a_state_as_it_was_written_gives_the_same_bits(
    spec: TrainSpec, finished: Path, stopped: Path
) -> None:
    assert outcome(spec, stopped) == ""
    assert weights(stopped) == weights(finished)


def test_every_tensor_flipped_is_refused(spec: TrainSpec, stopped: Path, tried: Any) -> None:
    path = state_file(stopped, "state.safetensors")
    whole = path.read_bytes()
    places = tensor_places(path)
    kinds = {name.split(".")[0] for name in places}
    assert kinds == {"adapter", "optimizer", "random"}
    for name, (begin, end) in list(places.items())[:: 1 if LARGE else 7]:
        for place in {begin, (begin + end) // 2, end - 1}:
            tried(1)
            flip(path, place)
            assert f"{path} is not as it was written" in outcome(spec, stopped), name
            path.write_bytes(whole)


SEALED = {
    "adapter": ["adapter/adapter_model.safetensors", "adapter/adapter_config.json"],
    "finished run": ["run.json", "trainer_state.json", "final_logits.safetensors"],
    "manifest of a run": [seals.NAME],
    "state": [f"state/step-{STEPS - 1:06d}/{name}" for name in FILES],
    "manifest of a state": [f"state/step-{STEPS - 1:06d}/{seals.NAME}", f"state/{POINTER}"],
}


@pytest.mark.parametrize("cut", [False, True], ids=["flip", "cut"])
@pytest.mark.parametrize("kind", SEALED)
def test_no_flipped_bit_and_no_cut_goes_unnoticed(
    spec: TrainSpec, finished: Path, tmp_path: Path, kind: str, cut: bool, tried: Any
) -> None:
    """Refused by the file's name, or, of a bit between the words of a manifest, it says the same:
    the same curve, the same state."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)

    def read() -> tuple[Any, Path | None]:
        return train(spec, folder, bar=False)["curve"], newest(folder / "state")

    files, meant, dice, refused = [folder / name for name in SEALED[kind]], read(), Random(41), 0
    tried(count(20, 300))
    for _ in range(count(20, 300)):
        path = dice.choice(files)
        whole = path.read_bytes()
        if cut:
            path.write_bytes(whole[: dice.randrange(len(whole) - 1)])
        else:
            flip(path, dice.randrange(len(whole)))
        try:
            assert read() == meant
            assert kind.startswith("manifest")
            assert not cut
        except BadInput as error:
            assert path.name in str(error) or seals.NAME in str(error)  # noqa: PT017 - either is right
            refused += 1
        path.write_bytes(whole)
    assert refused > count(20, 300) / 2


def edited(**changes: Any) -> Callable[[Any], Any]:
    return lambda raw: {**raw, **changes}


EDITS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "curve": ("state.json", edited(curve=[])),
    "pending loss": ("state.json", edited(pending_loss=5.0)),
    "step": ("state.json", edited(step=1)),
    "global step": ("trainer_state.json", edited(global_step=STEPS + 1)),
    "no object": ("trainer_state.json", lambda raw: [raw]),
    "null": ("state.json", lambda raw: None),
    "outside": (POINTER, edited(folder="../state/step-000002")),
    "absolute": (POINTER, edited(folder="/tmp")),
    "a number": (POINTER, edited(folder=5)),
    "another seal": (POINTER, edited(seal="0" * 64)),
    "a list": (POINTER, lambda raw: []),
    "a file less": (seals.NAME, lambda raw: {**raw, "files": {}}),
    "another schema": (seals.NAME, edited(schema=9)),
}


@pytest.mark.parametrize(("name", "edit"), EDITS.values(), ids=EDITS)
def test_an_edited_state_is_refused_by_name(
    spec: TrainSpec,
    stopped: Path,
    name: str,
    edit: Callable[[Any], Any],
    request: pytest.FixtureRequest,
) -> None:
    path = state_file(stopped, name)
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    # A pointer to another seal leaves the two of them to be looked at.
    named = seals.NAME if "another seal" in request.node.name else path.name
    with pytest.raises(Damaged, match=named):
        newest(stopped / "state")
    assert named in outcome(spec, stopped)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "delete"])
@pytest.mark.parametrize("name", [*FINISHED, seals.NAME])
def test_a_damaged_finished_run_is_refused(
    spec: TrainSpec, finished: Path, tmp_path: Path, name: str, way: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    WAYS[way](folder / name)
    assert str(folder / name) in outcome(spec, folder)


def test_a_finished_run_is_answered_from_its_files(spec: TrainSpec, finished: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*")}
    assert train(spec, finished, bar=False)["curve"] == read_json(finished / "run.json")["curve"]
    assert before == {p: p.stat().st_mtime_ns for p in finished.rglob("*")}


def test_a_damaged_state_in_a_rung_is_a_refusal_and_no_finding(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rung would have been BROKEN, a finding about the stack, exit 1."""

    def damaged(given: Context) -> Any:
        return newest(tmp_path)

    write_json(tmp_path / POINTER, [])
    monkeypatch.setattr("harness.measuring.probes.probe", lambda rung: damaged)
    with pytest.raises(Damaged, match=POINTER):
        job.measure(context, "trajectory")


def test_a_seal_names_no_file_outside(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    (tmp_path / "outside.json").write_text("1")
    inside.mkdir()
    (inside / "a.json").write_text("1")
    seals.seal(inside, ["a.json", "../outside.json"])
    with pytest.raises(Damaged, match="outside its folder"):
        seals.check_seal(inside, ["a.json"], "measure again")
