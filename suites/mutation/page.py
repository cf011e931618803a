"""SURVIVORS.md: how many faults were noticed, and each that was not with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.records.files import write_atomically
from suites.mutation.results import HERE, Fault, Summary, committed, reasons, spelled
from suites.mutation.sample import HALVES, Sample, read
from suites.mutation.targets import TARGETS

PAGE = HERE / "SURVIVORS.md"
Modules = Mapping[str, Summary]
# The trials in the order in which they are made, with what each says. Samples before today's stay,
# and what they left is tried again with today's tests.
EARLIER, ONE, OTHER, LEFT = "earlier", "20261130 first", "20261130 second", "left"
FIRST, AGAIN, SECOND, ALL = "first", "again", "second", "all"
WORDS = {
    EARLIER: "an earlier sample, tests being written on the way",
    ONE: "the sample of seed 20261130, first half, with the tests that there were",
    OTHER: "the sample of seed 20261130, second half, after tests for what the first half left",
    LEFT: "of those that none noticed in these three, with the tests of today",
    FIRST: "first half, with the tests that there were, more files of them than before",
    AGAIN: "of those that none noticed of it, with the tests written after it",
    SECOND: "second half, tried for the first time after those tests, and some for a thousand "
    "faults outside this sample, were written",
    ALL: "every fault",
}
# What is tried anew, and of which trials it was left.
LEFT_OF = {LEFT: (EARLIER, ONE, OTHER), AGAIN: (FIRST,)}

# What can be tried now.
TRIALS = (LEFT, FIRST, AGAIN, SECOND, ALL)


def publish() -> None:
    """The page of what is committed."""
    write_atomically(PAGE, page(read(), committed(), reasons()).encode("utf-8"))


def counts(modules: Modules) -> tuple[int, int]:
    """(faults tried, faults noticed)."""
    return sum(m.faults for m in modules.values()), sum(m.killed for m in modules.values())


def sentence(modules: Modules) -> str:
    """How many of the faults that were tried a test noticed."""
    faults, killed = counts(modules)
    share = f": {killed / faults:.1%}" if faults else ""
    return f"{killed:,} of {faults:,} faults were noticed by a test{share}"


def left(trials: Mapping[str, Modules]) -> Iterator[tuple[str, Fault]]:
    """(module, fault) of those that no test notices today, by module and line: what a trial left
    and is tried anew counts as it was then."""
    last = {**trials}
    for again in LEFT_OF:
        if again in trials:
            for before in LEFT_OF[again]:
                last.pop(before, None)
    for name in TARGETS:
        faults = {f for modules in last.values() if name in modules for f in modules[name].left}
        for fault in sorted(faults, key=lambda fault: (fault.line, fault.name)):
            yield name, fault


def page(
    sample: Sample,
    trials: Mapping[str, Modules],
    reasons: Mapping[str, Mapping[str, str]],
) -> str:
    """The sample, the counts, the faults that stay."""
    planted = sum(part.planted for part in sample.modules.values())
    lines = [
        "# The judge's own code, with one fault at a time",
        "",
        "Written by `tox -e mutation` from `sample.json`, `results.json` and `reasons.json`. One "
        f"in {sample.one_in} of the {planted:,} faults in {len(sample.modules)} modules, drawn "
        f"from seed {sample.seed} on {sample.drawn[:10]} before one of them was tried, in two "
        "halves:",
        "",
    ]
    shown = [trial for trial in WORDS if trial in trials]
    lines += [_line(sample, trial, trials) for trial in WORDS if trial in (*HALVES, *shown)]
    lines += [
        "",
        f"| module | faults | {' | '.join(shown)} |",
        f"|---|---:|{'---:|' * len(shown)}",
    ]
    for name, part in sample.modules.items():
        cells = " | ".join(_cell(trials[trial].get(name)) for trial in shown)
        lines.append(f"| `{name}` | {part.planted} | {cells} |")
    lines += ["", "Each as *noticed of tried*. No test notices:"]
    before = ""
    for name, fault in left(trials):
        if name != before:
            lines += ["", f"## `{name}`", ""]
            before = name
        why = reasons.get(name, {}).get(spelled(fault), "no reason is known: a test is wanted")
        lines.append(f"- line {fault.line}, `{fault.before}` → `{fault.after}`: {why}")
    return "\n".join([*lines, ""])


def _line(sample: Sample, trial: str, trials: Mapping[str, Modules]) -> str:
    """What became of a trial; of a half that was tried otherwise than drawn, how much it was."""
    drawn = sum(len(getattr(p, trial)) for p in sample.modules.values()) if trial in HALVES else 0
    if trial not in trials:
        return f"- {WORDS[trial]}: none of the {drawn} that were drawn was tried yet"
    line = f"- {WORDS[trial]}: {sentence(trials[trial])}"
    faults, _ = counts(trials[trial])
    if not drawn or faults == drawn:
        return line
    return (
        f"{line}; {drawn} were drawn (where time ends, the first in the order of the draw are "
        "tried; of a module that has changed since, what the seed draws of it today)"
    )


def _cell(module: Summary | None) -> str:
    return f"{module.killed} of {module.faults}" if module else "none"
