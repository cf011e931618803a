"""golden/power/MUTANTS.md: of mutants drawn at random, how many the judge sees, and where."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from harness.judging.report.ci.markdown import cell, code
from harness.records.folders import GOLDEN
from suites.mutants import record
from suites.mutants.record import ACTS, CRASHED, EQUIVALENT, HUNG, NOT_PLANTABLE, Mutants, Tried
from suites.mutants.seen import AFTER, EARLIER, ONLY_COMPARED, SEEN, seen
from suites.mutants.stages import STAGES
from suites.mutants.why import WHY

PAGE = GOLDEN / "power" / "MUTANTS.md"
# Of a normal distribution, 95 % between it and its opposite.
Z = 1.959963984540054
TITLES = {
    "first": "First draw: its misses were told to who widened the probes",
    "second": "Second draw: afresh, judged by the code after that",
    "third": "Third draw: afresh, judged by the code after the second's misses were told",
}
TABLES = {"phase": "phase", "library": "library", "first moved": "stage", "operator": "operator"}
# Stages that are the adapter's own numbers.
TRAINED = {"first step", "later steps", "saved"}


def publish() -> None:
    """Write the page from the record."""
    PAGE.write_text(text(record.read()), encoding="utf-8")


def text(mutants: Mutants) -> str:
    """The whole page."""
    return "\n".join(_lines(mutants)) + "\n"


def wilson(part: int, of: int) -> tuple[float, float]:
    """95 % interval of a share, by Wilson's score. Raises ValueError where there is none."""
    if not 0 <= part <= of or not of:
        raise ValueError(f"{part} of {of} is no share")
    share, square = part / of, Z * Z / of
    centre = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / of + square / (4 * of)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)


def share(part: int, of: int) -> str:
    """`3 of 4 (75 %, 30 to 95)`."""
    if not of:
        return "0 of 0"
    low, high = wilson(part, of)
    return f"{part} of {of} ({100 * part / of:.0f} %, {100 * low:.0f} to {100 * high:.0f})"


def _lines(mutants: Mutants) -> Iterator[str]:
    yield "# The judge judged without a chooser: mutants drawn at random"
    yield ""
    yield from _summary(mutants)
    yield ""
    yield from _how(mutants)
    for half in mutants.halves:
        tried = [one for one in mutants.tried if one.half == half]
        yield from ("", f"## {TITLES[half]}", "")
        yield from _half(mutants, half, tried)


def _summary(mutants: Mutants) -> Iterator[str]:
    yield (
        "| | judged by | drawn | act silently | red at their own rung or an earlier one | "
        "red at some rung | red, or different in a comparison | "
        "of those that change the adapter: red at their own rung or an earlier one |"
    )
    yield "|---" * 8 + "|"
    for half, facts in mutants.halves.items():
        tried = [one for one in mutants.tried if one.half == half]
        acting = [one for one in tried if one.outcome == ACTS]
        adapter = _shares([one for one in acting if TRAINED & set(one.moved)])
        figures = " | ".join([*(figure for _, figure in _shares(acting)), next(adapter)[1]])
        yield f"| {half} draw | {facts.code} | {len(tried)} | {len(acting)} | {figures} |"


HOW = """\
*Population*: every change that one of the operators (suites/mutants/operators.py) makes of a line
inside a function which a short training of the recipe and the generation after it execute. Of torch
its optimizers, data loading, checkpointing, modules and functionals; lines run by an import, the
rest of torch, tokenizers, Pillow, torchvision, datasets, safetensors and Jinja's templates are left
out, as are strings, defaults and decorators.

*Drawn*: a phase and a library by their shares, a function, an executed line of it, an operator, a
change, each uniformly, from a seed committed before the first was tried. `work` are lines run while
batches, steps and texts are made, `set-up` those run only while processor, model and trainer are,
or the adapter is saved and loaded.

*Acts*: a training of three steps and the texts after it end without an error, and some stage of
them differs, bit for bit, from the same without the mutant. That is looked at by
suites/mutants/observer.py, which has nothing of the probes, the truths and the judge. *Own rung*:
of the first stage that moved, by suites/mutants/stages.py, written down before the first was tried.
*Red*: by the goldens, rungs 2 to 12, and not without the mutant. Intervals are Wilson's, of 95 %,
for draws like these: other shares are another figure, and draws that fall into one small function
are less independent than an interval takes them for.

The shares were chosen after a pilot of 89 draws over all lines alike, of which 4 acted; it is not
counted. Two rules of the observer were mended during the first draw (an argument that is None
counts as none; a look that fails alone is no action), and the two draws that they concern were
looked at again."""


