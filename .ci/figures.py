"""Time the README's two commands and write their figures into it.

`python3 .ci/figures.py [--runs N]`, in a checkout: clones it into an empty folder, runs each
command cold (an empty uv cache) once and warm N times, keeps the raw samples in
reports/figures.json and rewrites the README's table between its markers. Standard library only.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- figures: written by .ci/figures.py -->", "<!-- /figures -->"
SETUP = 'python3 -m venv .venv && .venv/bin/pip install --quiet "tox>=4.18" "tox-uv>=1.16"'


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def received(counters: Path = Path("/proc/net/dev")) -> int:
    """Bytes that came over every network interface but the loopback since the machine started.

    Whatever else the machine fetches counts too: measure while it fetches nothing.
    """
    total = 0
    for line in counters.read_text(encoding="ascii").splitlines()[2:]:
        name, _, numbers = line.partition(":")
        if name.strip() != "lo":
            total += int(numbers.split()[0])
    return total


def timed(command: str, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run a shell command; wall seconds, exit code, largest resident set so far (bytes)."""
    started = time.monotonic()
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, check=False
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {
        "seconds": round(time.monotonic() - started, 1),
        "code": done.returncode,
        "peak_bytes": peak,
        "tail": done.stdout.decode(errors="replace")[-300:] if done.returncode else "",
    }


def measure(runs: int) -> dict[str, Any]:
    """Cold and warm samples of both commands in a fresh clone."""
    with tempfile.TemporaryDirectory() as place:
        clone, cache = Path(place) / "clone", Path(place) / "cache"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        environment = {**os.environ, "UV_CACHE_DIR": str(cache), "UV_LINK_MODE": "hardlink"}
        before = received()
        install = timed(f"{SETUP} && .venv/bin/tox -q -e main --notest", clone, environment)
        came, unpacked = received() - before, size(cache)
        samples: dict[str, Any] = {"install_cold": [install]}
        samples["install_second"] = [timed(".venv/bin/tox -q -e cpu --notest", clone, environment)]
        for name in ("main", "cpu"):
            command = f".venv/bin/tox -q -e {name}"
            samples[name] = [timed(command, clone, environment) for _ in range(runs)]
    python = platform.python_version()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {python}",
        "received_bytes": came,
        "unpacked_cache_bytes": unpacked,
        "samples": samples,
    }


def table(figures: dict[str, Any]) -> str:
    """The README's table from the raw samples."""

    def wall(name: str) -> str:
        values = [s["seconds"] for s in figures["samples"][name]]
        span = f" ({min(values):.0f}–{max(values):.0f}, n={len(values)})" if len(values) > 1 else ""
        return f"{statistics.median(values):.0f} s{span}"

    def codes(name: str) -> str:
        return ", ".join(sorted({str(s["code"]) for s in figures["samples"][name]}))

    rows = [
        "| step | wall time | exit code |",
        "|---|---|---|",
        f"| install, nothing cached ({figures['received_bytes'] / 1e9:.1f} GB received, "
        f"{figures['unpacked_cache_bytes'] / 1e9:.1f} GB unpacked) | "
        f"{wall('install_cold')} | {codes('install_cold')} |",
        f"| second environment, same lock | {wall('install_second')} | {codes('install_second')} |",
        f"| main job, warm | {wall('main')} | {codes('main')} |",
        f"| test suites, warm | {wall('cpu')} | {codes('cpu')} |",
    ]
    peak = max(s["peak_bytes"] for samples in figures["samples"].values() for s in samples)
    return "\n".join(
        [
            *rows,
            "",
            f"Measured {figures['date'][:10]} on {figures['machine']}; largest process "
            f"{peak / 1e9:.1f} GB; raw samples in `reports/figures.json`.",
        ]
    )


def main() -> None:
    """Measure, keep the samples, rewrite the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    figures = measure(parser.parse_args().runs)
    (ROOT / "reports" / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    readme.write_text(f"{before}{START}\n{table(figures)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
