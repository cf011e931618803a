"""Pickles, code of a snapshot's own, archives and wheels whose names lead elsewhere: nothing is
run, nothing is written outside, and what is refused is refused in words."""

from __future__ import annotations

import base64
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data.dataset import load_rows
from harness.errors import BadInput, HarnessError
from harness.judging.environments import overlay, releases
from harness.judging.environments.build import uv_binary
from harness.judging.environments.identity import identified
from harness.measuring.snapshots.source import inspect
from harness.measuring.training.run import train
from harness.measuring.training.spec import TrainSpec
from suites.commands import Command
from suites.reliability.rows import product, write
from suites.reliability.test_records import record
from suites.reliability.test_state import STEPS, finished, spec, stopped, weights  # noqa: F401
from suites.selftest import snapshots
from suites.selftest.wheels import wheel

pytestmark = pytest.mark.usefixtures("no_variables")


class Payload:
    """Unpickled it leaves a file."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[..., int], tuple[str]]:
        return os.system, (f"touch {self._trace}",)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "EXECUTED"


@pytest.fixture
def payload(trace: Path) -> bytes:
    """A pickle that shows when it is read; shown here to work."""
    raw = pickle.dumps(Payload(trace))
    pickle.loads(raw)  # noqa: S301 - our own
    assert trace.is_file()
    trace.unlink()
    return raw


PICKLED = ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "model.pkl", "x.bin"]


@pytest.mark.parametrize("name", PICKLED)
def test_pickled_weights_are_refused(
    tmp_path: Path, payload: bytes, trace: Path, name: str
) -> None:
    files = {k: v for k, v in snapshots.files().items() if not k.endswith(".safetensors")}
    folder = snapshots.write(tmp_path / "mine", {**files, name: payload})
    with pytest.raises(BadInput, match="pickled weights"):
        inspect(folder, "snapshot:mine")
    assert not trace.exists()


CODE = ["config.json", "tokenizer_config.json", "preprocessor_config.json"]


@pytest.mark.parametrize("name", CODE)
def test_a_snapshots_own_code_is_refused_before_it_is_run(
    harness: Command, tmp_path: Path, trace: Path, name: str
) -> None:
    files = snapshots.files()
    config = {**json.loads(files[name]), "auto_map": {"AutoModel": "modeling.Model"}}
    files[name] = json.dumps(config).encode()
    files["modeling.py"] = f"open({str(trace)!r}, 'w')".encode()
    folder = snapshots.write(tmp_path / "mine", files)
    ended = harness("probe", "text", "--model", folder, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "auto_map" in ended.sentence
    assert not trace.exists()


DATA = ["a.pkl", "a.pt", "a.npy", "a.npz", "dataset.bin", "a.joblib", "a.zip", "a.tar", "a.parquet"]


@pytest.mark.parametrize("name", DATA)
def test_data_that_is_a_pickle_is_no_data(
    tmp_path: Path, payload: bytes, trace: Path, name: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_bytes(payload)
    with pytest.raises(BadInput):
        load_rows(str(tmp_path / "data"), "train")
    assert not trace.exists()


def test_a_picture_that_is_a_pickle_is_no_picture(
    tmp_path: Path, payload: bytes, trace: Path
) -> None:
    image = {"bytes": base64.b64encode(payload).decode()}
    write(tmp_path / "a.jsonl", product(image=image), product(), product())
    with pytest.raises(BadInput, match="Row 1"):
        load_rows(str(tmp_path), "train")
    assert not trace.exists()


RECORDS = ["text.json", "text.safetensors", "run.json", "work/context.json"]


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_is_a_pickle_is_refused(
    harness: Command, tmp_path: Path, payload: bytes, trace: Path, name: str
) -> None:
    from harness.records.record import write_record

    write_record(record(), tmp_path / "run")
    path = tmp_path / "run" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(payload)
    ended = harness("report", tmp_path / "run")
    assert ended.code == 2
    assert path.name in ended.sentence
    assert not trace.exists()


STATE = ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "scaler.pt"]


@pytest.mark.slow
def test_pickles_beside_a_state_are_not_read(
    spec: TrainSpec,  # noqa: F811
    finished: Path,  # noqa: F811
    stopped: Path,  # noqa: F811
    payload: bytes,
    trace: Path,
    tried: Callable[[int], None],
) -> None:
    """The names that the Trainer itself would load, and peft's."""
    state = stopped / "state" / f"step-{STEPS - 1:06d}"
    for folder, name in [*((state, name) for name in STATE), (stopped, "adapter_model.bin")]:
        (folder / name).write_bytes(payload)
        tried(1)
    train(spec, stopped, bar=False)
    assert weights(stopped) == weights(finished)
    assert not trace.exists()


