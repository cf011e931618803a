"""What a stack is by its content: its name in records, and requirements that never change again."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from harness.errors import BadInput
from harness.judging.environments.checkout import Checkout, copied, read_checkout
from harness.judging.environments.given import digest_of
from harness.judging.environments.installed import installed_stack
from harness.judging.environments.references import at_address, at_commit
from harness.judging.environments.stack import DIGEST, Stack, parse


@dataclass(frozen=True)
class Identified:
    """A stack at this moment. stack: whose requirements name contents and commits. label: what
    records call it. checkouts: to be copied before anything is built. digest: of a user's own."""

    stack: Stack
    label: str
    checkouts: tuple[Checkout, ...] = ()
    digest: str = ""

    def made_ready(self) -> Stack:
        """The stack, its checkouts copied to where they are built from."""
        for checkout in self.checkouts:
            copied(checkout)
        return self.stack


def identified(text: str) -> Identified:
    """What a stack's words mean now. Raises BadInput where they name a content, by its digest,
    that is no longer there."""
    stack = parse(text)
    if stack.source:
        digest = digest_of(stack.name, stack.source)
        _same(text, digest, stack.source)
        return Identified(stack, f"{stack.label}#{digest}", digest=digest)
    name, *items = re.split(r",(?!\s*[<>=!~])", text)
    requirements, labels, checkouts = [], [name], []
    for item, requirement in zip(items, stack.requirements, strict=True):
        wish = _url_of(requirement)
        if wish is None:
            requirements.append(requirement)
            labels.append(item)
        elif (wish.url or "").startswith("git+"):
            requirements.append(at_commit(requirement))
            labels.append(requirements[-1])
        else:
            folder = Path(unquote(urlsplit(wish.url or "").path))
            checkout = read_checkout(folder, wish.name)
            _same(item, checkout.digest, str(folder))
            requirements.append(at_address(wish, checkout.copy.as_uri()))
            labels.append(f"{folder}#{checkout.digest}")
            checkouts.append(checkout)
    frozen = replace(stack, requirements=tuple(requirements))
    return Identified(frozen, ",".join(labels), tuple(checkouts))


def stack_label(text: str) -> str:
    """A stack as records name it: of `current`, the committed one that is installed; what may
    change under its name carries a digest of its content, or the commit."""
    return installed_stack() if text == "current" else identified(text).label


def _url_of(requirement: str) -> Requirement | None:
    """A requirement that names an address, None for any other and for a wheel's path."""
    try:
        wish = Requirement(requirement)
    except InvalidRequirement:
        return None
    return wish if wish.url else None


def _same(item: str, digest: str, what: str) -> None:
    named = DIGEST.search(item.strip())
    if named and named[0] != f"#{digest}":
        raise BadInput(
            f"{what} was {named[0]} when that was written and is #{digest} now; go back to that "
            "content, or leave the digest out to judge the new one."
        )
