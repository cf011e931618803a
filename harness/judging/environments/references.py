"""Git references of a requirement, as `trl @ git+https://…@main`: held at the commit they name."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache

from packaging.requirements import Requirement

from harness.errors import BadInput

COMMIT = re.compile(r"[0-9a-f]{40}")
# In the order in which git itself looks; an annotated tag is the commit that it points at.
PLACES = ("refs/tags/{}^{{}}", "refs/tags/{}", "refs/heads/{}", "{}")
TIMEOUT_S = 120


@dataclass(frozen=True)
class Address:
    """`git+URL[@REF][#FRAGMENT]` apart. reference: '' is the remote's HEAD."""

    url: str
    reference: str
    fragment: str

    def at(self, commit: str) -> str:
        """The same at a commit."""
        return f"git+{self.url}@{commit}{f'#{self.fragment}' if self.fragment else ''}"


def address_of(url: str) -> Address:
    """The parts of a `git+…` URL."""
    plain, _, fragment = url.removeprefix("git+").partition("#")
    # An @ before the path is a user's name: git+ssh://git@github.com/…
    start = plain.find("/", plain.find("://") + 3 if "://" in plain else 0)
    place, at, reference = plain[start:].rpartition("@")
    return Address(plain[:start] + place if at else plain, reference if at else "", fragment)


def at_commit(requirement: str) -> str:
    """The requirement at the commit that its reference names now.

    Raises BadInput where the repository cannot be asked or has no such branch or tag.
    """
    wish = Requirement(requirement)
    address = address_of(wish.url or "")
    commit = address.reference
    if not COMMIT.fullmatch(commit):
        commit = _commit(address.url, address.reference or "HEAD")
    return at_address(wish, address.at(commit))


def at_address(wish: Requirement, url: str) -> str:
    """The requirement at another address, written alike by every release of packaging."""
    extras = f"[{','.join(sorted(wish.extras))}]" if wish.extras else ""
    marker = f" ; {wish.marker}" if wish.marker else ""
    return f"{wish.name}{extras} @ {url}{marker}"


@cache
def _commit(url: str, reference: str) -> str:
    """The commit of a remote's reference. Asked once: a command sees one commit."""
    try:
        answer = subprocess.run(
            ["git", "ls-remote", "--", url],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            # A question for a password would wait for ever.
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
        )
    except FileNotFoundError as error:
        raise BadInput("git is missing; install it to judge a git reference.") from error
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"{url} did not answer within {TIMEOUT_S} s; check the network.") from error
    if answer.returncode:
        why = (answer.stderr.strip().splitlines() or ["no answer"])[-1]
        raise BadInput(f"{url} cannot be asked for {reference} ({why}); check the address.")
    lines = [line.partition("\t") for line in answer.stdout.splitlines()]
    commits = {name: commit for commit, _, name in lines}
    for place in PLACES:
        if place.format(reference) in commits:
            return commits[place.format(reference)]
    raise BadInput(
        f"{url} has no branch or tag {reference!r}; a commit is written with all its 40 hex digits."
    )
