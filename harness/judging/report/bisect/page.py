"""A bisect's answer: sentences for the terminal, one HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from packaging.version import Version

from harness.judging.bisect.answers import (
    Bisection,
    Cause,
    Edge,
    FindingAnswer,
    Responsible,
    Shown,
)
from harness.judging.bisect.question import Kind
from harness.judging.bisect.search import Answer
from harness.judging.report.bisect.reproduce import script
from harness.judging.report.html.document import document
from harness.judging.report.html.markup import Child, Html, join, limited, rows, tag
from harness.judging.report.html.sections import section
from harness.judging.report.html.textdiff import difference

CONTENTS = (
    ("answer", "Answer"),
    ("evidence", "Evidence"),
    ("evaluated", "Releases"),
    ("reproduce", "Reproduce"),
)
# A pasted line names this many companions; the page names all.
MOST_COMPANIONS = 6
# Findings with one answer: so many are named in its sentences. All stand in the document.
MOST_FINDINGS = 4
# Stands for a finding's name while answers are compared.
ITS_NAME = "\0"


def headline(finding: str, answer: FindingAnswer) -> str:
    """One sentence per finding: which release, how sure. Releases are named oldest first."""
    parts = []
    for edge in answer.boundaries:
        old, new = sorted((edge.before, edge.after), key=Version)
        if edge.skipped:
            hidden = ", ".join(edge.skipped)
            parts.append(
                f"between {edge.package} {old} and {new} (undecided between them: {hidden})"
            )
        elif not answer.by_verdict:
            parts.append(f"in {edge.package} {new} ({old} still has the old value)")
        else:
            # The newer one of the two is what a release changed.
            broke = (edge.new is Answer.BAD) == (new == edge.after)
            verb = "broke" if broke else "became right"
            parts.append(
                f"{verb} in {edge.package} {new} ({old} is {'right' if broke else 'wrong'})"
            )
    is_exact_verdict = answer.by_verdict and not any(e.skipped for e in answer.boundaries)
    moved = "" if is_exact_verdict else "moved "
    return f"{finding} {moved}{'; '.join(parts)}."


def sureness(answer: FindingAnswer) -> str:
    """What the answer rests on."""
    count = len(answer.evaluated)
    skips = sum(outcome.answer is Answer.SKIP for outcome in answer.evaluated.values())
    undecided = f" {skips} of them could not be decided." if skips else ""
    if answer.repeated:
        undecided += " Both sides of every change were measured twice and answered alike."
    if not answer.assumed:
        return f"Every release of the range was evaluated ({count}).{undecided}"
    spans = ", ".join(a if a == b else f"{a} to {b}" for a, b in answer.assumed)
    return (
        f"{count} releases were evaluated; the others are assumed to be like the evaluated ones "
        f"around them: {spans}.{undecided}"
    )


def cause(edge: Edge) -> str:
    """Whether the package itself or what moved with it made the difference."""
    package = edge.package
    if not edge.companions:
        return f"Only {package} moved between the two."
    names = [f"{n} {a or 'absent'} → {b or 'absent'}" for n, (a, b) in edge.companions.items()]
    more = f" and {len(names) - MOST_COMPANIONS} more" if len(names) > MOST_COMPANIONS else ""
    moved = f"With it moved {', '.join(names[:MOST_COMPANIONS])}{more}"
    if edge.cause is Cause.PACKAGE:
        return f"{moved}; with those alone the finding does not move, so it is {package} itself."
    if edge.cause is Cause.COMPANIONS:
        return f"{moved}; those alone make the finding move, so it is not {package} itself."
    why = edge.cause_note.rstrip(". ")
    return f"{moved}; whether those alone would do it is not established: {why}."


def upstream(finding: str, edge: Edge) -> str:
    """A line to paste into an upstream issue."""
    old, new = (limited(str(_shown(state)), 120) for state in edge.shows)
    return (
        f"{edge.package} {edge.before} → {edge.after} changes `{finding}` in the QLoRA training "
        "of a vision-language model: "
        f"`{old}` → `{new}`."
    )


def _shown(state: Shown) -> object:
    """The value or the error; of a verdict the value that was judged, and the verdict."""
    if state.kind is not Kind.VALUE:
        return state.reason
    return f"{state.reason} ({state.value})" if state.reason else state.value


def blamed(finding: str, blame: Responsible | None) -> list[str]:
    """Which packages are responsible, where that was asked."""
    if blame is None:
        return []
    if blame.problem:
        return [f"{finding}: {blame.problem}."]
    causes = " and, by itself, ".join(" with ".join(packages) for packages in blame.causes)
    how = "is an interaction of" if blame.interaction else "comes with"
    lines = [f"{finding} {how} {causes}."]
    lines += [
        f"{taken} shows it too, only because {package} has to move with it."
        for taken, package in blame.through.items()
    ]
    if blame.undecided:
        untried = [f"{s} ({limited(why.rstrip('.'), 200)})" for s, why in blame.undecided.items()]
        lines.append(f"Not tried, so another cause may hide there: {'; '.join(untried)}.")
    return lines


def _lines(finding: str, answer: FindingAnswer) -> list[str]:
    """What is said of one finding."""
    blame = blamed(finding, answer.blame)
    problem = [answer.problem] if answer.problem else []
    if not answer.boundaries:
        return [*blame, *problem]
    lines = [headline(finding, answer), *blame]
    lines += [cause(edge) for edge in answer.boundaries]
    lines += [*problem, sureness(answer)]
    if not answer.monotonic:
        lines.append("The history is not monotonic: it changed and changed back.")
    return lines


def named(findings: Sequence[str]) -> str:
    """The first few by name, the others by number."""
    more = f" and {len(findings) - MOST_FINDINGS} more" if len(findings) > MOST_FINDINGS else ""
    return ", ".join(findings[:MOST_FINDINGS]) + more


def sentences(bisection: Bisection) -> list[str]:
    """The terminal's lines; findings of which the same is to be said share theirs."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for finding, answer in bisection.findings.items():
        nameless = tuple(line.replace(finding, ITS_NAME) for line in _lines(finding, answer))
        alike.setdefault(nameless, []).append(finding)
    lines = [
        line.replace(ITS_NAME, named(findings))
        for nameless, findings in alike.items()
        for line in nameless
    ]
    count = len(bisection.releases)
    span = f"{count} releases in the range, " if count else ""
    extra = bisection.for_companions
    more = f" ({extra} of them only for what moves with a release)" if extra else ""
    lines.append(
        f"{span}{bisection.environments} environments built{more}, {bisection.seconds:.0f} s."
    )
    return lines


