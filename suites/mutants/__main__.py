"""`python -m suites.mutants first|second|third FOLDER`: try a draw of the mutants, and keep what
came; `one FOLDER NAME …`: try those of that name, and only say it; `again FOLDER`: what was not red
in time, by the code of now; `page`: golden/power/MUTANTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

# Before a library that reads them is imported: nothing is looked up, one thread.
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")

from suites.mutants import measuring, page, record
from suites.mutants.bench import ALIKE, Bench, prepared

HALVES = tuple(measuring.SEEDS)


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m suites.mutants", description=__doc__)
    parser.add_argument("what", choices=[*HALVES, "one", "again", "page"])
    parser.add_argument("folder", nargs="?", type=Path, help="for what is tried; gone on with")
    parser.add_argument("names", nargs="*", help="FILE:LINE:COLUMN OPERATOR VARIANT")
    parser.add_argument("--acting", type=int, default=50, help="how many that act are enough")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin none after so many")
    parser.add_argument("--look", action="store_true", help="whether each acts, and no more")
    options = parser.parse_args(words)
    if options.what == "page":
        page.publish()
        return 0
    if options.folder is None:
        parser.error("a folder is needed")
    root = options.folder.resolve()
    root.mkdir(parents=True, exist_ok=True)
    bench = prepared(root)
    if options.what == "one":
        for name in options.names:
            print(json.dumps(asdict(measuring.one(bench, name))), flush=True)
        return 0
    if options.what == "again":
        kept = record.read()
        tried_again = tuple(measuring.again(bench, kept.tried))
        record.write(replace(kept, tried=tried_again, again=measuring.code()))
        return 0
    tried, asked = [], (options.what, options.acting, options.seconds)
    for one in measuring.tried(bench, *asked, judging=not options.look):
        tried.append(one)
        told = f"{one.expected}: {one.found or '–'} (moved {one.compared or '–'})"
        told = told if one.outcome == record.ACTS else one.error
        print(f"{one.number} {one.name}: {one.outcome} {one.stage} {told}", flush=True)
    if not options.look:
        _keep(bench, options.what, tried)
    return 0


def _keep(bench: Bench, half: str, tried: Sequence[record.Tried]) -> None:
    """Beside the other draws'."""
    mine = record.Half(measuring.SEEDS[half], measuring.code(), ALIKE)
    new = measuring.document(bench, {half: mine}, tuple(tried))
    if record.PATH.is_file():
        old = record.read()
        others = tuple(one for one in old.tried if one.half != half)
        new = replace(new, halves={**old.halves, half: mine}, tried=(*others, *tried))
    record.write(new)


if __name__ == "__main__":
    raise SystemExit(main())
