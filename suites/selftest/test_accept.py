"""`--accept FILE`: read before anything is measured, and what it lists in vain is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.judging.goldens.accepted import read_accepted
from harness.records.record import Metric, Provenance, Record, Status, write_record
from suites.commands import Command

pytestmark = pytest.mark.usefixtures("no_variables")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A record of a stack without expected findings, with one call that broke."""
    place = Provenance(
        "mine", "stand-in", "catalogue", "cpu-x", "r", "s", {"torch": "2"}, family="qwen2_vl"
    )
    metrics = (
        Metric("interface", "call", "gone", status=Status.BROKEN),
        Metric("interface", "call", "fine", 1),
    )
    write_record(Record("interface", place, metrics, 1.0), tmp_path / "records")
    return tmp_path / "records"


def test_one_id_a_line_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "accept.txt"
    path.write_text(
        "\ufeff# why\n\n  text.rendered.two words \nids.a  # until 5.0\nids.#b\r\n",
        encoding="utf-8",
    )
    assert read_accepted(path) == {"text.rendered.two words", "ids.a", "ids.#b"}
    assert read_accepted(None) == frozenset()


def test_what_is_no_list_of_ids_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"text.caf\xe9")
    with pytest.raises(BadInput, match="no UTF-8 text"):
        read_accepted(tmp_path / "latin")
    with pytest.raises(BadInput, match="There is no file"):
        read_accepted(tmp_path)


@pytest.mark.parametrize("command", ["run", "compare"])
def test_the_file_is_read_before_anything_is_measured(
    harness: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def started(*words: object, **options: object) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr("harness.judging.workers.resolve.run_child", started)
    words = ["current", "current"] if command == "compare" else []
    ended = harness(command, *words, "--accept", tmp_path / "gone", "--out", tmp_path / "out")
    assert ended.code == 2
    assert f"There is no file {tmp_path / 'gone'}" in ended.sentence
    assert not (tmp_path / "out").exists()


def test_what_no_longer_occurs_is_said_everywhere(harness: Command, folder: Path) -> None:
    accept = folder / "accept.txt"
    listed = (
        "interface.call.gone",
        "interface.call.fine",
        "interface.never",
        "nonsense",
        "forward.loss",
    )
    accept.write_text("\n".join(listed))
    ended = harness("report", folder, "--accept", accept, "--json")
    document = json.loads(ended.stdout)["reports"][0]
    # The rung forward was not measured: nothing is known of its finding.
    stale = ["interface.call.fine", "interface.never", "nonsense"]
    assert document["stale_accepts"] == stale
    assert f"no longer found, take out of --accept: {', '.join(stale)}" in ended.stderr
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"findings that no longer occur: {', '.join(stale)}" in page
    ended = harness("report", folder, "--json")
    assert json.loads(ended.stdout)["reports"][0]["stale_accepts"] == []
    assert "no longer found" not in ended.stderr


def test_no_page_is_written_where_one_of_several_folders_is_none(
    harness: Command, folder: Path, tmp_path: Path
) -> None:
    ended = harness("report", folder, tmp_path / "nowhere", "--json")
    assert ended.code == 2
    assert "nowhere holds no records" in ended.sentence
    assert not (folder / "report.html").exists()
