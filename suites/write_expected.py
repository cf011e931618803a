"""golden/expected/<family>/<stack>.json from what an oracle declares and what was measured.

An oracle says of which findings, and why (KNOWN, ABSENT); records of tiny models say how large each
is. What is red and not declared, or declared and not seen, is refused by name: a list is no place
to hide something in. What is declared of models or devices that were not measured stays as it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import BadInput
from harness.judging.goldens.expected import Expected, expected_path, read_expected
from harness.judging.goldens.golden import BY_HAND, GOLDEN_SCHEMA, Band, BandKind
from harness.judging.goldens.judgement import Facts, facts_of
from harness.judging.goldens.own import goldens_for
from harness.judging.goldens.scope import holds
from harness.judging.goldens.verdicts import Judged, judge
from harness.measuring.child.own_truths import oracle
from harness.records.folders import GOLDEN
from harness.records.record import RUNGS, read_records
from harness.records.seals import read_sealed, write_sealed

ALIKE = "integers, booleans and names: the same arithmetic on every machine"


def declared(family: str) -> Mapping[str, Sequence[Any]]:
    """What a family's oracle knows, by stack; empty where its lists are written by hand."""
    known: Mapping[str, Sequence[Any]] = getattr(oracle(family), "KNOWN", {})
    return known


def of(finding: str, known: Sequence[Any], when: str = "") -> Any:
    """The declaration of a finding, None without one. when: under that condition alone."""
    fits = (each for each in known if fnmatchcase(finding, each.finding))
    return next((each for each in fits if when in ("", each.when)), None)


# Family and stack of a list, and its entries by finding and condition.
Name = tuple[str, str]
Entries = dict[tuple[str, str], dict[str, Any]]


def entries(folder: Path, judge_of: ModuleType) -> Entries:
    """What one model's records show. Raises BadInput naming a finding that the oracle does not
    declare."""
    records = read_records(folder)
    facts = facts_of(records)
    known, absent = (getattr(judge_of, name)[facts.stack_name] for name in ("KNOWN", "ABSENT"))
    usual = [
        wish
        for wish in read_expected(facts.stack_name)
        if wish.finding not in absent and of(wish.finding, known) is None
    ]
    here, shown = [each for each in known if holds(each.when, facts)], {}
    for item in judge(records, goldens_for(folder), usual, facts).red:
        declaration = None if item.kind == "expected" else of(item.finding, here)
        if declaration is None:
            raise BadInput(
                f"{folder} shows {item.finding} as {item.verdict.value}, which {judge_of.__file__} "
                "does not declare: mend it, or say there why it is so."
            )
        shown[item.finding, declaration.when] = entry(item, declaration)
    return shown


def entry(item: Judged, known: Any) -> dict[str, Any]:
    """One finding as the list has it."""
    words = {name: getattr(known, name) for name in ("type", "says", "reason", "when", "reference")}
    out = {"finding": item.finding, "verdict": item.verdict.value, **words}
    for name in ("optional", "otherwise"):
        if getattr(known, name):
            out[name] = getattr(known, name)
    if known.sized and not (known.otherwise or known.type):
        value, band = size(item, known)
        out |= {"value": value, "band": asdict(band)}
    return {name: value for name, value in out.items() if value != ""}


def size(item: Judged, known: Any) -> tuple[Any, Band]:
    """How large a finding is, and how far that may move."""
    if known.most:
        return known.most, Band(BandKind.AT_MOST, 0.0, known.spread, known.detectable)
    for kind, limit in ((BandKind.ABSOLUTE, known.within), (BandKind.RELATIVE, known.share)):
        if limit:
            return item.now, Band(kind, limit, known.spread, known.detectable)
    return item.now, Band(BandKind.EXACT, 0.0, ALIKE, "")


def write_expected(folders: Sequence[Path], root: Path = GOLDEN) -> list[Path]:
    """Write the list of every family that declares one; folders: of all its models. Raises BadInput
    for a declaration that none of them shows, and for a finding of two sizes."""
    lists, places = defaultdict[Name, Entries](dict), defaultdict[Name, list[Facts]](list)
    for folder in folders:
        facts = facts_of(read_records(folder))
        if not declared(facts.family):
            continue
        name = facts.family, facts.stack_name
        places[name].append(facts)
        for key, each in entries(folder, _judge(facts.family)).items():
            if lists[name].setdefault(key, each) != each:
                raise BadInput(f"{key[0]} has another value in {folder}: {each.get('value')!r}.")
    written = []
    for (family, stack), shown in lists.items():
        judge_of, path = _judge(family), expected_path(stack, root=root, family=family)
        for known in judge_of.KNOWN[stack]:
            if any(of(finding, [known], when) for finding, when in shown):
                continue
            if not known.optional and any(holds(known.when, f) for f in places[family, stack]):
                raise BadInput(
                    f"{judge_of.__file__} declares {known.finding}, which no record shows."
                )
            shown.update(_as_it_was(path, known))
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "schema": GOLDEN_SCHEMA,
            "inherits": True,
            "absent": dict(judge_of.ABSENT[stack]),
            "findings": [shown[key] for key in sorted(shown, key=_by_rung)],
        }
        write_sealed(path, document)
        written.append(path)
    return written


def _judge(family: str) -> ModuleType:
    """The oracle of a family that declares its list."""
    judge_of = oracle(family)
    assert judge_of is not None
    return judge_of


def _as_it_was(path: Path, known: Any) -> Entries:
    """What a list has of a declaration: of a model or a device that was not measured now."""
    listed = read_sealed(path, BY_HAND)["findings"] if path.is_file() else []
    return {
        (each["finding"], each["when"]): each
        for each in listed
        if of(each["finding"], [known], each["when"])
    }


def _by_rung(key: tuple[str, str]) -> tuple[int, str, str]:
    finding, when = key
    return RUNGS.index(finding.split(".", 1)[0]), finding, when


def differs(wish: Expected, known: Any) -> bool:
    """Whether a list's entry says something else than the oracle does."""
    names = ("reason", "reference", "when", "optional", "otherwise", "says")
    told = any(getattr(wish, name) != getattr(known, name) for name in names)
    return told or (wish.type or "") != known.type
