"""`harness compare OLD NEW`: wiring of measuring, judging and showing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from harness.commands._arguments import (
    Given,
    filled,
    path,
    seconds,
    source_options,
    verdict_options,
)
from harness.commands._measuring import request_of, warner
from harness.commands._screen import console, emit
from harness.judging.compare.causes import compare
from harness.judging.compare.comparison import (
    Comparison,
    Experiment,
    is_directory,
    rung_of,
    to_json,
)
from harness.judging.compare.pairs import Pair
from harness.judging.compare.plan import (
    NAMES,
    asked_of,
    begun,
    context_path,
    folder_of,
    refuse_early,
    resume_command,
)
from harness.judging.compare.register import read_register
from harness.judging.compare.rungs import pairs_of
from harness.judging.compare.sides import (
    HANDED,
    Side,
    children,
    cross_adapters,
    differing_values,
    drop_values,
    measure_sides,
    parse_rungs,
    plan,
    try_causes,
)
from harness.judging.environments.build import environment_for, is_built
from harness.judging.environments.installed import stack_label
from harness.judging.goldens.accepted import read_accepted
from harness.judging.goldens.bands import read_bands
from harness.judging.goldens.golden import read_goldens
from harness.judging.report.upgrade.ladder import LadderView
from harness.judging.report.upgrade.page import render_comparison
from harness.judging.report.upgrade.terminal import terminal_comparison
from harness.judging.workers.resolve import new_context
from harness.records.context import Context, Scale, read_context
from harness.records.files import read_object, write_json
from harness.records.folders import path_of
from harness.records.machine import graphics
from harness.records.record import Record, read_records

ABOUT = "two stacks on the whole ladder: what moved, why"
Records = tuple[Mapping[str, Record], Mapping[str, Record]]


def arguments(parser: argparse.ArgumentParser) -> None:
    """OLD, NEW, the rungs, and what to measure on."""
    add = parser.add_argument
    add("old", type=filled, metavar="OLD", help="a stack, or a directory of records (has a /)")
    add("new", type=filled, metavar="NEW", help="the same")
    add(
        "--rungs",
        type=filled,
        action="append",
        help="e.g. 2-9 or text,ids; may be repeated (default: all)",
    )
    add("--resume", type=filled, metavar="DIR", help="go on with an interrupted comparison")
    add("--out", type=path, help="its folder (default: a new one in reports/)")
    add(
        "--offline",
        action=Given,
        nargs=0,
        const=True,
        default=False,
        help="build from uv's cache only",
    )
    add(
        "--limit",
        action=Given,
        type=seconds,
        default=1800.0,
        metavar="SECONDS",
        help="for one rung (default 1800)",
    )
    source_options(parser)
    verdict_options(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Measure both sides, find causes, explain, show; the exit code of the contract."""
    screen = console()
    rungs = parse_rungs(",".join(arguments.rungs or ()))
    if arguments.offline:
        os.environ["UV_OFFLINE"] = "1"
    accepted = read_accepted(arguments.accept)
    refuse_early((arguments.old, arguments.new), rungs, arguments.given)
    asked = asked_of(arguments, rungs)
    out = folder_of(arguments, asked)
    sides = _sides(arguments, out, screen)
    at_once = children(_on_cuda(arguments.device))
    view = LadderView(screen, tuple(s.text for s in sides), rungs, tuple(s.out for s in sides))
    try:
        with begun(out, asked, sides), view:
            old, new = measure_sides(
                sides,
                rungs,
                view.tick,
                at_once=at_once,
                limit_s=arguments.limit,
                progress=view.say,
            )
            records: Records = (old, new)
            # A folder holds the rungs that it holds; of two stacks every one was asked for.
            named = arguments.rungs or all(side.is_stack for side in sides)
            question = Question(sides, records, rungs if named else (), accepted)
            if all(side.is_stack for side in sides):
                view.say("each side reads the adapter that the other has saved")
                crossed = cross_adapters(sides, view.tick, at_once=at_once, limit_s=arguments.limit)
                question = replace(question, crossed=_crossed_pairs(crossed))
            comparison = question.judged()
            if all(side.is_stack for side in sides) and comparison.findings:
                view.say("looking for causes: later rungs again with earlier values from OLD")
                comparison = _with_causes(question, comparison, view, at_once, arguments.limit)
    except KeyboardInterrupt:
        again = resume_command(arguments, out)
        screen.print(f"interrupted; go on with: {again}", soft_wrap=True, markup=False)
        return 130
    return _show(comparison, out, screen, arguments)


def _show(comparison: Comparison, out: Path, screen: Console, arguments: argparse.Namespace) -> int:

    document = to_json(comparison)
    write_json(out / "comparison.json", document)
    page = render_comparison(comparison, out / "report.html")
    terminal_comparison(comparison, screen)
    screen.print(f"report: {page}", soft_wrap=True)
    if arguments.json:
        # The document's own schema is that of comparison.json.
        emit({**document, "comparison_schema": document["schema"], "out": str(out)})
    return comparison.exit_code


