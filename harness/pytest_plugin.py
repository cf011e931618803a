"""pytest in anyone's project: what a test asks to be judged fails it where it is not as it should
be, and where nothing could be judged.

Marker: `@pytest.mark.harness("text", "ids")` measures rungs in this interpreter and judges them,
`@pytest.mark.harness(records="reports/<run>")` judges records that were measured elsewhere; the
test fails where `harness report` would not end with 0. Fixtures: `judgement_of(rung)` and
`judgement_in(folder)`, the same judgements by hand; `judged(rung)`, their values;
`record_of(rung)`, measured once a session; `harness_context`, where and what is measured.

An installed harness is loaded into every test-suite of its environment: until one of these is asked
for, this adds options and a marker and imports nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.judging.goldens.judgement import Judged, Judgement
    from harness.records.context import Context
    from harness.records.record import Record

MARKER = (
    "harness(*rungs, records=FOLDER): the test fails where these rungs, measured here, or the "
    "records in this folder are not as they should be, or nothing of them could be judged"
)
# The fixture behind the marker, and the property of a test's report that its verdict travels in.
VERDICT, PROPERTY = "harness_verdict", "harness"


def pytest_configure(config: pytest.Config) -> None:
    """`--strict-markers` knows the marker."""
    config.addinivalue_line("markers", MARKER)


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the command line calls --model, --data, --recipe, --device and --accept: those words may
    be the project's own."""
    group = parser.getgroup("harness")
    group.addoption("--harness-model", default=os.environ.get("HARNESS_MODEL") or "stand-in")
    group.addoption("--harness-data", default=os.environ.get("HARNESS_DATA") or "catalogue")
    group.addoption("--harness-recipe", default="reference", help="a named variant of the recipe")
    group.addoption("--harness-device", help="cpu or cuda; default: cuda where there is one")
    group.addoption("--harness-accept", type=Path, help="file of finding ids that fail no test")


