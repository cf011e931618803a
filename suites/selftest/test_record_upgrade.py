"""Records of older schemas are read, their sentences taken apart once and never again."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import Lack
from harness.records.failure import Mismatch
from harness.records.files import write_json
from harness.records.record import (
    SCHEMA_VERSION,
    Metric,
    Status,
    from_json,
    read_record,
    write_record,
)

PLACE = {
    "stack": "reference",
    "model": "stand-in",
    "data": "catalogue",
    "device_key": "cpu-x",
    "recipe": "r",
    "samples": "s",
}
# As the first schema had every metric.
PLAIN: dict[str, Any] = {
    "case": None,
    "value": None,
    "unit": "1",
    "how": "measured",
    "direction": "none",
    "failure": None,
    "reason": None,
    "samples": [],
    "volatile": False,
    "note": None,
}
MEET = "transformers 5.0.0 and torch 2.4.0 do not work together: transformers asks for torch>=2.6."
NEEDS = (
    "transformers 4.56.0 and accelerate 1.9.0 do not work together: transformers needs "
    "accelerate>=1.10.0 and declares it nowhere."
)
MEETING = Mismatch("transformers", "5.0.0", "torch", "2.4.0", ">=2.6")
NEEDING = Mismatch("transformers", "4.56.0", "accelerate", "1.9.0", ">=1.10.0", declared=False)


def kept(folder: Path, rung: str, *metrics: dict[str, Any]) -> Path:
    """A record of the first schema on a user's disk."""
    whole = [{**PLAIN, "rung": rung, **metric} for metric in metrics]
    raw = {"schema": 1, "rung": rung, "seconds": 1.0, "provenance": PLACE, "metrics": whole}
    write_json(folder / f"{rung}.json", raw)
    return folder / f"{rung}.json"


def test_the_first_family_is_that_of_records_that_name_none(tmp_path: Path) -> None:
    path = kept(tmp_path, "text", {"name": "rendered", "status": "OK", "value": 1})
    assert read_record(path).provenance.family == "qwen2_vl"
    # Of this schema every record names its own; none is made up.
    raw = {**json.loads(path.read_text("utf-8")), "schema": 2}
    assert from_json(raw).provenance.family == ""


def broken(kind: str, message: str, name: str = "probe") -> dict[str, Any]:
    failure = {"type": kind, "message": message, "where": "x.py:1"}
    return {"name": name, "status": "BROKEN", "failure": failure}


def only(path: Path) -> Metric:
    (metric,) = read_record(path).metrics
    return metric


@pytest.mark.parametrize(
    ("reason", "lack", "blocked_by"),
    [
        ("needs CUDA; the CPU has no such allocator", Lack.CUDA, ""),
        ("needs CUDA: RuntimeError: CUDA is required (x.py:1)", Lack.CUDA, ""),
        ("this stack cannot quantise here; NF4 is emulated", Lack.QUANTISATION, ""),
        ("the snapshot has no weights", Lack.WEIGHTS, ""),
        ("x has no weights (*.safetensors)", Lack.WEIGHTS, ""),
        ("random-7b has random weights, whose texts mean nothing", Lack.WEIGHTS, ""),
        ("only the catalogue knows what its pictures show", Lack.DATA, ""),
        ("3 steps of 8 hold no whole epoch of 100", Lack.SCALE, ""),
        ("Out of memory: Training x takes at least 80 GB", Lack.MEMORY, ""),
        ("images.grid.1x1 is BROKEN", Lack.FINDING, "images.grid.1x1"),
        (
            "It needs the result of sft_config, which is broken; mend that first.",
            Lack.FINDING,
            "interface.call.sft_config",
        ),
        ("something that nobody thought of", Lack.OTHER, ""),
    ],
)
def test_what_was_not_run_says_what_it_lacked(
    tmp_path: Path, reason: str, lack: Lack, blocked_by: str
) -> None:
    metric = only(kept(tmp_path, "text", {"name": "x", "status": "NOT_RUN", "reason": reason}))
    assert (metric.lack, metric.blocked_by, metric.reason) == (lack, blocked_by, reason)


def test_what_does_not_work_together_is_taken_from_before_the_librarys_words(
    tmp_path: Path,
) -> None:
    sentence = f"{NEEDS} {MEET} No module named 'x'"
    metric = only(kept(tmp_path, "text", broken("ImportError", sentence)))
    assert metric.failure is not None
    assert metric.failure.mismatches == (NEEDING, MEETING)
    assert metric.failure.message == "No module named 'x'"
    # What a person reads is what it was.
    assert metric.error == f"ImportError: {sentence} (x.py:1)"


