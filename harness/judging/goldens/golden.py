"""Address, read and write golden/: truths, observed numbers and expected findings.

`golden/truth/<rung>/<family>/<metric>.json` comes from independent code or hand calculation (that
of `any` holds for every family which has none of its own),
`golden/observed/<device key>/<rung>/<family>/<metric>.json` holds regression numbers, and
`golden/expected/<stack>.json` the findings that a committed stack must show; what a variant of the
recipe shows otherwise is in `<stack>@<recipe>.json`. A golden that holds for other recipes than the
published one has their names in its file's name, too.
`golden/lane/<device key>/<case>-<tokens>.json` keeps what the CUDA lane measured (measuring/lane),
raw steps included: evidence for the table beside it, read by report/lane and never judged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.judging.goldens.kinds import Kinds, read_kinds
from harness.recipe.published import REFERENCE
from harness.records.files import read_object, write_json
from harness.records.folders import GOLDEN
from harness.records.seals import sealed, unsealed
from harness.records.sets import finish_set, write_set
from harness.records.typed import Json, Rules, build, numbers_of
from harness.records.unchanged import Kept

GOLDEN_SCHEMA = 1
MEND = "restore it from git"
# Of what people write themselves.
BY_HAND = f"{MEND}, or where you edited it yourself run `python -m suites.write_seals`"
# In place of a family's name: a truth of every family that has none of its own.
ANY_FAMILY = "any"
# A golden without its band would pass for an exact one.
_WHOLE = Rules(frozenset({"band", "kind"}))


class BandKind(StrEnum):
    """exact: equal JSON. absolute: |now - golden| <= limit. relative: the same over |golden|.

    at_most / at_least: a bound, for metrics with a direction.
    """

    EXACT = "exact"
    ABSOLUTE = "absolute"
    RELATIVE = "relative"
    AT_MOST = "at_most"
    AT_LEAST = "at_least"


@dataclass(frozen=True)
class Band:
    """What is allowed, and why. detectable: smallest effect that leaves the band."""

    kind: BandKind = BandKind.EXACT
    limit: float = 0.0
    reason: str = "both sides compute the same arithmetic"
    detectable: str = ""


@dataclass(frozen=True)
class Golden:
    """One metric's expectations, by case (the key is "" for a metric without cases).

    model: which model source it holds for: `any`, `stand-in` (its family's), or `real-vocabulary`.
    required: whether its absence in the records counts as a missing measurement.
    stack: observed goldens hold for one stack; truths for every stack ("").
    data: the source whose samples it is worked out for, or the digest of a user's own; none is
    any. kind `none`: there is no truth for these samples, `reason` says why.
    recipes: those that it holds for, name and digest; none named is any, but for an observed one,
    whose provenance has the digest of its own. between: of an observed one, by case how far another
    kind of CPU may be from it, which arithmetic gives (kinds.py) when all are read; in no file.
    otherwise: by the name of a known fault, what it makes of a case, None where no oracle says; in
    no file either.
    """

    rung: str
    family: str
    metric: str
    kind: str
    origin: str
    reason: str
    cases: Mapping[str, Json]
    band: Band = field(default_factory=Band)
    model: str = "any"
    required: bool = True
    stack: str = ""
    device_key: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    recipes: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    data: str = ""
    between: Mapping[str, Band] = field(default_factory=dict)
    otherwise: Mapping[str, Mapping[str, Json]] | None = None

    @property
    def digests(self) -> frozenset[str]:
        """Digests of the recipes that it holds for; none is any."""
        own = self.provenance.get("recipe") if self.kind == "observed" else None
        return frozenset(self.recipes.values()) or frozenset({str(own)} if own else ())


def _tagged(metric: str, recipes: Iterable[str], model: str = "any") -> str:
    """A file's name: the published recipe and any model need no word."""
    names = tuple(recipes)
    words = [metric, *([] if model == "any" else [model])]
    if names and REFERENCE.name not in names:
        words.append("+".join(names))
    return f"{'@'.join(words)}.json"


def truth_path(
    rung: str,
    family: str,
    metric: str,
    model: str = "any",
    root: Path = GOLDEN,
    recipes: Iterable[str] = (),
) -> Path:
    """Address of a truth: `<metric>.json`, with `@<model>` where it needs a model and `@<recipe>`
    where it does not hold for the published recipe."""
    return root / "truth" / rung / family / _tagged(metric, recipes, model)


def observed_path(
    device_key: str,
    stack: str,
    rung: str,
    family: str,
    metric: str,
    root: Path = GOLDEN,
    recipes: Iterable[str] = (),
) -> Path:
    """Address of an observed number: by device, stack, rung and family, and by recipe where it is
    not the published one. Raises BadInput for a part that is no plain name: a stack may be called
    by paths.
    """
    refuse_names(device_key, stack, rung, family, metric)
    folder = root / "observed" / device_key / stack / rung / family
    return folder / _tagged(metric, recipes)


def refuse_names(*names: str) -> None:
    """Raises BadInput for the first that would not be the name of one file or folder."""
    for name in names:
        if not name or name.startswith(".") or re.search(r"[/\\\0]", name):
            raise BadInput(
                f"A golden is kept under the name {name!r}, which is none of a file; "
                "measure a stack that is named without paths."
            )


def write_golden(golden: Golden, path: Path) -> None:
    """Write one golden file, atomically."""
    write_json(path, golden_to_json(golden))


def golden_to_json(golden: Golden) -> dict[str, Any]:
    """What a golden's file holds, its seal too."""
    raw = asdict(golden)
    for name in ("path", "between", "otherwise"):
        raw.pop(name)
    for name in ("recipes", "data"):
        if not raw[name]:
            raw.pop(name)
    return sealed({"schema": GOLDEN_SCHEMA, **raw})


def write_goldens(goldens: Mapping[Path, Golden], root: Path = GOLDEN) -> None:
    """Write several golden files as one set: a kill at any moment leaves all or none of them.

    The caller is alone with the folder (sets.alone_with). Raises BadInput for a file outside it.
    """
    write_set(root, {os.path.relpath(p, root): golden_to_json(g) for p, g in goldens.items()})


def read_golden(path: Path) -> Golden:
    """Read one golden file. Raises BadInput naming it where it is malformed, Damaged where it is
    not what its seal says or has none.
    """
    return _GOLDENS(path)


def _golden(path: Path) -> Golden:
    raw = unsealed(read_object(path, MEND), path, MEND)
    if raw.pop("schema", None) != GOLDEN_SCHEMA:
        raise BadInput(f"{path} is no golden of schema {GOLDEN_SCHEMA}; {MEND}.")
    try:
        golden = build(Golden, {**raw, "path": str(path)}, _WHOLE)
        if golden.band.kind is not BandKind.EXACT:
            for case, value in golden.cases.items():
                if numbers_of(value) is None:
                    raise ValueError(f"its band needs numbers, {case or 'its value'} is none")
        return golden
    except ValueError as error:
        raise BadInput(f"{path} is not a complete golden ({error}); {MEND}.") from error


# A judgement reads every golden, and a command, or a test-suite, judges often.
_GOLDENS = Kept(_golden)
_KINDS = Kept(lambda path: read_kinds(path, BY_HAND))


def read_goldens(root: Path = GOLDEN) -> tuple[Golden, ...]:
    """Every truth and observed golden, sorted by path."""
    finish_set(root)
    goldens = tuple(_GOLDENS(path) for path in _files(root))
    arithmetic = root / "bands" / "kinds.json"
    if not arithmetic.is_file():
        return goldens
    kinds = _KINDS(arithmetic)
    return tuple(
        replace(golden, between=_between(golden, kinds)) if golden.kind == "observed" else golden
        for golden in goldens
    )


def _files(root: Path) -> list[str]:
    """Sorted as paths are; made into one each, which takes as long as to ask whether it changed,
    only where it is read."""
    split = [
        (*folder.split(os.sep), name)
        for kind in ("truth", "observed")
        for folder, folders, files in os.walk(root / kind)
        for name in (*folders, *files)
        if name.endswith(".json")
    ]
    return [os.sep.join(parts) for parts in sorted(split)]


def _between(golden: Golden, kinds: Kinds) -> Mapping[str, Band]:
    if (golden.family, golden.model) != (kinds.family, kinds.model):
        return {}
    limits = kinds.limits(f"{golden.rung}.{golden.metric}", golden.cases)
    return {
        case: Band(BandKind.ABSOLUTE, limit, reason, f"{limit:.3g}")
        for case, (limit, reason) in limits.items()
    }
