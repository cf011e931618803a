"""The hook that every test runs under sees what would leave this machine, and lets the rest be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from suites import network
from suites.hooked.sitecustomize import is_here

OUTSIDE = ["192.0.2.1", "2001:db8::1", "example.invalid", b"example.invalid"]
HERE = ["127.0.0.1", "127.1.2.3", "::1", "localhost", "", None]
CONNECT = "import socket; s = socket.socket(); s.settimeout(1); s.connect(({host!r}, 9))"


@pytest.mark.parametrize("host", OUTSIDE, ids=str)
def test_a_name_or_address_elsewhere_is_refused_and_noted(host: str | bytes) -> None:
    assert not is_here(host)
    with pytest.raises(OSError, match="reach no network"):
        socket.getaddrinfo(host, 80)
    if isinstance(host, str) and host != "example.invalid":
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with (
            socket.socket(family) as mine,
            pytest.raises(OSError, match="reach no network"),
        ):
            mine.connect((host, 9))
    assert network.taken_back()


@pytest.mark.parametrize("host", HERE, ids=str)
def test_this_machine_may_be_asked(host: str | None) -> None:
    assert is_here(host)
    server = socket.create_server(("127.0.0.1", 0))
    with server, socket.create_connection(server.getsockname()):
        pass
    assert not network.taken_back()


def test_a_child_is_watched_too(tmp_path: Path) -> None:
    """Its own error may be swallowed; the note of it is not."""
    done = subprocess.run(
        [sys.executable, "-c", CONNECT.format(host="192.0.2.1")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "reach no network" in done.stderr
    (note,) = network.taken_back()
    assert note.startswith("socket.connect 192.0.2.1 in ")
    unwatched = {k: v for k, v in os.environ.items() if k != network.VARIABLE}
    quiet = [sys.executable, "-c", "import socket; socket.socket().close()"]
    subprocess.run(quiet, env=unwatched, check=True)
