"""Failed and missing values as GitHub's workflow commands: one line each, shown beside a file.

Source of the form and its escapes: GitHub's documentation of workflow commands.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.judging.report.ci.junit import plain
from harness.judging.report.ci.outcomes import Outcome, State, Verdicts

# A step may have ten errors; the last one says how many more there are.
MOST = 10


def commands(verdicts: Verdicts) -> Iterator[str]:
    """A line for each of them, at most ten."""
    failed = (*verdicts.of(State.FAILED), *verdicts.of(State.LOST))
    shown = failed if len(failed) <= MOST else failed[: MOST - 1]
    yield from map(_line, shown)
    if len(failed) > len(shown):
        rest = len(failed) - len(shown)
        yield f"::error title=harness::{_data(f'and {rest} more; see the report')}"


def _line(outcome: Outcome) -> str:
    place = [f"file={_property(outcome.file)}", f"line={outcome.line}"] if outcome.file else []
    properties = ",".join([*place, f"title={_property(outcome.name)}"])
    text = f"{outcome.what}: {outcome.why}" if outcome.why else outcome.what
    return f"::error {properties}::{_data(text)}"


def _data(text: str) -> str:
    return plain(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
