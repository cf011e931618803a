"""What a finding of an audit means and what to change: one TOML file per rung, entries by name.

The sentences may quote the check: {value}, {truth}, {case}, {evidence}, {setting}.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from harness.errors import BadInput, HarnessError
from harness.records.audit import Check
from harness.records.typed import Json, build

FOLDER = Path(__file__).with_name("advice")


class Severity(StrEnum):
    """WRONG turns the audit red; a QUESTION is the user's to answer."""

    WRONG = "wrong"
    QUESTION = "question"


@dataclass(frozen=True)
class Advice:
    """title: a headline of a few words. fine: the same when it holds. effect: what it does to the
    training. change: what to do. explains: metric ids that follow from this one. All but the
    last are templates."""

    title: str
    fine: str
    effect: str
    change: str
    severity: Severity = Severity.WRONG
    explains: tuple[str, ...] = ()


_WHOLE = Advice(
    title="This rung raised an error",
    fine="This rung was measured",
    effect="Nothing of this rung was judged.",
    change="Mend the error, or report it where it is the harness's own.",
)


@cache
def filed(rung: str) -> Mapping[str, Advice]:
    """The advice of a rung by name. Raises HarnessError naming a file that is not whole."""
    path = FOLDER / f"{rung}.toml"
    if not path.is_file():
        return {}
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
        return {name: build(Advice, entry) for name, entry in raw.items()}
    except (tomllib.TOMLDecodeError, ValueError, BadInput) as error:
        raise HarnessError(f"{path} is no advice ({error}).") from error


def advice_for(check: Check) -> Advice:
    """The advice of a check; of a rung that raised as a whole, the common one.

    Raises HarnessError naming a check without advice: a finding that cannot say what to change.
    """
    if check.name == "probe":
        return _WHOLE
    advice = filed(check.rung).get(check.name)
    if advice is None:
        raise HarnessError(f"There is no advice for {check.metric_id} in {FOLDER}.")
    return advice


def worded(template: str, check: Check) -> str:
    """A template with the check's own numbers."""
    return template.format(
        value=shown(check.value, check.unit),
        truth=shown(check.truth, check.unit),
        case=check.case or "",
        evidence=", ".join(check.evidence),
        setting=check.setting,
    )


def shown(value: Json, unit: str) -> str:
    """A value for people: four significant digits, thousands apart, shares as percent."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{100 * value:.3g} %" if unit == "share" else f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(shown(item, unit) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(item, unit)}" for name, item in value.items())
    return "nothing" if value is None else str(value)
