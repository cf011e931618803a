"""`python -m suites.mutation [MODULE …]`: plant faults, one at a time, and say which no test
notices. A sample is drawn and committed first; its second half is tried when tests were written for
what the first half showed."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from suites.mutation import covering, page, results, runner, sample
from suites.mutation.operators import Mutant
from suites.mutation.targets import TARGETS, TESTS

# How many are tried between two writings of what became of them.
OFTEN = 10


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0 where every fault was tried, 1 where time did not suffice."""
    parser = argparse.ArgumentParser(prog="python -m suites.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="as in targets.py; all by default")
    parser.add_argument("--trial", choices=page.TRIALS, default=page.ALL, help="which faults")
    parser.add_argument("--draw", type=int, metavar="SEED", help="a sample, and nothing else")
    parser.add_argument("--one-in", type=int, default=1, metavar="N", help="of the sample")
    parser.add_argument("--measure", nargs="*", help="first: which lines these tests, or all, run")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin none after it")
    options = parser.parse_args(words)
    if options.draw is not None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        sample.write(sample.draw(options.draw, options.one_in, now))
        return 0
    end = time.monotonic() + options.seconds
    measure(options.measure)
    trials = results.read()
    wanted = [name for name in TARGETS if not options.modules or name in options.modules]
    jobs = jobs_of(wanted, trials, options.trial)
    print(f"{len(jobs)} faults to try", flush=True)
    tried = Attempts(trials, options.trial)
    tried.swap(jobs, end)
    tried.imports(end)
    results.write(trials)
    results.publish(trials)
    page.publish()
    shown = results.summary(trials[options.trial])
    print(f"{tried.done} tried; {options.trial}: {page.sentence(shown)}")
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


def jobs_of(wanted: Sequence[str], trials: results.Trials, trial: str) -> list[runner.Job]:
    """What is left to be tried of a trial, in the order of the draw; modules without an entry are
    given one."""
    jobs, seed = [], sample.read().seed
    modules = trials.setdefault(trial, {})
    for name in wanted:
        module = modules.setdefault(name, results.Module(results.digest(name)))
        if module.digest != results.digest(name):
            # Of another source: its faults' names mean other places.
            module = modules[name] = results.Module(results.digest(name))
        module.planted = len(sample.faults_of(name))
        faults = _of(trial, name, trials)
        jobs += [(name, fault) for fault in faults if fault.name not in module.faults]
    return sorted(jobs, key=lambda job: sample.number_of(seed, job[0], job[1].name))


def _of(trial: str, name: str, trials: results.Trials) -> tuple[Mutant, ...]:
    """The faults of one module that a trial is about."""
    if trial == page.ALL:
        return sample.faults_of(name)
    if trial not in page.LEFT_OF:
        return sample.chosen(sample.read(), trial, name)
    shown = {**results.committed(), **{each: results.summary(of) for each, of in trials.items()}}
    before = [shown[each][name] for each in page.LEFT_OF[trial] if name in shown.get(each, {})]
    # By what they change: a source that was mended since has them elsewhere.
    left = {(f.operator, results.spelled(f)) for module in before for f in module.left}
    faults = sample.faults_of(name)
    return tuple(f for f in faults if (f.operator, f"{f.before} → {f.after}") in left)


@dataclass
class Attempts:
    """What became of the faults so far, and which must be imported."""

    trials: results.Trials
    trial: str
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
        self.trials[self.trial][module].faults[mutant.name] = fault
        self.done += 1
        if self.done % OFTEN == 0:
            results.write(self.trials)


if __name__ == "__main__":
    sys.exit(main())
