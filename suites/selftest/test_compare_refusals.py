"""What a comparison of folders is refused for, in one sentence each."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from harness.cli import main
from harness.records.files import read_json, write_json
from harness.records.seals import sealed
from suites.selftest.record_folders import compare, records


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere/", "reference"), "holds no records"),
        (("refference", "latest"), "There is no stack 'refference'"),
        (("reference,transformers=4", "latest"), "is no requirement"),
        (("reference,./gone.whl", "latest"), "There is no wheel ./gone.whl"),
        (("reference", "latest", "--rungs", "20"), "--rungs '20'"),
        (("reference", "latest", "--accept", "gone.txt"), "There is no file gone.txt"),
        (("reference", "latest", "--resume", "gone"), "There is no run gone"),
    ],
)
def test_bad_input_is_one_sentence(
    words: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert compare(tmp_path, *words) == 2
    err = capsys.readouterr().err.strip()
    assert err.startswith("error: ")
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--limit", "0"), "--limit: '0' is no number of seconds above 0"),
        (("--limit=-5",), "--limit: '-5' is no number of seconds above 0"),
        (("--limit", "nan"), "--limit: 'nan' is no number of seconds above 0"),
        (("--limit", "soon"), "--limit: 'soon' is no number of seconds above 0"),
        (("--threads", "0"), "--threads: '0' is no whole number above 0"),
        (("--threads", "1.5"), "--threads: '1.5' is no whole number above 0"),
    ],
)
def test_numbers_that_nothing_can_be_measured_with(
    words: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        compare(tmp_path, "reference", "latest", *words)
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out0").exists()


def test_a_wheel_for_another_python_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "peft-0.13.0-cp27-cp27m-linux_x86_64.whl"
    wheel.write_bytes(b"")
    assert compare(tmp_path, f"reference,{wheel}", "latest") == 2
    assert "is for cp27, this Python is cp3" in capsys.readouterr().err


def test_a_record_of_another_schema_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 5, schema=9)
    assert compare(tmp_path, str(old), str(new)) == 2
    err = capsys.readouterr().err
    assert "record schema 9" in err
    assert "measure again" in err


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b'"text"'])
def test_a_record_that_is_no_object_is_refused_by_name(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 5)
    (new / "forward.json").write_bytes(content)
    assert compare(tmp_path, str(old), str(new)) == 2
    assert "forward.json is not a complete record" in capsys.readouterr().err


def test_a_side_whose_records_come_from_two_runs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 5)
    other = read_json(new / "forward.json")
    other["rung"], other["provenance"]["versions"] = "text", {"transformers": "5.0.0"}
    for metric in other["metrics"]:
        metric["rung"] = "text"
    del other["seal"]
    write_json(new / "text.json", sealed(other))
    write_json(old / "text.json", sealed(other))
    assert compare(tmp_path, str(old), str(new)) == 2
    assert "The records come from different runs: versions is" in capsys.readouterr().err


def test_directories_without_the_rungs_asked_for_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 5)
    assert compare(tmp_path, str(old), str(new), "--rungs", "text,9") == 2
    sentence = f"{old} holds no record of text, backward; it has forward."
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out0").exists()


def test_an_accept_file_that_is_no_text_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accept = tmp_path / "accept.txt"
    accept.write_bytes(b"\xff\xfe")
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 6)
    assert compare(tmp_path, str(old), str(new), "--accept", str(accept)) == 2
    assert f"{accept} is no UTF-8 text" in capsys.readouterr().err


@pytest.mark.parametrize("plan", [None, b"{", b"[]"])
def test_a_folder_that_holds_no_comparison_is_not_resumed(
    plan: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 6)
    folder = tmp_path / "run"
    folder.mkdir()
    if plan is not None:
        (folder / "plan.json").write_bytes(plan)
    assert main(["compare", str(old), str(new), "--resume", str(folder)]) == 2
    err = capsys.readouterr().err
    assert f"{folder}" in err
    assert "holds no comparison to go on with" in err
    assert len(err.strip().splitlines()) == 1


def test_a_comparison_is_resumed_only_as_it_was_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 6)
    assert compare(tmp_path, str(old), str(new)) == 1
    out = tmp_path / "out0"
    assert main(["compare", str(old), str(new), "--resume", str(out)]) == 1
    assert main(["compare", str(old), str(old), "--resume", str(out)]) == 2
    assert "was started with new" in capsys.readouterr().err
    # A second comparison never overwrites the first.
    assert main(["compare", str(old), str(new), "--out", str(out)]) == 2
    assert "holds a comparison already" in capsys.readouterr().err


def test_an_unwritable_place_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "shut"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.access(folder, os.W_OK):
        # root writes everywhere; a file in the way refuses root too.
        folder.chmod(stat.S_IRWXU)
        folder.rmdir()
        folder.write_text("a file", encoding="utf-8")
    old, new = records(tmp_path / "a", 5), records(tmp_path / "b", 6)
    assert main(["compare", str(old), str(new), "--out", str(folder / "x")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_too_little_disk_is_said_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.judging.environments.build.NEEDED_BYTES", 10**18)
    assert compare(tmp_path, "reference", "latest") == 2
    err = capsys.readouterr().err
    assert "error: An environment needs" in err
    assert "set HARNESS_CACHE to a larger disk" in err
    assert "Traceback" not in err


def test_a_stack_that_does_not_resolve_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.judging.environments.build.NEEDED_BYTES", 0)
    words = ("reference,peft==0.13.0,peft==0.14.0", "reference,peft==0.13.0,peft==0.14.0")
    assert compare(tmp_path, *words, "--offline") == 2
    err = capsys.readouterr().err
    assert "error: The stack reference,peft==0.13.0,peft==0.14.0 cannot be installed" in err
    assert "Nothing was downloaded (--offline)" in err
    assert "Traceback" not in err
