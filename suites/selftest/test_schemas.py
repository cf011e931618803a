"""Every document has a committed schema, is as it says, and nothing else would pass for it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest

from harness.judging.audit.golden import keep
from harness.judging.audit.judge import judge
from harness.judging.bisect.answers import Bisection, write_bisection
from harness.judging.matrix.kept import State
from harness.judging.matrix.table import CellEntry, Point, Table, Timeline, Wrong, write_table
from harness.records.audit import audit_path, write_audit
from harness.records.files import read_json
from harness.records.folders import GOLDEN, SCHEMAS
from harness.records.record import Verdict
from harness.records.schema import Form, json_schema
from suites.commands import Command
from suites.documents import files_in, invalid, printed
from suites.selftest.record_folders import records
from suites.selftest.report_run import write_run
from suites.selftest.test_audit_golden import NORM, PADS, RATE, audit_of
from suites.write_schemas import schemas


def test_the_committed_schemas_are_those_of_the_types() -> None:
    """`python -m suites.write_schemas` writes them; a format that changes has another number."""
    committed = {str(p.relative_to(SCHEMAS)): read_json(p) for p in SCHEMAS.rglob("*.json")}
    assert committed == json.loads(json.dumps(dict(schemas())))


def test_every_document_that_is_printed_has_one() -> None:
    """What emit takes is a type of this package, and PRINTED has it."""
    from harness.commands import _documents
    from harness.commands._documents.matrix import MatrixFile
    from harness.commands._documents.printed import PRINTED

    types = {kind for kind, _ in PRINTED.values()}
    modules = [
        import_module(f"{_documents.__name__}.{module.name}")
        for module in iter_modules(_documents.__path__)
    ]
    own = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
        if "schema" in getattr(value, "__dataclass_fields__", ())
    }
    # A matrix' file is what it prints, without the folder.
    assert own == types | {MatrixFile}


def committed_goldens() -> Iterator[tuple[str, str, Any]]:
    kinds = {"truth": "golden", "observed": "golden", "expected": "expected", "bands": "bands"}
    for folder, kind in kinds.items():
        for path in sorted((GOLDEN / folder).rglob("*.json")):
            arithmetic = path == GOLDEN / "bands" / "kinds.json"
            yield str(path), "files/kinds" if arithmetic else f"files/{kind}", read_json(path)
    for path in sorted((GOLDEN / "families").glob("*.json")):
        yield str(path), "files/family", read_json(path)
    yield "matrix", "files/matrix", read_json(GOLDEN / "matrix" / "matrix.json")
    yield "days", "files/matrix-releases", read_json(GOLDEN / "matrix" / "releases.json")
    yield "time", "files/matrix-time", read_json(GOLDEN / "matrix" / "time.json")


def one_cell() -> Table:
    names = {"stack": "reference", "model": "tiny:qwen2_vl", "recipe": "reference", "device": "cpu"}
    wrong = Wrong("text.rendered", "text", Verdict.CHANGED, "a", "b")
    cell = CellEntry(**names, key="k", state=State.MEASURED, wrong=(wrong,), versions={"trl": "1"})
    point = Point("reference", 1.5, (1.0, 2.0))
    line = Timeline("forward.loss", "tiny:qwen2_vl", "reference", "cpu", "nats", True, (point,))
    rows = (("reference",), ("tiny:qwen2_vl",), ("reference",), ("cpu",), ("text",))
    return Table(*rows, (cell,), (line,))


@pytest.fixture(scope="module")
def written() -> list[tuple[str, str, Any]]:
    """The documents of the first test that asks for them."""
    return []


@pytest.fixture
def documents(
    written: list[tuple[str, str, Any]], tmp_path: Path, harness: Command, bisection: Bisection
) -> list[tuple[str, str, Any]]:
    """What the commands that measure nothing print and leave, and the kinds of a golden; nobody
    changes them."""
    if not written:
        written += every_document(tmp_path, harness, bisection)
    return written


def every_document(
    tmp_path: Path, harness: Command, bisection: Bisection
) -> list[tuple[str, str, Any]]:
    """As they are printed and written now."""
    run = write_run(tmp_path / "20260102-abc")
    old, new = records(tmp_path / "a", 1.0), records(tmp_path / "b", -1.0)
    told = [printed(harness("report", run, "--json").stdout, "report")]
    words = (f"{old}/", f"{new}/", "--out", tmp_path / "compared", "--json")
    told.append(printed(harness("compare", *words).stdout, "compare"))
    told.append(printed(harness("golden", "list", "--json").stdout, "golden-list"))
    told.append(printed(harness("doctor", "--json").stdout, "doctor"))
    write_bisection(bisection, tmp_path / "bisected")
    audit = audit_of(PADS, RATE, NORM)
    write_audit(audit, audit_path(tmp_path / "audited"))
    kept = keep(audit, judge(audit), tmp_path / "kept" / "train.json", "")
    told.append(("kept", "files/audit-golden", read_json(kept)))
    forecast = harness("matrix", "--stack", "latest", "--family", "qwen2_vl", "--dry-run", "--json")
    told.append(printed(forecast.stdout, "matrix-forecast"))
    write_table(one_cell(), tmp_path / "table")
    for name in ("a", "b", "compared", "bisected", "audited", "table"):
        told += files_in(tmp_path / name)
    return [*told, *committed_goldens()]


def test_real_documents_are_as_their_schemas_say(documents: list[tuple[str, str, Any]]) -> None:
    kinds = {kind for _, kind, _ in documents}
    assert {"printed/report", "printed/compare", "files/record", "files/comparison"} <= kinds
    assert {"files/golden", "files/expected", "files/bands", "files/bisect", "files/audit"} <= kinds
    assert invalid(documents) == []


def test_a_document_that_is_another_is_told(documents: list[tuple[str, str, Any]]) -> None:
    """One field too few, one too many, another number: each of every kind is noticed."""
    # The first of each: the committed ones, which come last, are the longest.
    by_kind = {kind: document for _, kind, document in reversed(documents)}
    wrong = []
    for kind, document in by_kind.items():
        less, more, other = (copy.deepcopy(document) for _ in range(3))
        less.pop("schema")
        more["and_more"] = 1
        other["schema"] = 99
        wrong += [(f"{kind} {i}", kind, d) for i, d in enumerate((less, more, other))]
    told = {line.partition(":")[0] for line in invalid(wrong)}
    assert told == {name for name, _, _ in wrong}


@dataclass(frozen=True)
class Inner:
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True)
class Outer:
    name: str
    pair: tuple[str, int]
    inner: Inner | None = None


def test_a_schema_says_what_its_type_says() -> None:
    schema = json_schema(Outer, "outer", Form(7, numbered=True))
    assert schema["properties"]["schema"] == {"const": 7}
    assert schema["required"] == ["schema", "name", "pair", "inner"]
    (name,) = schema["$defs"]
    assert schema["properties"]["inner"] == {
        "anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]
    }
    assert schema["$defs"][name]["properties"] == {
        "numbers": {"type": "array", "items": {"type": "number"}}
    }
    assert schema["properties"]["pair"]["prefixItems"] == [{"type": "string"}, {"type": "integer"}]
    with pytest.raises(TypeError, match="no JSON form"):
        json_schema(Form, "a set has none", Form(1))