def pytest_itemcollected(item: pytest.Item) -> None:
    """A marked test has its verdict made before it runs."""
    if isinstance(item, pytest.Function) and item.get_closest_marker("harness"):
        item.fixturenames.append(VERDICT)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """A marked test fails by its verdict, whatever its own lines say."""
    judgements: tuple[Judgement, ...] = getattr(item, "funcargs", {}).get(VERDICT, ())
    for judgement in judgements:
        item.user_properties.append((PROPERTY, judgement.headline))
    for judgement in judgements:
        if judgement.exit_code:
            required = tuple(i for i in judgement.missing if i.required)
            why = explain((*judgement.red, *required))
            pytest.fail(f"{judgement.headline}\n{why}", pytrace=False)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was judged, a line for each verdict of the marker, from all workers."""
    called = (
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
    )
    lines = (text for report in called for name, text in report.user_properties if name == PROPERTY)
    for line in dict.fromkeys(lines):
        terminalreporter.write_line(f"harness: {line}")


def in_worker() -> bool:
    """Whether pytest-xdist runs this process beside others, which then share the cores."""
    return "PYTEST_XDIST_WORKER" in os.environ


# These rungs go on from the same training's folder.
TRAINED = frozenset({"trajectory", "generation", "cost"})


def _records(factory: pytest.TempPathFactory) -> Path:
    """Where the session's records lie: one folder, for all workers of pytest-xdist too."""
    return factory.getbasetemp().parent / "records" if in_worker() else factory.mktemp("records")


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """A refusal of the harness is a failure of one sentence, without a traceback."""
    from harness.errors import HarnessError

    try:
        yield
    except HarnessError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def harness_context(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Context:
    """The session's context, described by this interpreter. It has the harness's name, for a
    project may have a `context` of its own."""
    with _refused():
        return _described(request.config, tmp_path_factory)


def _described(config: pytest.Config, factory: pytest.TempPathFactory) -> Context:
    """Raises BadInput where nothing of what is measured is installed."""
    from harness.judging.environments.installed import this_python

    this_python()
    from harness.data.intake import Data, check_data
    from harness.judging.environments.installed import installed_stack
    from harness.measuring.child.job import describe, prepare
    from harness.measuring.child.own_truths import leave_own_truths
    from harness.measuring.snapshots.source import resolve
    from harness.recipe.published import variant
    from harness.records.context import build_context

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    source = resolve(config.getoption("--harness-model"))
    data = config.getoption("--harness-data")
    built = build_context(
        stack=installed_stack(),
        model=source.name,
        data=data,
        data_digest=check_data(Data(data), source.snapshot),
        out=_records(factory),
        snapshot=source.snapshot,
        has_weights=source.has_weights,
        model_digest=source.digest,
        vocabulary=source.vocabulary,
        family=source.family,
        device=config.getoption("--harness-device") or "auto",
        recipe=variant(config.getoption("--harness-recipe")),
        threads=1 if in_worker() else None,
    )
    described = describe(built)
    prepare(described)
    leave_own_truths(described)
    return described


@pytest.fixture(scope="session")
def record_of(harness_context: Context) -> Callable[[str], Record]:
    """Measure a rung once per session. An error in the probe is an error of the suite."""
    done: dict[str, Record] = {}

    def measured(rung: str) -> Record:
        if rung not in done:
            done[rung] = measured_once(harness_context, rung)
        return done[rung]

    return measured


def measured_once(context: Context, rung: str) -> Record:
    """The rung's record in context.out, measured where no other worker has or is about to."""
    from filelock import FileLock

    from harness.measuring.probes import measured
    from harness.records.record import read_record, write_record

    file = context.out / f"{rung}.json"
    lock = f"{'training' if rung in TRAINED else rung}.lock"
    with FileLock(context.work("locks") / lock):
        if not file.is_file():
            write_record(measured(context, rung), context.out)
        return read_record(file)


@pytest.fixture(scope="session")
def accepted(request: pytest.FixtureRequest) -> frozenset[str]:
    """The finding ids of `--harness-accept`."""
    from harness.judging.goldens.accepted import read_accepted

    with _refused():
        return read_accepted(request.config.getoption("--harness-accept"))


@pytest.fixture(scope="session")
def judgement_of(
    harness_context: Context, record_of: Callable[[str], Record], accepted: frozenset[str]
) -> Callable[[str], Judgement]:
    """Judge one rung's record against the committed goldens and the stack's expected findings.
    Fails where nothing of it could be judged."""
    from harness.commands._verdict import judged

    def judgement(rung: str) -> Judgement:
        with _refused():
            records = {rung: record_of(rung)}
            return _of_something(judged(records, harness_context.out, accepted))

    return judgement


@pytest.fixture(scope="session")
def judgement_in(accepted: frozenset[str]) -> Callable[[str | Path], Judgement]:
    """Judge a folder of records, measured whenever and wherever; it needs none of the libraries.
    Fails where nothing of them could be judged."""
    from harness.commands._verdict import judged_folder

    def judgement(folder: str | Path) -> Judgement:
        with _refused():
            return _of_something(judged_folder(Path(folder), accepted)[1])

    return judgement


@pytest.fixture(scope="session")
def judged(judgement_of: Callable[[str], Judgement]) -> Callable[[str], tuple[Judged, ...]]:
    """The judged values of one rung."""
    return lambda rung: judgement_of(rung).items


@pytest.fixture
def harness_verdict(request: pytest.FixtureRequest) -> tuple[Judgement, ...]:
    """The judgements that the test's markers ask for."""
    from harness.errors import BadInput
    from harness.records.record import RUNGS

    rungs: list[str] = []
    folders: list[str | Path] = []
    for marker in request.node.iter_markers("harness"):
        rungs += marker.args
        folders += [marker.kwargs["records"]] if "records" in marker.kwargs else []
    with _refused():
        if not (rungs or folders):
            raise BadInput("@pytest.mark.harness names no rung and no records; name one.")
        for rung in rungs:
            if rung not in RUNGS:
                raise BadInput(f"There is no rung {rung!r}; choose from {', '.join(RUNGS)}.")
    # Only what is asked for: who judges records needs no library to be installed.
    of = request.getfixturevalue("judgement_of") if rungs else None
    in_folder = request.getfixturevalue("judgement_in") if folders else None
    measured = [of(rung) for rung in dict.fromkeys(rungs)] if of else []
    return (*measured, *(in_folder(folder) for folder in folders)) if in_folder else (*measured,)


def _of_something(judgement: Judgement) -> Judgement:
    """The judgement. Fails where nothing was compared, which is never green."""
    if not judgement.compared:
        pytest.fail(judgement.headline, pytrace=False)
    return judgement


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
    assert judgement.compared, judgement.headline
