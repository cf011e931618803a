"""Every kind of file that must survive is sealed: a flipped bit, a cut, an edit or a seal that is
gone is refused by the file's name."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput, Damaged
from harness.judging.bisect.answers import BISECT, Bisection, read_bisection, write_bisection
from harness.judging.compare.document import (
    COMPARISON,
    Document,
    FactsEntry,
    read_comparison,
    write_comparison,
)
from harness.judging.goldens.bands import read_bands
from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.golden import read_golden
from harness.judging.report.lane import published
from harness.records import beside
from harness.records.audit import Audit, Opened, RungChecks, audit_path, read_audit, write_audit
from harness.records.context import Context, context_path, read_context, write_context
from harness.records.files import write_atomically
from harness.records.folders import GOLDEN
from harness.records.record import Metric, Record, read_record, write_record
from harness.records.seals import read_sealed, write_sealed
from suites.reliability.counts import count
from suites.reliability.damage import flip
from suites.reliability.test_records import PROVENANCE
from suites.write_seals import renewed


@dataclass(frozen=True)
class Kind:
    """write: into a folder, returns the files that are sealed. read: what the harness makes of
    them."""

    write: Callable[[Path], list[Path]]
    read: Callable[[Path], Any]


def copied(name: str) -> Callable[[Path], list[Path]]:
    """A committed file of golden/, as it is."""

    def write(folder: Path) -> list[Path]:
        write_atomically(folder / name, (GOLDEN / name).read_bytes())
        return [folder / name]

    return write


def comparison(folder: Path) -> list[Path]:
    facts = FactsEntry("stand-in", "catalogue", "m", "cpu-x")
    write_comparison(Document("reference", "latest", facts, {"torch": ("1", "2")}, ()), folder)
    return [folder / COMPARISON]


def bisection(folder: Path) -> list[Path]:
    write_bisection(Bisection("trl", "1", "2", "reference", {}, releases=("1", "2")), folder)
    return [folder / BISECT]


def context_of(folder: Path) -> Context:
    return Context(
        "reference", "stand-in", "catalogue", Path("/m"), True, folder, family="qwen2_vl"
    )


def context(folder: Path) -> list[Path]:
    write_context(context_of(folder))
    return [context_path(folder)]


def summary(folder: Path) -> list[Path]:
    """A whole run's last file, and what it seals."""
    (folder / "text.safetensors").write_bytes(b"tensors")
    record = write_record(Record("text", PROVENANCE, (Metric("text", "a", value=1.0),)), folder)
    beside.write_summary({"run": "x", "context": {}}, folder)
    return [beside.summary_path(folder), record, record.with_suffix(".safetensors")]


def tokens(folder: Path) -> list[Path]:
    beside.write_supervision(beside.Supervision("s", (beside.Token("a", "masked"),)), folder)
    return [beside.supervision_path(folder)]


def texts(folder: Path) -> list[Path]:
    """What was generated, and its picture."""
    path = beside.generations_path(folder)
    picture = path.parent / "images" / "p0.png"
    write_atomically(picture, bytes(range(256)))
    product = beside.ProductTexts("p0", "Mug", "Home", "A mug.", {}, {}, image="images/p0.png")
    beside.write_generations(beside.Generations((product,)), folder)
    return [path, picture]


def truths(folder: Path) -> list[Path]:
    truth = beside.OwnTruth("ids", "counts", {"a": 3}, "oracle", "why")
    beside.write_own_truths(beside.OwnTruths("d", "qwen2_vl", "r", (truth,)), folder)
    return [beside.own_truths_path(folder)]


def audit(folder: Path) -> list[Path]:
    opened = Opened("loop", "Trainer", "M", "m", "", "cpu", 2, {}, (), {}, "3.11", "Linux")
    rung = RungChecks("forward", ())
    write_audit(
        Audit("train.py", "", "d", "", "current", "c", "now", 2, opened, (rung,), {}),
        audit_path(folder),
    )
    return [audit_path(folder)]


