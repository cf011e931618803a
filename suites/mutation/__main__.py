"""`python -m suites.mutation [MODULE …]`: plant every fault, one at a time, and say which no test
notices."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from suites.mutation import covering, results, runner
from suites.mutation.operators import Mutant, mutants_of
from suites.mutation.targets import ROOT, TARGETS, TESTS

# How many are tried between two writings of what became of them.
OFTEN = 10


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0 where every fault was tried, 1 where time did not suffice."""
    parser = argparse.ArgumentParser(prog="python -m suites.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="as in targets.py; all by default")
    parser.add_argument("--measure", nargs="*", help="first: which lines these tests, or all, run")
    parser.add_argument("--again", action="store_true", help="also what no test noticed last time")
    parser.add_argument("--one-in", type=int, default=1, metavar="N", help="a sample of the faults")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin none after it")
    options = parser.parse_args(words)
    end = time.monotonic() + options.seconds
    measure(options.measure)
    modules = results.read()
    wanted = [name for name in TARGETS if not options.modules or name in options.modules]
    jobs = jobs_of(wanted, modules, options.again)
    jobs = [job for job in jobs if results.drawn(*job, options.one_in)]
    print(f"{len(jobs)} faults to try", flush=True)
    tried = Attempts(modules)
    tried.swap(jobs, end)
    tried.imports(end)
    results.write(modules)
    results.publish(modules)
    print(f"{tried.done} tried; {results.sentence(results.summary(modules))}")
    return int(tried.done < len(jobs))


def measure(files: Sequence[str] | None) -> None:
    """Which tests run which line: measured for some files, or all; kept where not asked.

    In a process of its own: what is imported once cannot be seen being imported.
    """
    if files is None and covering.KEPT.is_file():
        return
    child = os.fork()
    if child == 0:
        new = covering.measure(files or TESTS)
        covering.keep(covering.merged(covering.kept(), new) if files else new)
        os._exit(0)
    os.waitpid(child, 0)


def jobs_of(
    wanted: Sequence[str], modules: dict[str, results.Module], again: bool
) -> list[runner.Job]:
    """What is left to be tried; modules without an entry are given one."""
    jobs = []
    for name in wanted:
        module = modules.setdefault(name, results.Module(results.digest(name)))
        faults = mutants_of((ROOT / name).read_text(encoding="utf-8"))
        module.planted = len(faults)
        for fault in faults:
            known = module.faults.get(fault.name)
            if known is None or (again and known.outcome not in results.KILLED):
                jobs.append((name, fault))
    return jobs


@dataclass
class Attempts:
    """What became of the faults so far, and which must be imported."""

    modules: dict[str, results.Module]
    done: int = 0

    def __post_init__(self) -> None:
        self.left: list[runner.Job] = []

    def swap(self, jobs: Sequence[runner.Job], end: float) -> None:
        """Try them with code replaced."""
        plugin = runner.Swapping(jobs, covering.kept(), self.tell, end)
        pytest.main([*covering.OPTIONS, *TESTS], plugins=[plugin])

    def imports(self, end: float) -> None:
        """Try what is left with the project imported around it."""
        covered = covering.kept()
        for module, mutant in self.left:
            if time.monotonic() > end:
                break
            self.tell(module, mutant, runner.imported((module, mutant), covered))

    def tell(self, module: str, mutant: Mutant, fault: results.Fault | None) -> None:
        """Keep what became of one; None: to be imported."""
        if fault is None:
            self.left.append((module, mutant))
            return
        self.modules[module].faults[mutant.name] = fault
        self.done += 1
        if self.done % OFTEN == 0:
            results.write(self.modules)


if __name__ == "__main__":
    sys.exit(main())
