"""The findings that a committed stack must show: golden/expected/<stack>.json.

What a variant of the recipe shows otherwise is in <stack>@<recipe>.json, and what another family
does in <family>/<stack>.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInput, Lack
from harness.judging.goldens.golden import BY_HAND, GOLDEN_SCHEMA, MEND, Band
from harness.recipe.published import REFERENCE, VARIANTS
from harness.records.folders import GOLDEN
from harness.records.record import Verdict
from harness.records.seals import read_sealed
from harness.records.typed import Json, build
from harness.records.unchanged import Kept
from harness.records.upgrade import FIRST_FAMILY

# When a finding may be expected (scope.holds).
CONDITIONS = frozenset(
    {"always", "cpu", "cuda", "stand-in", "other-model", "real-vocabulary", "catalogue", "own-data"}
)
# Rungs of the recipe's calls and of what is installed.
MODEL_FREE = frozenset({"environment", "interface"})


@dataclass(frozen=True)
class Expected:
    """A finding that a committed stack must show. type: the exception's, for BROKEN.
    lacks: what it may be lacking, blocked_by: the finding that it waits for, for NOT_RUN. says: a
    regular expression that the library's own words must match, for both: another error of the same
    type is another finding.

    when: the conditions under which it is expected, joined by `+`. optional: near its band, so
    that it may as well not occur. value and band: how large the finding is and how far it may
    move; one that grows is another finding. No band: its size says nothing
    (uninitialised memory, a digest of pixels that depends on the CPU's vector kernels).
    otherwise: the known fault by whose arithmetic the oracle works the value out, exactly, of
    whatever model is at hand.
    """

    finding: str
    verdict: str
    reason: str
    type: str | None = None
    says: str = ""
    lacks: tuple[Lack, ...] = ()
    blocked_by: str = ""
    when: str = "always"
    reference: str = ""
    value: Json = None
    band: Band | None = None
    optional: bool = False
    otherwise: str = ""


def expected_path(
    stack: str,
    recipe: str = REFERENCE.name,
    root: Path = GOLDEN,
    family: str = FIRST_FAMILY,
) -> Path:
    """Address of a stack's expected findings, or of what a variant of the recipe, or another family
    than its own, changes about them; a recipe without a name shows what the published one shows."""
    if family != FIRST_FAMILY:
        return root / "expected" / family / f"{stack}.json"
    named = recipe in VARIANTS and recipe != REFERENCE.name
    name = f"{stack}@{recipe}" if named else stack
    return root / "expected" / f"{name}.json"


def read_expected(
    stack: str,
    root: Path = GOLDEN,
    recipe: str = REFERENCE.name,
    family: str = FIRST_FAMILY,
) -> tuple[Expected, ...]:
    """The expected findings of a stack under a recipe, by its name, on a family; empty where the
    stack has no file (not a committed one).

    The file of a variant or of another family lists the findings that it shows otherwise, in place
    of those of the same id, and as `absent` those that it does not show, with the reason. Another
    family that does not say `inherits` shares the rungs that look at no model only. Raises BadInput
    naming the file where it is malformed.
    """
    path = expected_path(stack, root=root)
    if not path.is_file():
        return ()
    _, usual = _LISTS(path)
    if family != FIRST_FAMILY:
        own = expected_path(stack, root=root, family=family)
        if not (own.is_file() and _LISTS(own)[0].get("inherits")):
            usual = tuple(w for w in usual if w.finding.split(".", 1)[0] in MODEL_FREE)
    else:
        own = expected_path(stack, recipe, root)
    return usual if own == path or not own.is_file() else _changed(usual, own, path)


def _changed(usual: tuple[Expected, ...], own: Path, path: Path) -> tuple[Expected, ...]:
    """The usual findings as another list has them. path: the usual ones'."""
    raw, changed = _LISTS(own)
    absent = raw.get("absent")
    if not isinstance(absent, dict) or not all(isinstance(why, str) for why in absent.values()):
        raise BadInput(f"{own} does not say which findings are absent, and why; {MEND}.")
    unknown = sorted(set(absent) - {wish.finding for wish in usual})
    if unknown:
        raise BadInput(f"{own} says that {unknown[0]} is absent, which {path.name} does not list.")
    others = set(absent) | {wish.finding for wish in changed}
    return (*(wish for wish in usual if wish.finding not in others), *changed)


def _list(path: Path) -> tuple[Mapping[str, Any], tuple[Expected, ...]]:
    """(what a file says, the findings in it)."""
    raw = read_sealed(path, BY_HAND)
    if raw.get("schema") != GOLDEN_SCHEMA:
        raise BadInput(f"{path} has another schema than {GOLDEN_SCHEMA}; {MEND}.")
    if not isinstance(raw.get("findings"), list):
        raise BadInput(f"{path} has no list of findings; {MEND}.")
    return raw, tuple(_expected(item, path) for item in raw["findings"])


def _expected(raw: object, path: Path) -> Expected:
    try:
        wish = build(Expected, raw)
        Verdict(wish.verdict)
        re.compile(wish.says)
        unknown = set(wish.when.split("+")) - CONDITIONS
        if unknown:
            raise ValueError(f"{unknown.pop()!r} is no condition")
        return wish
    except (ValueError, re.error) as error:
        raise BadInput(f"{path} holds an incomplete finding ({error}); {MEND}.") from error


# Every judgement asks for its stack's.
_LISTS = Kept(_list)