def test_an_import_knows_what_its_own_record_says_of_the_releases(tmp_path: Path) -> None:
    pairs = {"name": "mismatched_pairs", "status": "OK", "value": [MEET]}
    path = kept(tmp_path, "environment", pairs, broken("ImportError", "no X", "bare_pins_import"))
    failure = read_record(path).find("bare_pins_import").failure
    assert failure is not None
    assert (failure.mismatches, failure.message) == ((MEETING,), "no X")
    assert read_record(path).find("mismatched_pairs").value == [MEET]


@pytest.mark.parametrize(
    ("kind", "message", "signal", "limit_s"),
    [
        ("ChildDied", "signal 9; last line: x", 9, None),
        ("ChildDied", "exit code 134; last line: signal 9;", None, None),
        ("ChildHung", "no answer within 600 s; the log holds where it stood", None, 600.0),
        ("ValueError", "signal 9; no answer within 600 s", None, None),
    ],
)
def test_how_a_process_ended(
    tmp_path: Path, kind: str, message: str, signal: int | None, limit_s: float | None
) -> None:
    failure = only(kept(tmp_path, "text", broken(kind, message))).failure
    assert failure is not None
    assert (failure.signal, failure.limit_s, failure.message) == (signal, limit_s, message)


def test_it_is_written_back_in_the_newest_schema(tmp_path: Path) -> None:
    path = kept(tmp_path, "text", broken("ImportError", f"{MEET} gone"))
    record = read_record(path)
    write_record(record, tmp_path)
    assert json.loads(path.read_text())["schema"] == SCHEMA_VERSION
    assert read_record(path) == record


def test_a_call_that_could_not_begin_warned_of_nothing(tmp_path: Path) -> None:
    """Until schema 2 its warnings were an empty list, as of one that passed in silence."""
    reason = "It needs the result of y, which is broken; mend that first."
    unrun = {"name": "call", "case": "x", "status": "NOT_RUN", "reason": reason}
    silent = {"name": "warnings", "status": "OK", "value": []}
    cuda = {"name": "call", "case": "z", "status": "NOT_RUN", "reason": "needs CUDA; tf32"}
    passed = {"name": "call", "case": "p", "status": "OK", "value": "PASS"}
    path = kept(
        tmp_path,
        "interface",
        *(unrun, cuda, passed),
        *({**silent, "case": case} for case in "xzp"),
    )
    record = read_record(path)
    warned = record.find("warnings", "x")
    assert (warned.status, warned.value, warned.reason) == (Status.NOT_RUN, None, reason)
    assert (warned.lack, warned.blocked_by) == (Lack.FINDING, "interface.call.y")
    # What was refused had begun, and so had what passed.
    for case in "zp":
        assert (record.find("warnings", case).status, record.find("warnings", case).value) == (
            Status.OK,
            [],
        )


# Who may look into words: what reads the first schema, and what is made to know the words of a
# library, of uv or of a golden's list, which are no facts of ours.
READERS = {
    ("records/upgrade.py", "*"),
    ("judging/bisect/failures.py", "is_accident"),
    ("judging/compare/causes.py", "_names"),
    ("judging/compare/predicates.py", "holds"),
    ("judging/goldens/verdicts.py", "_is_that_error"),
    ("measuring/probes/interface.py", "execute"),
    # An error number of the system, as libraries in Rust and C++ word it.
    ("records/disk.py", "_number"),
}
WORDS = {"error", "reason", "message", "sentence", "why", "problem", "note", "cause_note"}


def looks_into_words(node: ast.AST) -> bool:
    """Whether an expression searches a sentence: a pattern, a part of it, its beginning."""

    def is_sentence(value: ast.AST) -> bool:
        if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "str" and value.args:
            value = value.args[0]
        return getattr(value, "attr", getattr(value, "id", "")) in WORDS

    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
        return is_sentence(node.comparators[0])
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    if node.func.attr in {"search", "match", "fullmatch", "findall", "finditer"}:
        return any(is_sentence(argument) for argument in node.args)
    # The first line of a library's error is shown, not read.
    if any(isinstance(word, ast.Constant) and word.value == "\n" for word in node.args):
        return False
    parts = {"startswith", "endswith", "split", "rsplit", "partition", "find", "index"}
    return node.func.attr in parts and is_sentence(node.func.value)


def readers(node: ast.AST, inside: tuple[str, ...]) -> set[str]:
    """The functions that look into words, those around them too. inside: of the node itself."""
    if isinstance(node, ast.FunctionDef):
        inside = (*inside, node.name)
    names = set(inside) if inside and looks_into_words(node) else set()
    return names.union(*(readers(child, inside) for child in ast.iter_child_nodes(node)))


def test_nothing_parses_a_sentence(repository: Path) -> None:
    """What one part tells another is a typed fact; a sentence is made where a person reads it."""
    patterns = set()
    for file in sorted((repository / "harness").rglob("*.py")):
        place = file.relative_to(repository / "harness").as_posix()
        if (place, "*") not in READERS:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            patterns |= {(place, name) for name in readers(tree, ())}
    assert patterns == {reader for reader in READERS if reader[1] != "*"}