LANE = "lane/cuda-nvidia-h200/footprint-800.json"
TRUTH = next(path.relative_to(GOLDEN) for path in sorted(GOLDEN.glob("truth/**/*.json")))
KINDS: Mapping[str, Kind] = {
    "comparison": Kind(comparison, read_comparison),
    "bisect": Kind(bisection, read_bisection),
    "context": Kind(context, lambda folder: read_context(context_path(folder))),
    "run": Kind(summary, lambda f: (beside.read_summary(f), read_record(f / "text.json"))),
    "token map": Kind(tokens, beside.read_supervision),
    "texts and picture": Kind(texts, beside.read_generations),
    "own truths": Kind(truths, beside.read_own_truths),
    "audit": Kind(audit, lambda folder: read_audit(audit_path(folder))),
    "golden": Kind(copied(str(TRUTH)), lambda f: replace(read_golden(f / TRUTH), path="")),
    "expected": Kind(copied("expected/latest.json"), lambda f: read_expected("latest", f)),
    "bands": Kind(copied("bands/compare.json"), lambda f: read_bands(f / "bands" / "compare.json")),
    "lane": Kind(copied(LANE), lambda folder: published.read(folder / "lane")),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_no_flipped_bit_of_what_must_survive_goes_unnoticed(
    tmp_path: Path, kind: Kind, tried: Callable[[int], None]
) -> None:
    """Of every kind of file: refused by its name, or it says the same."""
    files = kind.write(tmp_path)
    whole, meant = {path: path.read_bytes() for path in files}, kind.read(tmp_path)
    dice = random.Random(11)
    refused = 0
    tried(count(30, 300))
    for _ in range(count(30, 300)):
        path = dice.choice(files)
        flip(path, dice.randrange(len(whole[path])))
        try:
            assert kind.read(tmp_path) == meant, path
        except BadInput as error:
            assert path.name in str(error)  # noqa: PT017 - either outcome is right
            refused += 1
        path.write_bytes(whole[path])
    assert refused > count(30, 300) / 4


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_must_survive_is_refused_cut_short_or_without_its_seal(
    tmp_path: Path, kind: Kind, tried: Callable[[int], None]
) -> None:
    """Truncations; a seal that was taken off whole; a file that is gone."""
    files = kind.write(tmp_path)
    dice = random.Random(13)
    tried(count(10, 300))
    for _ in range(count(10, 300)):
        path = dice.choice(files)
        whole = path.read_bytes()
        path.write_bytes(whole[: dice.randrange(len(whole) - 1)])
        with pytest.raises(BadInput, match=path.name):
            kind.read(tmp_path)
        path.write_bytes(whole)
    raw = json.loads(files[0].read_text(encoding="utf-8"))
    del raw["seal"]
    files[0].write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(Damaged, match="carries no seal"):
        kind.read(tmp_path)
    kind.write(tmp_path)
    for path in files[1:]:
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(BadInput, match=path.name):
            kind.read(tmp_path)
        path.write_bytes(whole)


def test_what_people_edit_is_sealed_again_by_one_command(tmp_path: Path) -> None:
    path = copied("expected/latest.json")(tmp_path)[0]
    assert list(renewed(tmp_path)) == []
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["findings"][0]["reason"] = "edited"
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(Damaged, match=r"run `python -m suites\.write_seals`"):
        read_expected("latest", tmp_path)
    assert list(renewed(tmp_path)) == [path]
    assert read_expected("latest", tmp_path)[0].reason == "edited"


def test_files_from_before_there_were_seals_are_read(tmp_path: Path) -> None:
    """They lie on users' disks; one of today's schema without a seal has lost it."""
    context(tmp_path)
    path = context_path(tmp_path)
    old = {k: v for k, v in json.loads(path.read_text()).items() if k not in {"seal", "schema"}}
    path.write_text(json.dumps(old))
    assert read_context(path) == context_of(tmp_path)
    document = Document("a", "b", FactsEntry("m", "d", "x", "cpu"), {}, (), schema=1)
    (tmp_path / COMPARISON).write_text(json.dumps({"schema": 1, **asdict(document)}))
    assert read_comparison(tmp_path) == document


def test_a_document_seals_no_file_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    (tmp_path / "in").mkdir()
    write_sealed(tmp_path / "in" / "a.json", {"a": 1}, ["../outside"])
    with pytest.raises(Damaged, match="outside its folder"):
        read_sealed(tmp_path / "in" / "a.json", "mend")
