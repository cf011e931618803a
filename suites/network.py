"""Tests of the CPU suites connect to nothing but this machine; builds may ask the package index.

Every test that is not slow runs under a hook that refuses and notes what would leave the machine,
in its own process and in the Python children that it starts. A library that swallows the refusal
is found all the same: the test fails by the note.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from suites.hooked import sitecustomize

HOOKED = Path(sitecustomize.__file__).parent
VARIABLE = "SUITES_NETWORK"
_NOTES: list[str] = []
_WATCHING = [False]


def _hook(event: str, words: tuple[Any, ...]) -> None:
    if not _WATCHING[0] or not event.startswith("socket."):
        return
    host = sitecustomize.host_of(event, words)
    if not sitecustomize.is_here(host):
        _NOTES.append(f"{event} {host}")
        raise OSError(101, "The suites reach no network")


def watch() -> None:
    """Once a process: an audit hook can never be taken away again."""
    sys.addaudithook(_hook)


def taken_back() -> list[str]:
    """What was noted so far, forgotten: for tests of this hook."""
    path = Path(os.environ[VARIABLE])
    noted = [*_NOTES]
    _NOTES.clear()
    if path.is_file():
        noted += path.read_text().splitlines()
        path.unlink()
    return noted


@pytest.fixture(autouse=True)
def no_network(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fails a test that is not slow where something of it left the machine."""
    if request.node.get_closest_marker("slow") is not None:
        yield
        return
    path = os.pathsep.join(filter(None, [str(HOOKED), os.environ.get("PYTHONPATH", "")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(tmp_path_factory.getbasetemp() / "network"))
        patch.setenv("PYTHONPATH", path)
        _NOTES.clear()
        _WATCHING[0] = True
        try:
            yield
        finally:
            _WATCHING[0] = False
        noted = taken_back()
    assert not noted, noted
