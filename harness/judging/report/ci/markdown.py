"""A verdict as Markdown: its answer first, then what failed, then how much of the rest there is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.judging.report.ci.junit import plain
from harness.judging.report.ci.outcomes import Outcome, State, Verdicts, by_rung
from harness.records.record import Verdict

# Of findings, as many are listed; a comment on a pull request is read on a phone.
MOST = 20
_ACTING = re.compile(r"[\\`*_{}\[\]<>|!#&~@]")
MARKS = {0: "✅", 1: "❌", 3: "⚠️"}


def markdown(verdicts: Verdicts) -> str:
    """The summary, a line for every failed value up to twenty."""
    mark = MARKS.get(verdicts.exit_code, "⚠️")
    lines = [f"### {mark} {cell(verdicts.headline)}", "", f"{cell(verdicts.title)}", ""]
    if verdicts.notes:
        lines += [*(f"- {cell(note)}" for note in verdicts.notes), ""]
    failed = (*verdicts.of(State.FAILED), *verdicts.of(State.LOST))
    if failed:
        lines += ["| rung | finding | verdict | why |", "|---|---|---|---|"]
        lines += [_row(outcome) for outcome in failed[:MOST]]
        if len(failed) > MOST:
            lines.append(f"| | and {len(failed) - MOST} more | | |")
        lines.append("")
    if not verdicts.outcomes:
        return "\n".join(lines)
    lines += [
        "| rung | as it should be | known | failed | missing | not run |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for rung, outcomes in by_rung(verdicts.outcomes).items():
        counts = [
            sum(outcome.state is state for outcome in outcomes)
            for state in (State.PASSED, State.KNOWN, State.FAILED, State.LOST, State.SKIPPED)
        ]
        lines.append(f"| {cell(rung)} | {' | '.join(map(str, counts))} |")
    lines += ["", *_acknowledging(verdicts)]
    return "\n".join(lines).rstrip() + "\n"


def _acknowledging(verdicts: Verdicts) -> Iterator[str]:
    """What a reader who knows of the findings puts into the file of `--accept`."""
    broken = (o for o in verdicts.of(State.LOST) if o.what == Verdict.BROKEN)
    failed = (*verdicts.of(State.FAILED), *broken)
    if failed and verdicts.acceptable:
        yield "<details><summary>To acknowledge</summary>"
        yield ""
        yield "Put these lines into the file that `--accept` names; each stays in the report."
        yield ""
        yield "```text"
        yield from (code(outcome.name) for outcome in failed)
        yield "```"
        yield "</details>"


def _row(outcome: Outcome) -> str:
    words = (cell(outcome.rung), f"`{code(outcome.name)}`", cell(outcome.what), cell(outcome.why))
    return f"| {' | '.join(words)} |"


def cell(text: str) -> str:
    """Text that is neither markup nor the end of a cell."""
    flat = " ".join(plain(text).split())
    return _ACTING.sub(lambda character: f"&#{ord(character[0])};", flat)


def code(text: str) -> str:
    """The same inside a code span of a table."""
    return " ".join(plain(text).split()).replace("`", "'").replace("|", "\\|")
