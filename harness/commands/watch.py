"""`harness watch`: the newest releases against the last lock that was good, for cron."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from harness.commands._arguments import (
    explained,
    filled,
    path,
    seconds,
    source_options,
    verdict_options,
)
from harness.commands._ci import Outputs, outputs_to
from harness.commands._comparing import measured, shown
from harness.commands._documents.watched import LockWatched
from harness.commands._help import WATCH
from harness.commands._measuring import request_of, rungs_of, warner
from harness.commands._screen import console, emit
from harness.judging.bisect.imports import breaking, broken_imports
from harness.judging.compare.preparing import sides_of
from harness.judging.compare.sides import parse_rungs
from harness.judging.compare.spec import CompareSpec
from harness.judging.compare.watched import Watched, after, held, news, read_watched, write_watched
from harness.judging.environments.newest import Newest, newest
from harness.judging.goldens.accepted import read_accepted
from harness.judging.report.ci.compared import of_comparison
from harness.judging.report.ci.outcomes import Verdicts
from harness.judging.workers.resolve import Request
from harness.records.alone import alone
from harness.records.files import write_atomically
from harness.records.folders import cache_root, output_folder, whole

ABOUT = "new releases against the last known good lock, for cron"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The state, the rungs, and what to measure on."""
    explained(parser, WATCH)
    add = parser.add_argument
    add("--state", type=path, metavar="FILE", help="what the last watch left (default: the cache)")
    add("--rungs", type=filled, action="append", help="e.g. 1-10; may be repeated (default: all)")
    add("--out", type=path, help="the comparison's folder (default: a new one in reports/)")
    add("--limit", type=seconds, default=1800.0, metavar="SECONDS", help="for one rung")
    source_options(parser)
    verdict_options(parser)


@dataclass(frozen=True)
class WatchSpec:
    """What a watch was asked for. compare: the comparison, its sides still without names."""

    state: Path
    compare: CompareSpec
    out: Path
    outputs: Outputs
    as_json: bool


def spec_of(arguments: argparse.Namespace) -> WatchSpec:
    """Raises BadInput for a rung, a file or a folder that cannot be."""
    request = request_of(arguments)
    named = parse_rungs(",".join(arguments.rungs)) if arguments.rungs else ()
    asked = CompareSpec(
        old="",
        new="",
        request=request,
        rungs=tuple(rungs_of(request, named)),
        rungs_named=bool(arguments.rungs),
        limit_s=arguments.limit,
        accepted=read_accepted(arguments.accept),
    )
    state = arguments.state or cache_root() / "watch.json"
    outputs = outputs_to(arguments.junit, arguments.summary)
    out = output_folder(arguments.out)
    return WatchSpec(whole(state), asked, out, outputs, arguments.json)


def execute(arguments: argparse.Namespace) -> int:
    """Look, compare where there is something new, remember; the exit code of the contract."""
    spec = spec_of(arguments)
    screen = console()
    with held(spec.state):
        before = read_watched(spec.state)
        seen = newest(before.good, cache_root())
        if not seen.moved:
            return _nothing_new(spec, before, seen, screen)
        with alone(spec.out):
            return _compare(spec, before, seen, screen)


def _nothing_new(spec: WatchSpec, before: Watched, seen: Newest, screen: Console) -> int:
    since = f"judged good on {before.since}" if before.since else "the committed lock of latest"
    headline = f"nothing new: the newest releases are those of the last good lock, {since}."
    verdicts = Verdicts("harness watch", headline, 0, (), tuple(_notes(seen)))
    _tell(verdicts, screen)
    spec.outputs.write(verdicts, screen)
    if spec.as_json:
        emit(LockWatched(headline, 0, seen.moved, seen.held))
    return 0


def _compare(spec: WatchSpec, before: Watched, seen: Newest, screen: Console) -> int:
    sides = {"good": before.good, "newest": seen.lock}
    for name, lock in sides.items():
        write_atomically(spec.out / f"{name}.txt", lock.encode("utf-8"))
    old, new = (f"requirements:{spec.out / name}.txt" for name in sides)
    asked = replace(spec.compare, old=old, new=new)
    say = warner(screen)
    comparison = measured(asked, sides_of(asked, spec.out, say), spec.out, screen)
    shown(comparison, spec.out, screen)
    told = news(comparison)
    broken = broken_imports(told)
    request = asked.request
    named = _named(spec.out, broken, seen, request, screen) if broken else {}
    lasting = len(comparison.pairs) - len(told.pairs)
    verdicts = replace(of_comparison(told), notes=tuple(_notes(seen, named, lasting)))
    _tell(verdicts, screen)
    code = told.exit_code
    write_watched(after(before, seen.lock, code, told.headline, spec.out), spec.state)
    spec.outputs.write(verdicts, screen)
    screen.print(f"report: {spec.out / 'report.html'}", soft_wrap=True)
    if spec.as_json:
        where = str(spec.out)
        emit(LockWatched(told.headline, code, seen.moved, seen.held, named, where))
    return code


def _named(
    out: Path, broken: Sequence[str], seen: Newest, request: Request, screen: Console
) -> dict[str, str]:
    libraries = [moved.library for moved in seen.moved]
    screen.print(f"looking for the release that breaks {', '.join(broken)}", soft_wrap=True)
    return breaking(out, broken, libraries, request, warner(screen))


def _notes(seen: Newest, named: dict[str, str] | None = None, lasting: int = 0) -> list[str]:
    notes = [f"{m.library} {m.known or 'absent'} → {m.newest or 'absent'}" for m in seen.moved]
    notes += [f"{finding} is broken by: {by}" for finding, by in (named or {}).items()]
    if lasting:
        notes.append(f"{lasting} calls and values are broken on both locks, which is no news")
    return notes + [
        f"{h.library} {h.release} is out and not in the newest lock, which keeps {h.kept}: {h.why}"
        for h in seen.held
    ]


def _tell(verdicts: Verdicts, screen: Console) -> None:
    screen.print(verdicts.headline, soft_wrap=True)
    for note in verdicts.notes:
        screen.print(f"  {note}", soft_wrap=True)
