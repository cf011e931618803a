"""Both sides made ready to be measured: environments built, the model looked up once for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from harness.errors import BadInput, Lack, NotRunnable
from harness.judging.compare.comparison import is_directory
from harness.judging.compare.plan import NAMES
from harness.judging.compare.sides import Side, children
from harness.judging.compare.spec import CompareSpec, Say
from harness.judging.environments.build import environment_for, is_built
from harness.judging.environments.identity import stack_label
from harness.judging.workers.resolve import new_context
from harness.records.context import Context, Scale, context_path, kept_context, read_context
from harness.records.folders import path_of
from harness.records.machine import graphics


def sides_of(spec: CompareSpec, out: Path, say: Say) -> tuple[Side, Side]:
    """Both sides ready. Raises StackBroken where one cannot be built, BadInput for its model."""
    plain = [
        Side(name, text, path_of(text).resolve() if is_directory(text) else out / name)
        for name, text in zip(NAMES, spec.texts, strict=True)
    ]
    stacks = [side for side in plain if not is_directory(side.text)]
    pythons = _environments([side.text for side in stacks], say)
    first: Context | None = None
    ready: list[Side] = []
    for side in plain:
        if side not in stacks:
            ready.append(side)
            continue
        partner = plain[1 - plain.index(side)]
        context = _context(spec, side, pythons, first, partner, say)
        first = first or context
        ready.append(replace(side, python=pythons[side.text], context=context))
    return ready[0], ready[1]


def processes(spec: CompareSpec) -> int:
    """How many measuring processes run at once for what is asked."""
    return children(_on_cuda(spec.request.device))


def _on_cuda(device: str) -> bool:
    """Whether the children will measure on CUDA; only they can ask torch, the driver's own
    files say as much."""
    return device == "cuda" or (device == "auto" and bool(graphics()))


def _environments(texts: Sequence[str], say: Say) -> dict[str, Path]:
    """Every stack's Python; two that must be built are built at the same time."""
    for text in texts:
        if not is_built(text):
            say(f"building the environment of {text}")
    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(zip(texts, pool.map(environment_for, texts), strict=True))


def _context(
    spec: CompareSpec,
    side: Side,
    pythons: Mapping[str, Path],
    first: Context | None,
    partner: Side,
    say: Say,
) -> Context:
    """A side's context: the first stack looks the model up, the other gets the same one.

    An interrupted comparison goes on with the contexts it began with.
    """
    if context_path(side.out).is_file():
        kept = replace(read_context(context_path(side.out)), out=side.out)
        label = stack_label(side.text)
        if kept.stack != label:
            raise BadInput(
                f"{side.out.parent} was begun with {kept.stack}, which is {label} now; start anew."
            )
        return kept
    if first is None:
        context = _looked_up(spec, side, pythons, say)
    else:
        context = replace(first, stack=stack_label(side.text), out=side.out)
    threads = spec.request.threads or (1 if processes(spec) == 2 else 2)
    # NEW takes OLD's values, so OLD keeps them; of NEW's the digests decide whether they differ.
    keep = "keep" if side.name == "old" else "digest"
    if is_directory(partner.text) and not exchanged(partner.out):
        # Its training drew its own dropout masks, and so must the one that it is compared with.
        keep = ""
    return replace(context, threads=threads, exchange=keep)


def _looked_up(spec: CompareSpec, side: Side, pythons: Mapping[str, Path], say: Say) -> Context:
    """The model as a side's stack finds it, or the other's where this one lacks its family: there
    every rung is NOT_RUN then, with the release that is needed. Raises NotRunnable where both do.
    """
    refusals: list[NotRunnable] = []
    for text in dict.fromkeys((side.text, *pythons)):
        request = replace(spec.request, stack=text)
        try:
            context = new_context(request, side.out, pythons[text], Scale(), say)
        except NotRunnable as error:
            if error.lack is not Lack.LIBRARY:
                raise
            refusals.append(error)
        else:
            return replace(context, stack=stack_label(side.text))
    raise refusals[0]


def exchanged(folder: Path) -> bool:
    """Whether a folder's records were measured by a comparison, with masks that sides share."""
    kept = kept_context(folder)
    return kept is not None and bool(kept.exchange)
