"""pytest options and fixtures: one measurement per rung and session, shared by suites.

Fixtures: `context` (where and what is measured), `record_of(rung)` (measured once, cached),
`judgement_of(rung)` (its record against goldens and expected findings), `judged(rung)` (the
judged values). An installed harness is loaded into every test-suite of its environment: until one
of these is asked for, this adds three options and imports nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.judging.goldens.judgement import Judged, Judgement
    from harness.records.context import Context
    from harness.records.record import Record


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the command line calls --model, --data, --recipe and --device: those words may be the
    project's own."""
    group = parser.getgroup("harness")
    group.addoption("--harness-model", default=os.environ.get("HARNESS_MODEL") or "stand-in")
    group.addoption("--harness-data", default=os.environ.get("HARNESS_DATA") or "catalogue")
    group.addoption("--harness-recipe", default="reference", help="a named variant of the recipe")
    group.addoption("--harness-device", help="cpu or cuda; default: cuda where there is one")


def in_worker() -> bool:
    """Whether pytest-xdist runs this process beside others, which then share the cores."""
    return "PYTEST_XDIST_WORKER" in os.environ


# These rungs go on from the same training's folder.
TRAINED = frozenset({"trajectory", "generation", "cost"})


def _records(factory: pytest.TempPathFactory) -> Path:
    """Where the session's records lie: one folder, for all workers of pytest-xdist too."""
    return factory.getbasetemp().parent / "records" if in_worker() else factory.mktemp("records")


@pytest.fixture(scope="session")
def context(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Context:
    """The session's context, described by this interpreter."""
    from harness.data.intake import Data, check_data
    from harness.judging.environments.installed import installed_stack
    from harness.measuring.child.job import describe, prepare
    from harness.measuring.child.own_truths import leave_own_truths
    from harness.measuring.snapshots.source import resolve
    from harness.recipe.published import variant
    from harness.records.context import build_context

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    source = resolve(request.config.getoption("--harness-model"))
    data = request.config.getoption("--harness-data")
    built = build_context(
        stack=installed_stack(),
        model=source.name,
        data=data,
        data_digest=check_data(Data(data), source.snapshot),
        out=_records(tmp_path_factory),
        snapshot=source.snapshot,
        has_weights=source.has_weights,
        model_digest=source.digest,
        vocabulary=source.vocabulary,
        family=source.family,
        device=request.config.getoption("--harness-device") or "auto",
        recipe=variant(request.config.getoption("--harness-recipe")),
        threads=1 if in_worker() else None,
    )
    described = describe(built)
    prepare(described)
    leave_own_truths(described)
    return described


@pytest.fixture(scope="session")
def record_of(context: Context) -> Callable[[str], Record]:
    """Measure a rung once per session. An error in the probe is an error of the suite."""
    done: dict[str, Record] = {}

    def measured(rung: str) -> Record:
        if rung not in done:
            done[rung] = measured_once(context, rung)
        return done[rung]

    return measured


def measured_once(context: Context, rung: str) -> Record:
    """The rung's record in context.out, measured where no other worker has or is about to."""
    from filelock import FileLock

    from harness.measuring.probes import probe
    from harness.records.record import read_record, write_record

    file = context.out / f"{rung}.json"
    lock = f"{'training' if rung in TRAINED else rung}.lock"
    with FileLock(context.work("locks") / lock):
        if not file.is_file():
            write_record(probe(rung)(context), context.out)
        return read_record(file)


@pytest.fixture(scope="session")
def judgement_of(
    context: Context, record_of: Callable[[str], Record]
) -> Callable[[str], Judgement]:
    """Judge one rung's record against the committed goldens and the stack's expected findings."""
    from harness.judging.goldens.expected import read_expected
    from harness.judging.goldens.judgement import facts_of
    from harness.judging.goldens.own import goldens_for
    from harness.judging.goldens.verdicts import judge

    goldens = goldens_for(context.out)

    def judgement(rung: str) -> Judgement:
        records = {rung: record_of(rung)}
        facts = facts_of(records)
        expected = read_expected(facts.stack_name, recipe=facts.recipe_name, family=facts.family)
        return judge(records, goldens, expected, facts)

    return judgement


@pytest.fixture(scope="session")
def judged(judgement_of: Callable[[str], Judgement]) -> Callable[[str], tuple[Judged, ...]]:
    """The judged values of one rung."""
    return lambda rung: judgement_of(rung).items


def explain(items: tuple[Judged, ...]) -> str:
    """Findings as lines for an assertion message."""
    return "\n".join(
        f"{i.finding}: {i.verdict.value}, golden {_short(i.golden)}, now {_short(i.now)} "
        f"({i.band.kind.value} {i.band.limit:g}); {i.reason}"
        for i in items
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else text[:200] + "…"


def assert_no_unexpected(judgement: Judgement) -> None:
    """Fail on a finding that the stack's list does not name, and on what should have been run.

    The stand-ins and tiny models lack nothing: what is not run with them must be in the list.
    """
    from harness.errors import Lack

    assert not judgement.red, explain(judgement.red)
    whole = judgement.facts.model.startswith(("stand-in", "tiny:"))
    absent = tuple(i for i in judgement.missing if i.required and (whole or i.lack is Lack.METRIC))
    assert not absent, explain(absent)
    assert judgement.items, f"nothing was judged on {judgement.rungs}"