def _how(mutants: Mutants) -> Iterator[str]:
    named = ", ".join(f"{name} {version}" for name, version in sorted(mutants.versions.items()))
    yield from (
        "Written by `python -m suites.mutants page` from mutants.json, which",
        "`python -m suites.mutants first|second|third FOLDER` fills; a test keeps it so. On",
        f"`{mutants.stack}` ({named}), {mutants.device_key}, the stand-in.",
        "",
        HOW,
        "",
        "| phase | library | share | files | executed lines | functions with mutants | "
        "lines with mutants | mutants |",
        "|---|---|---|---|---|---|---|---|",
    )
    names = ("files", "lines", "functions", "lines_with_mutants", "mutants")
    for phase, libraries in mutants.population.items():
        for library, sizes in libraries.items():
            chance = mutants.phases[phase] * mutants.shares[library] / 100
            figures = " | ".join(str(sizes[name]) for name in names)
            yield f"| {phase} | {library} | {chance:g} % | {figures} |"


def _half(mutants: Mutants, half: str, tried: Sequence[Tried]) -> Iterator[str]:
    facts = mutants.halves[half]
    count = {
        outcome: sum(one.outcome == outcome for one in tried)
        for outcome in (NOT_PLANTABLE, CRASHED, HUNG, EQUIVALENT, ACTS)
    }
    acting = [one for one in tried if one.outcome == ACTS]
    yield (
        f"Seed {facts.seed}; judged by harness/ and goldens of {facts.code}. Without a mutant "
        f"{facts.alike} forks were alike in every stage, bit for bit, and two ladders in every "
        "verdict."
    )
    yield ""
    killed = f"{count[HUNG]} had to be killed for time or memory"
    yield (
        f"Drawn {len(tried)}: {count[NOT_PLANTABLE]} cannot be put into running code, "
        f"{count[CRASHED]} end in an error and {killed} (neither is silent, nor counted as seen), "
        f"{count[EQUIVALENT]} change nothing here, {count[ACTS]} act silently."
    )
    yield ""
    yield from _figures("of those that act", acting)
    adapter = [one for one in acting if TRAINED & set(one.moved)]
    yield from _figures("of those that change the adapter or what is saved of it", adapter)
    yield from _known(mutants, half, acting)
    broken = sum(one.broken for one in acting)
    yield f"- of the red ones {broken} by an error of the probe itself"
    for title, key in TABLES.items():
        yield from ("", f"| {title} | act | {' | '.join(SEEN)} |")
        yield "|---" * (2 + len(SEEN)) + "|"
        for value in dict.fromkeys(sorted((getattr(one, key) for one in acting), key=_order)):
            mine = [seen(one) for one in acting if getattr(one, key) == value]
            figures = " | ".join(str(mine.count(kind)) for kind in SEEN)
            yield f"| {value} | {len(mine)} | {figures} |"
    yield from _missed(mutants, acting)


def _known(mutants: Mutants, half: str, acting: Sequence[Tried]) -> Iterator[str]:
    """How much of a draw lies where an earlier one was missed: other mutants, but no news."""
    halves = list(mutants.halves)
    earlier = halves[: halves.index(half)]
    missed = {
        (one.file, one.function)
        for one in mutants.tried
        if one.half in earlier and one.outcome == ACTS and seen(one) != EARLIER
    }
    others = [one for one in acting if (one.file, one.function) not in missed]
    if missed:
        _, figure = next(_shares(others))
        yield (
            f"- without the {len(acting) - len(others)} in functions where an earlier draw was "
            f"missed, red at their own rung or an earlier one: {figure}"
        )


def _order(value: str) -> tuple[int, str]:
    return list(STAGES).index(value) if value in STAGES else 0, value


def _shares(acting: Sequence[Tried]) -> Iterator[tuple[str, str]]:
    """(what was seen of them, how many), one within the next."""
    kinds = [seen(one) for one in acting]
    titles = (
        "red at their own rung or an earlier one",
        "red at some rung",
        "red or different in a comparison with the same stack without it",
    )
    for number, title in enumerate(titles, 1):
        yield title, share(sum(kinds.count(kind) for kind in SEEN[:number]), len(kinds))


def _figures(whose: str, acting: Sequence[Tried]) -> Iterator[str]:
    yield from (f"- {whose}, {title}: {figure}" for title, figure in _shares(acting))


def _missed(mutants: Mutants, acting: Sequence[Tried]) -> Iterator[str]:
    missed = [one for one in acting if seen(one) != EARLIER]
    functions = {(one.file, one.function) for one in missed}
    yield ""
    where = f"{len(missed)}, in {len(functions)} functions"
    since = f" *Since*: by {mutants.again}, known to it." if mutants.again else ""
    yield f"Not red at their own rung or an earlier one: {where}.{since}"
    yield ""
    yield "| first moved | red | compared | since | where | before | after | why |"
    yield "|---|---|---|---|---|---|---|---|"
    for one in missed:
        compared = one.compared if seen(one) in (AFTER, ONLY_COMPARED) else ""
        yield (
            f"| {one.stage} | {one.found or '–'} | {compared or '–'} | {one.since or '–'} | "
            f"{cell(f'{one.file}:{one.line}')} | `{code(one.before)}` | `{code(one.after)}` | "
            f"{cell(WHY.get(one.name, ''))} |"
        )
