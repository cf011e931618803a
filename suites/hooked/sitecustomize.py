"""In a child of the suites: what it would connect to beyond this machine is noted and refused."""

import os
import sys

_TO = os.environ.get("SUITES_NETWORK")
_HERE = ("127.", "::1", "localhost", "0.0.0.0", "::")


def is_here(host: object) -> bool:
    """Whether an address is this machine's own."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if not isinstance(text, str) or text in {"", os.uname().nodename}:
        return True
    return text.startswith(_HERE[0]) or text in _HERE[1:]


def host_of(event: str, words: tuple) -> object:
    """The host that a socket event names; None for what is no address of a network."""
    if event == "socket.getaddrinfo":
        return words[0]
    if event in {"socket.connect", "socket.sendto"} and isinstance(words[1], tuple):
        return words[1][0]
    return None


def _hook(event: str, words: tuple) -> None:
    if event.startswith("socket.") and not is_here(host_of(event, words)):
        with open(_TO, "a", encoding="utf-8") as notes:
            notes.write(f"{event} {host_of(event, words)} in {' '.join(sys.orig_argv)}\n")
        raise OSError(101, "The suites reach no network")


if _TO:
    sys.addaudithook(_hook)
