"""What the recipe's bare pins can import: nothing outside the closure of what they declare."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.records.failure import Failure

# Runs without the harness, as a user's first line would. argv[1] names the modules and
# distributions that no pin declares: here they look as if they were not installed at all.
SCRIPT = """
import gc, json, os, re, sys, traceback
# What imports make is no garbage: looking for some takes a fifth of their time.
gc.disable()
modules, names = map(set, json.loads(sys.argv[1]))
def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()
names = set(map(normalised, names))
class Declared:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in modules:
            return None
        return self.finder.find_spec(name, path, target)
    def find_distributions(self, *context):
        find = getattr(self.finder, "find_distributions", lambda *context: ())
        asked = [c.name for c in context if getattr(c, "name", None)]
        if asked:  # a folder's name says it; its metadata is a parsed message
            return iter(()) if normalised(asked[0]) in names else find(*context)
        return (d for d in find(*context) if normalised(d.metadata["Name"]) not in names)
sys.meta_path[:] = [Declared(finder) for finder in sys.meta_path]
answer = {}
try:
    exec(sys.argv[2])
except Exception as error:
    root = error
    while root.__cause__ or root.__context__:
        root = root.__cause__ or root.__context__
        if isinstance(root, ModuleNotFoundError):
            break
    frames = [f for f in traceback.extract_tb(root.__traceback__) if "/site-packages/" in f[0]]
    where = "unknown"
    if frames:
        where = frames[-1].filename.split("/site-packages/")[-1] + f":{frames[-1].lineno}"
    answer = {"type": type(root).__name__, "message": (str(root).splitlines() or [""])[0]}
    answer["where"] = where
print(json.dumps(answer), flush=True)
# To take all of it apart again takes a third as long as the imports took.
os._exit(0)
"""


def closure(names: Iterable[str]) -> frozenset[str]:
    """Distributions that installing these names would bring, by the installed metadata.

    Canonical names. Extras are not asked for; markers are evaluated for this interpreter.
    """
    seen: set[str] = set()
    todo = [(str(canonicalize_name(name)), frozenset[str]()) for name in names]
    visited = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in visited:
            continue
        visited.add((name, extras))
        seen.add(name)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:  # a marker of another platform, or not installed here
            continue
        for line in lines:
            wish = Requirement(line)
            chosen = [{"extra": extra} for extra in (*extras, "")]
            if wish.marker is None or any(wish.marker.evaluate(e) for e in chosen):
                todo.append((str(canonicalize_name(wish.name)), frozenset(wish.extras)))
    return frozenset(seen)


@cache
def undeclared(names: frozenset[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Installed (top-level modules, distributions) outside the names' closure, sorted."""
    declared = closure(names)
    owned = packages_distributions()
    outside = {
        owner
        for owners in owned.values()
        for owner in owners
        if str(canonicalize_name(owner)) not in declared
    }
    modules = (module for module, owners in owned.items() if set(owners) <= outside)
    return tuple(sorted(modules)), tuple(sorted(outside))


def run_bare(statement: str, names: Iterable[str]) -> Failure | None:
    """Execute a statement in a fresh interpreter that sees only the names' closure."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(undeclared(frozenset(names))), statement],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return Failure("ProcessDied", last[:500], f"exit {done.returncode}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return Failure(**answer) if answer else None