def _evidence(finding: str, edge: Edge) -> Html:
    old, new = (limited(str(_shown(state)), 3000) for state in edge.shows)
    gone, added = difference(old, new)
    companions: Child = None
    if edge.companions:
        companions = rows(
            "What moved with it",
            ("Package", "Before", "After"),
            [
                (tag("code", n), a or "absent", b or "absent")
                for n, (a, b) in edge.companions.items()
            ],
        )
    return tag(
        "article",
        tag("h3", f"{edge.package} {edge.before} → {edge.after}"),
        tag("p", tag("code", finding)),
        tag(
            "div",
            tag("div", tag("h4", edge.before), tag("div", gone), class_="text"),
            tag("div", tag("h4", edge.after), tag("div", added), class_="text"),
            class_="pair",
        ),
        tag("p", cause(edge)),
        companions,
        tag("p", "To paste into an upstream issue:"),
        tag("pre", upstream(finding, edge), class_="command", tabindex="0"),
        class_="card",
    )


def page(bisection: Bisection) -> str:
    """The whole page."""
    b, findings = bisection, bisection.findings
    lines = sentences(bisection)
    title = f"Which release of {b.package}: {named(list(findings))}"
    top = join(
        [
            tag("p", f"Bisect · {b.package} {b.good} to {b.bad} · base {b.base}", class_="eyebrow"),
            tag("h1", lines[0] if len(findings) == 1 else f"{len(findings)} findings bisected"),
        ]
    )
    evidence = [
        _evidence(finding, edge)
        for finding, answer in findings.items()
        for edge in answer.boundaries
    ]
    tables = [
        rows(
            f"What was evaluated for {finding}",
            ("Release", "Answer", "Shows"),
            [
                (tag("code", version), outcome.answer, limited(outcome.reason, 200))
                for version, outcome in answer.evaluated.items()
            ],
        )
        for finding, answer in findings.items()
    ]
    return document(
        title,
        top,
        CONTENTS,
        section("answer", "Answer", *[tag("p", line) for line in lines]),
        section("evidence", "Evidence", *evidence),
        section("evaluated", "Releases evaluated", *tables),
        section(
            "reproduce",
            "How to reproduce",
            tag("p", "In a clone of the harness; the same lies beside this page as reproduce.sh."),
            tag("pre", script(bisection), class_="command", tabindex="0"),
        ),
    )
