"""The README's figures: what is counted, and how the table says it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Linux' /proc/net/dev: two header lines, then one interface a line, received bytes first.
COUNTERS = """\
Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame |bytes    packets errs
    lo: 282556122   32475    0    0    0     0  282556122  32475   0
  eth0: 3000000000 1815262    0    0    0     0  50466741 505358   0
 wlan0:7 1    0    0    0     0  9 1   0
"""


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures", ROOT / ".ci" / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_received_bytes_leave_the_loopback_out(figures: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "dev").write_text(COUNTERS)
    assert figures.received(tmp_path / "dev") == 3_000_000_007


def test_the_readme_holds_the_table_of_the_samples(figures: ModuleType) -> None:
    samples = json.loads((ROOT / "reports" / "figures.json").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{figures.START}\n{figures.table(samples)}\n{figures.END}" in readme


def test_the_table_says_bytes_apart_from_time_and_the_largest_process(figures: ModuleType) -> None:
    def sample(seconds: float, gigabytes: float) -> list[dict[str, object]]:
        return [{"seconds": seconds, "code": 0, "peak_bytes": gigabytes * 1e9, "tail": ""}]

    measurements = {
        "date": "2026-01-02T03:04:05+00:00",
        "machine": "2 cores",
        "received_bytes": 2_900_000_000,
        "unpacked_cache_bytes": 6_100_000_000,
        "samples": {
            "install_cold": sample(40, 0.2),
            "install_second": sample(2, 0.2),
            "main": sample(100, 1.9),
            "cpu": [*sample(80, 2.3), *sample(90, 2.3)],
        },
    }
    text = figures.table(measurements)
    assert "| install, nothing cached (2.9 GB received, 6.1 GB unpacked) | 40 s | 0 |" in text
    assert "| test suites, warm | 85 s (80–90, n=2) | 0 |" in text
    assert "largest process 2.3 GB" in text
    assert "Measured 2026-01-02 on 2 cores" in text
