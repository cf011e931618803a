"""A bisect's layers: built once while needed, dropped after, never another bisect's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import OutOfSpace
from harness.judging.environments import build as environments
from harness.judging.environments import overlay
from harness.judging.environments.layers import Layers
from harness.records.folders import PROJECT
from suites.selftest.wheels import wheel


@pytest.fixture
def python(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    subprocess.run(
        [environments.uv_binary(), "venv", "--quiet", "--python", sys.executable, str(folder)],
        check=True,
    )
    return folder / "bin" / "python"


def planned(folder: Path, python: Path, version: str) -> overlay.Layer:
    wheel(folder, "tiny", version, f"value = {version!r}\n")
    return overlay.plan("current", python, [f"tiny=={version}"], folder)


def folders(root: Path) -> list[str]:
    return sorted(p.name for p in root.glob("*/*") if p.is_dir())


def test_a_layer_is_built_once_while_it_is_kept(tmp_path: Path, python: Path) -> None:
    root = tmp_path / "layers"
    layers = Layers(root)
    plans = {v: planned(tmp_path, python, v) for v in ("1.0", "2.0", "3.0")}
    for version, layer in plans.items():
        place, is_new = layers.built(version, layer, python, tmp_path)
        assert is_new
        assert (place / "tiny.py").read_text() == f"value = {version!r}\n"
    layers.keep({"1.0", "3.0"})
    assert folders(root) == ["1.0", "3.0"]
    assert [layers.built(v, p, python, tmp_path)[1] for v, p in plans.items()] == [
        False,
        True,
        False,
    ]
    layers.close()
    assert folders(root) == []


def test_two_bisects_keep_to_their_own_layers(tmp_path: Path, python: Path) -> None:
    root, layer = tmp_path / "layers", planned(tmp_path, python, "1.0")
    one, other = Layers(root), Layers(root)
    places = [bisect.built("1.0", layer, python, tmp_path)[0] for bisect in (one, other)]
    assert places[0] != places[1]
    one.close()
    assert places[1].is_dir()
    # A third one that begins meanwhile leaves the living alone.
    Layers(root).close()
    assert places[1].is_dir()
    other.close()


def test_what_a_killed_bisect_left_is_removed_by_the_next(tmp_path: Path, python: Path) -> None:
    root = tmp_path / "layers"
    layer = planned(tmp_path, python, "1.0")
    code = (
        "import sys, time; from pathlib import Path; "
        "from harness.judging.environments.layers import Layers; "
        "root = Path(sys.argv[1]); held = Layers(root); "
        "next(p for p in root.iterdir() if p.is_dir()).joinpath('1.0').mkdir(); "
        "print('ready', flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(root)], env=environment, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    living = Layers(root)
    living.built("2.0", layer, python, tmp_path)
    assert folders(root) == ["1.0", "2.0"]
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    Layers(root).close()
    assert folders(root) == ["2.0"]
    living.close()
    assert not [p for p in root.iterdir() if p.name != "all.lock"]


def test_a_full_disk_says_nothing_about_the_release(
    tmp_path: Path, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the bisect instead of leaving the release undecided."""
    layer = planned(tmp_path, python, "1.0")
    full = tmp_path / "full"
    full.mkdir()
    message = "error: failed to copy file: No space left on device (os error 28)"
    uv = tmp_path / "uv"
    uv.write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 2\n")
    uv.chmod(0o755)
    monkeypatch.setattr(environments, "uv_binary", lambda: str(uv))
    layers = Layers(full)
    with pytest.raises(OutOfSpace, match=r"disk filled up while tiny==1\.0 .* HARNESS_CACHE"):
        layers.built("1.0", layer, python, tmp_path)
    layers.close()
