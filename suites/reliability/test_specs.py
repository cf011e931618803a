"""A training's spec that cannot be: one sentence, exit 2, nothing written; a training that breaks
says so in its last line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.measuring.training import __main__ as command
from harness.measuring.training.spec import TrainSpec, spec_to_json
from suites.reliability.test_state import spec  # noqa: F401 - a fixture
from suites.selftest import snapshots

pytestmark = pytest.mark.usefixtures("no_variables")

WRONG: list[tuple[str, Any]] = [
    *(("device", value) for value in ("nonsense", "", "cuda:x", "cpu:0", 5, None)),
    *(("dtype", value) for value in ("x", "int8", "", "__name__", 5)),
    *(("quantisation", value) for value in ("x", "", 4)),
    *(("threads", value) for value in (0, -5, 10**20, 1.5, "2", True)),
    *(("max_steps", value) for value in (0, -2, "3", float("inf"))),
    *(("micro_batch", value) for value in (0, -1, 2.0, 10**20)),
    *(("accumulation", value) for value in (0, -1, None)),
    *(("learning_rate", value) for value in (-1.0, "x", float("nan"), float("inf"))),
    *(("seed", value) for value in (-1, 2**32, "x")),
    *(("save_every", value) for value in (0, -1)),
    *(("rows", value) for value in (0, 1, -1, "all")),
    *(("family", value) for value in ("../../x", "none", "", 5)),
    *(("snapshot", value) for value in ("/no/such", "", "a\0b", 5)),
    *(("data", value) for value in ("/no/such", "http://example.invalid/x", "", "a\0b")),
    *(("way", value) for value in ("nonsense", "../x", 5)),
    ("recipe", "none"),
    ("recipe", {}),
]


def trained(spec_file: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = command.main([str(spec_file), str(out)])
    return code, capsys.readouterr().err


def written(folder: Path, spec: TrainSpec, **changes: Any) -> Path:  # noqa: F811
    raw = json.loads(json.dumps(spec_to_json(spec)))["spec"]
    path = folder / "spec.json"
    path.write_text(json.dumps({**raw, **changes}))
    return path


@pytest.mark.parametrize(("name", "value"), WRONG, ids=range(len(WRONG)))
def test_a_spec_that_cannot_be(
    spec: TrainSpec,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: Any,
) -> None:
    path = written(tmp_path, spec, **{name: value})
    code, told = trained(path, tmp_path / "out", capsys)
    assert code == 2, told
    assert told.startswith("error: ")
    assert len(told.splitlines()) == 1
    assert name in told or str(value) in told
    assert [p.name for p in tmp_path.iterdir()] == ["spec.json"]


def test_a_snapshot_with_code_of_its_own_is_not_trained(
    spec: TrainSpec,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As every other verb refuses it."""
    files = snapshots.files()
    config = {**json.loads(files["config.json"]), "auto_map": {"AutoModel": "modeling.Model"}}
    files["config.json"] = json.dumps(config).encode()
    folder = snapshots.write(tmp_path / "model", files)
    path = written(tmp_path, spec, snapshot=str(folder))
    code, told = trained(path, tmp_path / "out", capsys)
    assert code == 2
    assert "auto_map" in told
    assert not (tmp_path / "out").exists()


def test_a_training_that_breaks_says_so_last(
    spec: TrainSpec,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python's own exit code would say `a finding`; what a library says passes for no word of
    ours."""

    def broken(*words: Any, **named: Any) -> Any:
        raise RuntimeError("size mismatch\nerror: everything is well\n::stop-commands::x")

    monkeypatch.setattr(command, "train", broken)
    code, told = trained(written(tmp_path, spec), tmp_path / "out", capsys)
    assert code == 70
    assert [line for line in told.splitlines() if line.startswith(("error: ", "::"))] == [
        told.splitlines()[-1]
    ]
    assert "RuntimeError: size mismatch" in told.splitlines()[-1]