NAMES = [
    "x-1.0.whl",
    "x-1.0-py3-none-any.zip",
    "x y-1.0-py3-none-any.whl",
    "x-not a version-py3-none-any.whl",
    "x;touch EXECUTED-1.0-py3-none-any.whl",
    "$(touch EXECUTED)-1.0-py3-none-any.whl",
    "x\n--index-url=http:-1.0-py3-none-any.whl",
    "-rf-1.0-py3-none-any.whl",
    "..-1.0-py3-none-any.whl",
    ".whl",
    "é-1.0-py3-none-any.whl",
    "x-1.0-cp27-cp27m-linux_x86_64.whl",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_wheel_of_an_odd_name_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a stack's requirement, and left alone in a folder of wheels."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(HarnessError) as caught:
        identified(f"reference,./{name}")
    assert len(str(caught.value)) < 500
    with pytest.raises(BadInput, match="holds no wheel of"):
        releases.in_folder("x", tmp_path)
    assert not (tmp_path / "EXECUTED").exists()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment."""
    folder = tmp_path_factory.mktemp("base") / "env"
    words = [uv_binary(), "venv", "--quiet", "--python", sys.executable, str(folder)]
    subprocess.run(words, check=True)
    return folder / "bin" / "python"


# What an archive's member may be called.
MEMBERS = [
    "../OUTSIDE",
    "../../OUTSIDE",
    "a/../../OUTSIDE",
    "{outside}/OUTSIDE",
    "x-1.0.data/data/../../../OUTSIDE",
    "x-1.0.data/scripts/../../../OUTSIDE",
    "x-1.0.data/purelib/../../OUTSIDE",
    "..\\OUTSIDE",
]


@pytest.mark.parametrize("member", MEMBERS, ids=range(len(MEMBERS)))
def test_a_wheel_writes_nothing_outside(tmp_path: Path, python: Path, member: str) -> None:
    """Laid over an environment: installed inside, or refused in words."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    name = member.format(outside=tmp_path)
    wheel(wheels, "x", "1.0", "", modules={"x.py": "", name: "outside"})
    layer = overlay.Layer("current", ("x==1.0",), {"x": "1.0"}, {}, {})
    place = tmp_path / "deep" / "er" / "layer"
    place.parent.mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if path.name.endswith("OUTSIDE")}
    try:
        overlay.install(layer, python, place, wheels)
    except HarnessError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
        assert not place.exists()
    outside = {path for path in tmp_path.rglob("*") if path.name.endswith("OUTSIDE")}
    assert all(path.is_relative_to(place) for path in outside - before)
    assert not list(place.parent.glob("*.part"))


KINDS = {
    "no zip": b"nonsense",
    "empty": b"",
    "a pickle": pickle.dumps({"a": 1}),
    "half": b"PK\x03\x04" + b"\0" * 100,
}


@pytest.mark.parametrize("raw", KINDS.values(), ids=KINDS)
def test_a_wheel_that_is_no_archive_is_refused_in_words(
    tmp_path: Path, python: Path, raw: bytes
) -> None:
    (tmp_path / "x-1.0-py3-none-any.whl").write_bytes(raw)
    layer = overlay.Layer("current", ("x==1.0",), {"x": "1.0"}, {}, {})
    with pytest.raises(HarnessError) as caught:
        overlay.install(layer, python, tmp_path / "layer", tmp_path)
    assert "x" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "layer").exists()


def test_a_links_target_in_a_wheel_is_not_followed(tmp_path: Path, python: Path) -> None:
    """A member that says it is a link out of the archive."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    path = wheel(wheels, "x", "1.0", "")
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(tmp_path))
        archive.writestr("link/OUTSIDE", "outside")
    layer = overlay.Layer("current", ("x==1.0",), {"x": "1.0"}, {}, {})
    place = tmp_path / "layer"
    try:
        overlay.install(layer, python, place, wheels)
    except HarnessError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    assert not (tmp_path / "OUTSIDE").exists()
    shutil.rmtree(place, ignore_errors=True)
