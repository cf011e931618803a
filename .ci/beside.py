"""The test command beside that of an earlier commit, over the tests that both have.

`python3 .ci/beside.py COMMIT PYTHON [--runs N]`, in a checkout; PYTHON: the reference stack's
(.tox/cpu/bin/python). Each side runs what its own tox.ini names, in turn, with the bytecode that
collecting its tests has left. Today's runs a test that has moved where it is now, every case of one
whose cases have other names, and none that is new. Keeps seconds and processor seconds of the whole
tree of processes, raw, in reports/beside.json. Standard library only.
"""

from __future__ import annotations

import argparse
import configparser
import datetime
import json
import os
import platform
import resource
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Leaves out the tests whose ids are not in the file; in a worker of pytest-xdist too.
PLUGIN = """
import os

def pytest_collection_modifyitems(config, items):
    wanted = set(open(os.environ["BESIDE"], encoding="utf-8").read().splitlines())
    config.hook.pytest_deselected(items=[i for i in items if i.nodeid not in wanted])
    items[:] = [i for i in items if i.nodeid in wanted]
"""


def name_of(test: str) -> str:
    """A test's name without its file."""
    return test.split("::", 1)[1]


def function_of(test: str) -> str:
    """A test's name without its file and its case."""
    return name_of(test).split("[", 1)[0]


def same_tests(earlier: Sequence[str], today: Sequence[str]) -> tuple[set[str], set[str]]:
    """(the tests of today that are an earlier one's, the earlier ones that are none of today's)."""
    by_name = {name_of(test): test for test in today}
    ids, functions = set(today), {function_of(test) for test in today}
    same, renamed, gone = set(), set(), set()
    for test in earlier:
        if test in ids:
            same.add(test)
        elif name_of(test) in by_name:
            same.add(by_name[name_of(test)])
        elif function_of(test) in functions:
            renamed.add(function_of(test))
        else:
            gone.add(test)
    return same | {test for test in today if function_of(test) in renamed}, gone


def command_of(folder: Path, python: Path) -> list[str]:
    """The test command as a checkout's own tox.ini has it."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(folder / "tox.ini")
    lines = [x for x in tox["testenv:cpu"]["commands"].splitlines() if x and x[0] != "#"]
    return [str(python), *shlex.split(lines[-1].replace("{posargs}", ""))[1:]]


def environment(folder: Path, more: Sequence[Path] = ()) -> dict[str, str]:
    """As tox gives it: what Python itself reads is left out, so that bytecode is kept."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "OMP_"))}
    path = os.pathsep.join(map(str, (folder, *more)))
    return {**kept, "PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false"}


def collected(folder: Path, python: Path) -> list[str]:
    """Ids of all tests that the command runs."""
    words = [str(python), "-m", "pytest", "suites/", "-m", "not slow", "--collect-only"]
    done = subprocess.run(
        words, cwd=folder, env=environment(folder), capture_output=True, text=True, check=True
    )
    return [line for line in done.stdout.splitlines() if "::" in line]


def timed(command: Sequence[str], folder: Path, variables: dict[str, str]) -> dict[str, Any]:
    """Run it: wall seconds, processor seconds of all its processes, exit code, pytest's last
    line, the machine's load when it ended."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": round(time.monotonic() - started, 1),
        "user_seconds": round(after.ru_utime - before.ru_utime, 1),
        "system_seconds": round(after.ru_stime - before.ru_stime, 1),
        "code": done.returncode,
        "said": (done.stdout.strip().splitlines() or [""])[-1],
        "load": round(os.getloadavg()[0], 1),
    }


def measure(commit: str, python: Path, runs: int) -> dict[str, Any]:
    """Both sides in turn, `runs` times each."""
    with tempfile.TemporaryDirectory() as place:
        old, new, wanted = (Path(place) / name for name in ("old", "new", "wanted"))
        for folder, at in ((old, commit), (new, "HEAD")):
            subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
            subprocess.run(["git", "checkout", "-q", at], cwd=folder, check=True)
        of_old, of_new = collected(old, python), collected(new, python)
        same, gone = same_tests(of_old, of_new)
        wanted.write_text("\n".join(sorted(same)) + "\n", encoding="utf-8")
        (Path(place) / "beside_plugin.py").write_text(PLUGIN, encoding="utf-8")
        files = sorted({test.split("::")[0] for test in same})
        # In its place: an option of suites/conftest.py is known where the folder came before it.
        command = command_of(new, python)
        place_of = command.index("suites/")
        command[place_of : place_of + 1] = ["-p", "beside_plugin", *files]
        sides = {
            "earlier": (command_of(old, python), old, environment(old)),
            "today": (command, new, environment(new, [Path(place)]) | {"BESIDE": str(wanted)}),
        }
        samples: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        for _ in range(runs):
            for name, side in sides.items():
                samples[name].append(timed(*side))
                print(name, json.dumps(samples[name][-1]), flush=True)
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=new, capture_output=True, text=True, check=True
        ).stdout.strip()
    version = platform.python_version()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {version}",
        "commits": {"earlier": commit, "today": head},
        "tests": {
            "earlier": len(of_old),
            "today": len(same),
            "gone": sorted(gone),
            "new": len(set(of_new) - same),
        },
        "samples": samples,
    }


def ratio(measured: dict[str, Any]) -> float:
    """Processor seconds of today's runs over the earlier ones', all runs together."""

    def seconds(name: str) -> float:
        each = measured["samples"][name]
        return sum(s["user_seconds"] + s["system_seconds"] for s in each) / len(each)

    return seconds("today") / seconds("earlier")


def main() -> None:
    """Measure and keep the samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("python", type=Path)
    parser.add_argument("--runs", type=int, default=2)
    given = parser.parse_args()
    # In the background of a shell it is ignored, here and by whatever a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    measured = measure(given.commit, given.python.absolute(), given.runs)
    kept = ROOT / "reports" / "beside.json"
    kept.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    print(f"{ratio(measured):.2f}")


if __name__ == "__main__":
    main()
