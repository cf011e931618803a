"""A bisect's answer: sentences for the terminal, one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from packaging.version import Version

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


def headline(package: str, finding: str, found: Mapping[str, Any]) -> str:
    """One sentence per finding: which release, how sure. Releases are named oldest first."""
    parts = []
    for edge in found["boundaries"]:
        old, new = sorted((edge["before"], edge["after"]), key=Version)
        name = edge.get("package", package)
        if edge["skipped"]:
            hidden = ", ".join(edge["skipped"])
            parts.append(f"between {name} {old} and {new} (undecided between them: {hidden})")
        elif not found["by_verdict"]:
            parts.append(f"in {name} {new} ({old} still has the old value)")
        else:
            # The newer one of the two is what a release changed.
            broke = (edge["new"] == "BAD") == (new == edge["after"])
            verb = "broke" if broke else "became right"
            parts.append(f"{verb} in {name} {new} ({old} is {'right' if broke else 'wrong'})")
    moved = (
        ""
        if found["by_verdict"] and not any(b["skipped"] for b in found["boundaries"])
        else ("moved ")
    )
    return f"{finding} {moved}{'; '.join(parts)}."


def sureness(found: Mapping[str, Any]) -> str:
    """What the answer rests on."""
    count = len(found["evaluated"])
    skips = sum(o["answer"] == "SKIP" for o in found["evaluated"].values())
    undecided = f" {skips} of them could not be decided." if skips else ""
    if found.get("repeated"):
        undecided += " Both sides of every change were measured twice and answered alike."
    if not found["assumed"]:
        return f"Every release of the range was evaluated ({count}).{undecided}"
    spans = ", ".join(a if a == b else f"{a} to {b}" for a, b in found["assumed"])
    return (
        f"{count} releases were evaluated; the others are assumed to be like the evaluated ones "
        f"around them: {spans}.{undecided}"
    )


def cause(package: str, edge: Mapping[str, Any]) -> str:
    """Whether the package itself or what moved with it made the difference."""
    if not edge["companions"]:
        return f"Only {package} moved between the two."
    named = [f"{n} {a or 'absent'} → {b or 'absent'}" for n, (a, b) in edge["companions"].items()]
    more = f" and {len(named) - MOST_COMPANIONS} more" if len(named) > MOST_COMPANIONS else ""
    moved = f"With it moved {', '.join(named[:MOST_COMPANIONS])}{more}"
    if edge["cause"] == "package":
        return f"{moved}; with those alone the finding does not move, so it is {package} itself."
    if edge["cause"] == "companions":
        return f"{moved}; those alone make the finding move, so it is not {package} itself."
    why = str(edge["cause"]).rstrip(". ")
    return f"{moved}; whether those alone would do it is {why}."


def upstream(package: str, finding: str, edge: Mapping[str, Any]) -> str:
    """A line to paste into an upstream issue."""
    old, new = (limited(str(_shown(s)), 120) for s in edge["shows"])
    return (
        f"{package} {edge['before']} → {edge['after']} changes `{finding}` for Qwen2-VL: "
        f"`{old}` → `{new}`."
    )


def _shown(state: Mapping[str, Any]) -> object:
    """The value or the error; of a verdict the value that was judged, and the verdict."""
    if state["kind"] != "value":
        return state["reason"]
    return f"{state['reason']} ({state['value']})" if state["reason"] else state["value"]


def blamed(finding: str, blame: Mapping[str, Any] | None) -> list[str]:
    """Which packages are responsible, where that was asked."""
    if blame is None:
        return []
    if blame["problem"]:
        return [f"{finding}: {blame['problem']}."]
    causes = " and, by itself, ".join(" with ".join(cause) for cause in blame["causes"])
    how = "is an interaction of" if blame["interaction"] else "comes with"
    lines = [f"{finding} {how} {causes}."]
    lines += [
        f"{taken} shows it too, only because {cause} has to move with it."
        for taken, cause in blame["through"].items()
    ]
    if blame["undecided"]:
        named = [f"{s} ({limited(why.rstrip('.'), 200)})" for s, why in blame["undecided"].items()]
        lines.append(f"Not tried, so another cause may hide there: {'; '.join(named)}.")
    return lines


def _lines(package: str, finding: str, found: Mapping[str, Any]) -> list[str]:
    """What is said of one finding."""
    blame = blamed(finding, found.get("blame"))
    problem = [found["problem"]] if found.get("problem") else []
    if not found["boundaries"]:
        return [*blame, *problem]
    lines = [headline(package, finding, found), *blame]
    lines += [cause(edge.get("package", package), edge) for edge in found["boundaries"]]
    lines += [*problem, sureness(found)]
    if not found["monotonic"]:
        lines.append("The history is not monotonic: it changed and changed back.")
    return lines


def named(findings: Sequence[str]) -> str:
    """The first few by name, the others by number."""
    more = f" and {len(findings) - MOST_FINDINGS} more" if len(findings) > MOST_FINDINGS else ""
    return ", ".join(findings[:MOST_FINDINGS]) + more


def sentences(result: Mapping[str, Any]) -> list[str]:
    """The terminal's lines; findings of which the same is to be said share theirs."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for finding, found in result["findings"].items():
        package = str(found.get("package", result["package"]))
        said = tuple(x.replace(finding, ITS_NAME) for x in _lines(package, finding, found))
        alike.setdefault(said, []).append(finding)
    lines = [
        line.replace(ITS_NAME, named(findings)) for said, findings in alike.items() for line in said
    ]
    span = f"{len(result['releases'])} releases in the range, " if result["releases"] else ""
    extra = result["for_companions"]
    more = f" ({extra} of them only for what moves with a release)" if extra else ""
    lines.append(
        f"{span}{result['environments']} environments built{more}, {result['seconds']:.0f} s."
    )
    return lines