def _on_cuda(device: str) -> bool:
    """Whether the children will measure on CUDA; only they can ask torch, the driver's own
    files say as much."""
    return device == "cuda" or (device == "auto" and bool(graphics()))


def _sides(arguments: argparse.Namespace, out: Path, screen: Console) -> tuple[Side, Side]:
    """Both sides ready: environments built, the model found once for both."""
    texts = (arguments.old, arguments.new)
    plain = [
        Side(name, text, path_of(text).resolve() if is_directory(text) else out / name)
        for name, text in zip(NAMES, texts, strict=True)
    ]
    stacks = [side for side in plain if not is_directory(side.text)]
    pythons = _environments([side.text for side in stacks], screen)
    found: Context | None = None
    ready: list[Side] = []
    for side in plain:
        if side not in stacks:
            ready.append(side)
            continue
        partner = plain[1 - plain.index(side)]
        context = _context(arguments, side, pythons[side.text], found, partner, screen)
        found = found or context
        ready.append(replace(side, python=pythons[side.text], context=context))
    return ready[0], ready[1]


def _environments(texts: list[str], screen: Console) -> dict[str, Path]:
    """Every stack's Python; two that must be built are built at the same time."""

    for text in texts:
        if not is_built(text):
            screen.print(f"building the environment of {text}")
    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(zip(texts, pool.map(environment_for, texts), strict=True))


def _context(
    arguments: argparse.Namespace,
    side: Side,
    python: Path,
    found: Context | None,
    partner: Side,
    screen: Console,
) -> Context:
    """A side's context: the first stack looks the model up, the other gets the same one.

    An interrupted comparison goes on with the contexts it began with.
    """
    if context_path(side).is_file():
        return replace(read_context(context_path(side)), out=side.out)
    if found is None:
        request = replace(request_of(arguments), stack=side.text)
        context = new_context(request, side.out, python, Scale(), warner(screen))
    else:
        context = replace(found, stack=stack_label(side.text), out=side.out)
    threads = arguments.threads or (1 if children(_on_cuda(arguments.device)) == 2 else 2)
    # NEW takes OLD's values, so OLD keeps them; of NEW's the digests decide whether they differ.
    keep = "keep" if side.name == "old" else "digest"
    if is_directory(partner.text) and not exchanged(partner.out):
        # Its training drew its own dropout masks, and so must the one that it is compared with.
        keep = ""
    return replace(context, threads=threads, exchange=keep)


def exchanged(folder: Path) -> bool:
    """Whether a folder's records were measured by a comparison, with masks that sides share."""
    kept = folder / "work" / "context.json"
    return kept.is_file() and bool(read_object(kept).get("exchange"))


@dataclass(frozen=True)
class Question:
    """Everything a judgement needs. wanted: rungs that were asked for and are missing where no
    record is. crossed: pairs of the adapters' round trip."""

    sides: tuple[Side, Side]
    records: Records
    wanted: tuple[str, ...]
    accepted: frozenset[str]
    crossed: tuple[Pair, ...] = ()

    def judged(
        self, experiments: tuple[Experiment, ...] = (), *, established: bool = False
    ) -> Comparison:
        """The comparison, pure but for reading the goldens and the records' tensors."""
        old, new = self.sides
        pairs = pairs_of(self.records, (old.out, new.out), read_bands(), read_goldens())
        return compare(
            (old.label(self.records[0]), new.label(self.records[1])),
            self.records,
            (*pairs, *self.crossed),
            read_register(),
            experiments=experiments,
            established=established,
            accepted=self.accepted,
            wanted=self.wanted,
            given=(old.text, new.text),
        )


def _crossed_pairs(crossed: tuple[Side, Side] | None) -> tuple[Pair, ...]:
    if crossed is None:
        return ()
    old, new = (read_records(side.out) for side in crossed)
    return pairs_of((old, new), (crossed[0].out, crossed[1].out), read_bands(), read_goldens())


def _with_causes(
    question: Question, first: Comparison, view: LadderView, at_once: int, limit_s: float
) -> Comparison:
    """The comparison again, with what follows from what."""
    old, new = question.sides
    moved = {f.pair.rung for f in first.findings}
    rungs = first.rungs
    handed = [name for name in HANDED if rung_of(name) in rungs]
    differing = differing_values(old.out, new.out, handed)
    adapter = (old.out / "training" / "adapter").is_dir()
    trials = plan(differing, [r for r in rungs if r in moved], adapter)
    results = try_causes(new, old, trials, view.tick, at_once=at_once, limit_s=limit_s)
    bands, goldens = read_bands(), read_goldens()
    experiments = tuple(
        Experiment(
            trial.given,
            pairs_of(
                (question.records[0], found),
                (old.out, new.out.parent / "trials" / "+".join(trial.given)),
                bands,
                goldens,
            ),
        )
        for trial, found in zip(trials, results, strict=True)
    )
    for side in question.sides:
        drop_values(side.out)
    return question.judged(experiments, established=True)
