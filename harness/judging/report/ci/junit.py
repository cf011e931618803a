"""JUnit's XML: a suite a rung, a case a value. What is known passes and says why; what was required
and is missing is an error, what need not be measured is skipped with its reason."""

from __future__ import annotations

from xml.etree import ElementTree

from harness.judging.report.ci.outcomes import Outcome, State, Verdicts, by_rung
from harness.records.printable import shown

BAD = {State.FAILED: "failure", State.LOST: "error"}


def junit(verdicts: Verdicts) -> bytes:
    """The document, UTF-8. Control characters, which XML cannot hold, are shown as text."""
    root = ElementTree.Element("testsuites", _counted(verdicts.outcomes, verdicts.title))
    for rung, outcomes in by_rung(verdicts.outcomes).items():
        suite = ElementTree.SubElement(root, "testsuite", _counted(tuple(outcomes), rung))
        for outcome in outcomes:
            _case(suite, outcome)
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _counted(outcomes: tuple[Outcome, ...], name: str) -> dict[str, str]:
    def count(state: State) -> str:
        return str(sum(outcome.state is state for outcome in outcomes))

    return {
        "name": plain(name),
        "tests": str(len(outcomes)),
        "failures": count(State.FAILED),
        "errors": count(State.LOST),
        "skipped": count(State.SKIPPED),
    }


def _case(suite: ElementTree.Element, outcome: Outcome) -> None:
    names = {"classname": f"harness.{plain(outcome.rung)}", "name": plain(outcome.name)}
    case = ElementTree.SubElement(suite, "testcase", names)
    if outcome.file:
        case.set("file", plain(outcome.file))
        case.set("line", str(outcome.line))
    text = plain(f"{outcome.what}: {outcome.why}" if outcome.why else outcome.what)
    if outcome.state in BAD:
        bad = {"type": plain(outcome.what), "message": text}
        ElementTree.SubElement(case, BAD[outcome.state], bad).text = text
    elif outcome.state is State.SKIPPED:
        ElementTree.SubElement(case, "skipped", {"message": text})
    elif outcome.state is State.KNOWN:
        ElementTree.SubElement(case, "system-out").text = text


def plain(text: str) -> str:
    """A text that XML can hold: neither controls nor lone surrogates."""
    return shown(text).encode("utf-8", "replace").decode("utf-8")