def _evidence(package: str, finding: str, edge: Mapping[str, Any]) -> Html:
    old, new = (limited(str(_shown(s)), 3000) for s in edge["shows"])
    gone, added = difference(old, new)
    companions: Child = None
    if edge["companions"]:
        companions = rows(
            "What moved with it",
            ("Package", "Before", "After"),
            [
                (tag("code", n), a or "absent", b or "absent")
                for n, (a, b) in edge["companions"].items()
            ],
        )
    return tag(
        "article",
        tag("h3", f"{package} {edge['before']} → {edge['after']}"),
        tag("p", tag("code", finding)),
        tag(
            "div",
            tag("div", tag("h4", f"{edge['before']}"), tag("div", gone), class_="text"),
            tag("div", tag("h4", f"{edge['after']}"), tag("div", added), class_="text"),
            class_="pair",
        ),
        tag("p", cause(package, edge)),
        companions,
        tag("p", "To paste into an upstream issue:"),
        tag("pre", upstream(package, finding, edge), class_="command", tabindex="0"),
        class_="card",
    )


def page(result: Mapping[str, Any]) -> str:
    """The whole page."""
    package = str(result["package"])
    findings: Mapping[str, Any] = result["findings"]
    first = sentences(result)
    title = f"Which release of {package}: {named(list(findings))}"
    top = join(
        [
            tag(
                "p",
                f"Bisect · {package} {result['good']} to {result['bad']} · base {result['base']}",
                class_="eyebrow",
            ),
            tag("h1", first[0] if len(findings) == 1 else f"{len(findings)} findings bisected"),
        ]
    )
    answer = [tag("p", line) for line in sentences(result)]
    evidence = [
        _evidence(str(edge.get("package", found.get("package", package))), finding, edge)
        for finding, found in findings.items()
        for edge in found["boundaries"]
    ]
    tables = [
        rows(
            f"What was evaluated for {finding}",
            ("Release", "Answer", "Shows"),
            [
                (tag("code", v), o["answer"], limited(o["shows"], 200))
                for v, o in found["evaluated"].items()
            ],
        )
        for finding, found in findings.items()
    ]
    return document(
        title,
        top,
        CONTENTS,
        section("answer", "Answer", *answer),
        section("evidence", "Evidence", *evidence),
        section("evaluated", "Releases evaluated", *tables),
        section(
            "reproduce",
            "How to reproduce",
            tag("p", "In a clone of the harness; the same lies beside this page as reproduce.sh."),
            tag("pre", script(result), class_="command", tabindex="0"),
        ),
    )
