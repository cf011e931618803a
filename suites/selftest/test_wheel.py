"""The wheel, installed into an environment of its own and used from a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import pytest

from harness.commands import verbs
from harness.judging.compare.register import read_register
from harness.judging.environments.build import uv_binary
from harness.judging.goldens.golden import read_goldens
from harness.records.folders import GOLDEN, ORACLES
from harness.records.record import Metric, Provenance, Record, write_record
from suites.commands import ROOT, Ended
from suites.selftest.wheels import wheel

LOCK = ROOT / "harness" / "stacks" / "reference.lock"


def uv(*words: str | Path) -> None:
    """Run uv from its cache, and with the network only where that lacks something."""
    for offline in (["--offline"], []):
        done = subprocess.run(
            [uv_binary(), *map(str, words), *offline], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return
    pytest.fail(done.stderr)


def as_here(folder: Path) -> Path:
    """Constraints: what this stack has, in its versions. uv's cache has just those, and this
    stack's libraries, where the wheel's environment sees them, work with no others."""
    path = folder / "as-here.txt"
    here = sorted({f"{d.name}=={d.version}" for d in distributions() if d.name})
    path.write_text("\n".join(here) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, and the folder where its user works."""

    environment: Path
    place: Path

    def python(self, *words: str | Path, **variables: str) -> Ended:
        """Its Python in the user's folder, with nothing of the clone on its path."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "PYTEST_", "HARNESS_", "HF_", "COV_", "OMP_"))
        }
        cache = {"HARNESS_CACHE": str(self.environment.parent / "cache")}
        done = subprocess.run(
            [str(self.environment / "bin" / "python"), *map(str, words)],
            cwd=self.place,
            env={**clean, **cache, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def harness(self, *words: str | Path) -> Ended:
        """The installed command."""
        return self.python(self.environment / "bin" / "harness", *words)


def install(built: Path, folder: Path, *more: str, constraints: Path | None = None) -> Path:
    """A new environment with the wheel, what it requires, and `more`; constraints: else this
    stack's versions."""
    uv("venv", "--quiet", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    versions = constraints or as_here(folder)
    uv("pip", "install", "--quiet", "--python", python, "-c", versions, built, *more)
    return folder


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(built, tmp_path_factory.mktemp("installed") / "env")


@pytest.fixture
def installed(environment: Path, tmp_path: Path) -> Installed:
    place = tmp_path / "elsewhere"
    place.mkdir()
    return Installed(environment, place)


def records(folder: Path, version: str, gap: float) -> None:
    """An update whose accumulated step is off by `gap`, on a release of transformers."""
    place = Provenance(
        "mine",
        "stand-in",
        "catalogue",
        "cpu-x",
        "r",
        "s",
        {"transformers": version},
        family="qwen2_vl",
    )
    metric = Metric("update", "accumulation_gap", value=gap)
    write_record(Record("update", place, (metric,), 1.0), folder)


def test_what_travels_in_it(built: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        names = [n for n in archive.namelist() if not n.endswith("/")]
    assert {n.split("/")[0] for n in names if ".dist-info/" not in n} == {"harness"}
    assert not [n for n in names if "suites" in n or "/test_" in n or "conftest" in n]
    inside = {n.removeprefix("harness/") for n in names}
    for folder, under in ((ROOT / "harness", ""), (GOLDEN, "golden/"), (ORACLES, "oracles/")):
        files = (f for f in folder.rglob("*") if f.is_file() and f.suffix not in {".pyc", ".part"})
        assert {f"{under}{f.relative_to(folder)}" for f in files} <= inside
    assert {"py.typed", "judging/report/html/style.css", "stacks/reference.lock"} <= inside


def test_its_help_lists_every_verb(installed: Installed) -> None:
    ended = installed.harness("--help")
    assert ended.code == 0
    assert set(verbs()) <= set(ended.stdout.split())


def test_the_doctor_names_a_mend_that_needs_no_clone(installed: Installed) -> None:
    ended = installed.harness("doctor", "--json")
    lines = {line["what"]: line for line in json.loads(ended.stdout)["lines"]}
    assert ended.code == 2
    assert lines["stack"]["mend"] == "pass --stack reference to have it built"
    assert "tox" not in ended.stderr
    assert installed.harness("doctor", "--stack", "reference").code == 0


def test_the_goldens_are_found_and_stay_as_they_are(installed: Installed) -> None:
    ended = installed.harness("golden", "list", "--json")
    assert ended.code == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert len(document["goldens"]) == len(read_goldens())
    assert document["stray"] == []
    refused = installed.harness("golden", "update", "forward.loss.right", "--reason", "x")
    assert refused.code == 2
    assert "is written in a clone of the harness" in refused.sentence


def test_a_comparison_of_records_knows_bands_and_register(installed: Installed) -> None:
    records(installed.place / "before", "4.45.2", 0.006)
    records(installed.place / "after", "4.46.3", 3.0)
    ended = installed.harness("compare", "before/", "after/", "--json")
    assert ended.code == 1, ended.stderr
    document = json.loads(ended.stdout)
    (finding,) = document["findings"]
    assert [finding["id"], *finding["known"]] == ["update.accumulation_gap", "accumulation-summed"]
    assert "accumulation-summed" in {change.name for change in read_register()}
    # Results go to the working folder, and the page has its style.
    (run,) = (installed.place / "reports").iterdir()
    assert document["out"] == str(run)
    assert "<style>" in (run / "report.html").read_text(encoding="utf-8")


def test_records_are_judged_by_the_goldens_that_came_along(installed: Installed) -> None:
    records(installed.place / "mine", "4.46.3", 3.0)
    ended = installed.harness("report", "mine", "--json")
    assert ended.code == 1, ended.stderr
    assert "update.accumulation_gap" in ended.stderr
    assert (installed.place / "mine" / "report.html").is_file()


@pytest.mark.parametrize("words", [("run",), ("probe", "text"), ("golden", "check")])
def test_without_the_libraries_it_says_how_to_get_them(
    installed: Installed, words: tuple[str, ...]
) -> None:
    ended = installed.harness(*words)
    assert ended.code == 2
    assert "pass --stack reference" in ended.sentence
    assert list(installed.place.iterdir()) == []


def test_a_bisect_is_refused_before_anything_is_built(installed: Installed) -> None:
    for version in ("1.0", "1.1"):
        wheel(installed.place, "tiny", version, "")
    ended = installed.harness(
        *("bisect", "tiny", "--good", "1.0", "--bad", "2.0"),
        *("--metric", "text.rendered", "--wheels", "."),
    )
    assert ended.code == 2
    assert "2.0" in ended.sentence


def test_nothing_of_the_clone_is_on_the_path_of_what_it_starts(installed: Installed) -> None:
    code = "from harness.records.folders import import_root; print(import_root())"
    ended = installed.python("-c", code)
    root = Path(ended.stdout.strip())
    assert [p.name for p in root.iterdir()] == ["harness"]
    assert (root / "harness").resolve().is_relative_to(installed.environment.resolve())
    # Another interpreter finds the package there, and none of the environment's other packages.
    words = "import harness.cli, harness.records.folders as f; print(f.GOLDEN); import rich"
    other = subprocess.run(
        [sys.executable, "-S", "-c", words],
        env={"PYTHONPATH": str(root)},
        cwd=installed.place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert str(installed.environment.resolve()) in other.stdout + other.stderr
    assert "No module named" in other.stderr


FOREIGN = """\
import os
import sys
import pytest

def pytest_addoption(parser):
    for name in ("--model", "--data", "--device"):
        parser.addoption(name, default="mine")

@pytest.fixture
def context():
    return "my own"
"""
FOREIGN_TEST = """\
import os
import sys

def test_it(context, request):
    assert context == "my own"
    assert request.config.getoption("--model") == "mine"
    assert "OMP_NUM_THREADS" not in os.environ
    assert not [m for m in sys.modules if m.startswith("harness.") and m != "harness.pytest_plugin"]
"""


def test_pytest_loads_the_plugin_and_a_foreign_project_does_not_notice(
    environment: Path, tmp_path: Path
) -> None:
    uv(
        *("pip", "install", "--quiet", "--python", environment / "bin" / "python"),
        *("-c", as_here(tmp_path), "pytest", "pytest-xdist"),
    )
    (tmp_path / "conftest.py").write_text(FOREIGN)
    (tmp_path / "test_foreign.py").write_text(FOREIGN_TEST)
    project = Installed(environment, tmp_path)
    for words in ([], ["-n", "1"]):
        ended = project.python("-m", "pytest", "-W", "error", "--strict-markers", *words)
        assert ended.code == 0, ended.stdout + ended.stderr
        assert "1 passed" in ended.stdout
        assert "harness: stack" not in ended.stdout
    listing = project.python("-m", "pytest", "--help").stdout
    assert "--harness-model" in listing
    # Named as this repository's own options name it, it is the same plugin once.
    assert project.python("-m", "pytest", "-p", "harness.pytest_plugin").code == 0


# What a maintainer writes: nothing but the rungs, or the folder of records, that must be right.
MARKED = """\
import pytest
from harness.pytest_plugin import assert_no_unexpected

@pytest.mark.harness(records="{folder}")
def test_marked():
    pass

def test_by_hand(judgement_in):
    assert_no_unexpected(judgement_in("{folder}"))
"""


def with_pytest(environment: Path) -> None:
    """pytest in the wheel's environment, in the stack's version."""
    python = environment / "bin" / "python"
    versions = as_here(environment)
    uv("pip", "install", "--quiet", "--python", python, "-c", versions, "pytest", "pytest-xdist")


@pytest.mark.parametrize(
    ("rung", "gap", "passes", "says"),
    [
        # The collator's own size, by arithmetic (golden/expected/reference.json knows it).
        ("update", 3.0, False, "update.accumulation_gap"),
        # A metric that nothing is known of: red is nothing, judged is nothing.
        ("text", 0.0, False, "nothing was compared"),
    ],
)
def test_records_are_judged_in_anyones_pytest(
    environment: Path, tmp_path: Path, rung: str, gap: float, passes: bool, says: str
) -> None:
    with_pytest(environment)
    place = Provenance("mine", "m", "d", "cpu-x", "r", "s", {}, family="qwen2_vl")
    name = "accumulation_gap" if rung == "update" else "of_my_own"
    record = Record(rung, place, (Metric(rung, name, value=gap),), 1.0)
    write_record(record, tmp_path / "mine")
    (tmp_path / "test_mine.py").write_text(MARKED.format(folder="mine"))
    for words in ([], ["-n", "2"]):
        ended = Installed(environment, tmp_path).python("-m", "pytest", "--strict-markers", *words)
        assert (ended.code == 0) is passes, ended.stdout
        assert "2 failed" in ended.stdout or "1 failed, 1 error" in ended.stdout
        assert says in ended.stdout
        assert "INTERNALERROR" not in ended.stdout


def test_a_marker_that_cannot_measure_or_names_nothing_is_an_error(
    environment: Path, tmp_path: Path
) -> None:
    with_pytest(environment)
    project = Installed(environment, tmp_path)
    for mark, says in (
        ('harness("text")', "Nothing of what is measured is installed"),
        ("harness()", "names no rung"),
        ('harness("texts")', "There is no rung 'texts'"),
        ('harness(records="nowhere")', "holds no records"),
    ):
        text = f"import pytest\n@pytest.mark.{mark}\ndef test_it():\n    pass\n"
        (tmp_path / "test_it.py").write_text(text)
        ended = project.python("-m", "pytest", "--strict-markers")
        assert ended.code == 1, ended.stdout
        assert says in ended.stdout
        assert "passed" not in ended.stdout


MEASURED = """\
import pytest
from harness.pytest_plugin import assert_no_unexpected

@pytest.fixture
def context():
    return "my own"

@pytest.mark.harness("text", "ids")
def test_marked(context):
    assert context == "my own"

def test_by_hand(judgement_of):
    assert_no_unexpected(judgement_of("labels"))

def test_the_values(judged):
    assert judged("images")
"""


@pytest.mark.slow
def test_a_library_judges_itself_in_its_own_pytest(built: Path, tmp_path: Path) -> None:
    """A fresh environment of the reference stack and the wheel; then with a library that was
    edited there: the marker turns red at the rung, and says the finding."""
    environment = install(built, tmp_path / "env", "-r", str(LOCK), constraints=LOCK)
    place = tmp_path / "project"
    place.mkdir()
    (place / "test_mine.py").write_text(MEASURED)
    project = Installed(environment, place)
    ended = project.python("-m", "pytest")
    assert ended.code == 0, ended.stdout
    assert "3 passed" in ended.stdout
    assert "harness: reference" in ended.stdout
    (source,) = environment.glob("lib/python*/site-packages/transformers/processing_utils.py")
    edited = source.read_text() + (
        "\n_render = ProcessorMixin.apply_chat_template\n"
        "ProcessorMixin.apply_chat_template = "
        "lambda self, *a, **k: _render(self, *a, **k) + ' '\n"
    )
    source.unlink()  # hard links share their content with the cache
    source.write_text(edited)
    ended = project.python("-m", "pytest", "-k", "test_marked")
    assert ended.code == 1, ended.stdout
    assert "text.rendered" in ended.stdout


@pytest.fixture(scope="module")
def with_libraries(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in an environment that has this interpreter's libraries too."""
    folder = install(built, tmp_path_factory.mktemp("beside") / "env")
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (packages / "stack.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.mark.slow
def test_a_run_outside_the_clone(with_libraries: Path, tmp_path: Path) -> None:
    mine = Installed(with_libraries, tmp_path)
    ended = mine.harness("run", "--json")
    assert ended.code == 0, ended.stderr
    document = json.loads(ended.stdout)
    (run,) = (tmp_path / "reports").iterdir()
    assert document["run"] == run.name
    assert {"report.html", "run.json", "training", "text.json"} <= {p.name for p in run.iterdir()}
    provenance = json.loads((run / "text.json").read_text())["provenance"]
    # No checkout, so no commit; and it is the committed stack that was measured.
    assert provenance["commit"] == ""
    assert provenance["stack"] in {"reference", "latest"}


@pytest.mark.slow
def test_a_bisect_outside_the_clone(with_libraries: Path, tmp_path: Path) -> None:
    for number in range(5):
        source = "raise ImportError('broken release')\n" if number >= 3 else ""
        wheel(tmp_path, "qwen_vl_utils", f"1.{number}", source)
    ended = Installed(with_libraries, tmp_path).harness(
        *("bisect", "qwen-vl-utils", "--good", "1.0", "--bad", "1.4", "--base", "current"),
        *("--metric", "environment.imports.qwen_vl_utils", "--wheels", ".", "--json"),
    )
    assert ended.code == 0, ended.stderr
    document = json.loads(ended.stdout)
    (edge,) = document["findings"]["environment.imports.qwen_vl_utils"]["boundaries"]
    assert (edge["before"], edge["after"]) == ("1.2", "1.3")
    assert Path(document["out"]).parent == tmp_path / "reports"


@pytest.mark.slow
def test_a_stack_that_uv_builds_measures_with_the_installed_package(installed: Installed) -> None:
    ended = installed.harness("probe", "text", "--stack", "reference", "--out", "mine", "--json")
    assert ended.code == 0, ended.stderr
    record = json.loads((installed.place / "mine" / "text.json").read_text())
    assert record["provenance"]["stack"] == "reference"
    assert installed.harness("report", "mine").code == 0
