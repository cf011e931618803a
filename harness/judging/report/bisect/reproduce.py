"""The script that shows a bisect's answer again: both sides of every boundary, measured anew."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from harness.judging.bisect.answers import Bisection

# Rungs that train, in a comparison with the dropout masks that its sides share.
TRAINED = frozenset({"trajectory", "generation"})
# A relative path of the interpreter: the command is split at blanks, which a clone's path may hold.
HEAD = """\
#!/usr/bin/env bash
# Run in a clone of the harness, or where `python3` has it installed, with `uv` on the PATH; builds
# what a boundary's two releases need and prints what each shows. HARNESS is the command that
# measures: if it is not set, the clone's own, in the first of its environments that is there, or
# the installed one.
set -euo pipefail
python=python3
if [ -z "${HARNESS:-}" ]; then
  export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
  for python in .tox/main/bin/python .tox/cpu/bin/python python3 ''; do
    if [ -z "$python" ]; then
      echo "error: Run this in a clone of the harness after 'tox -e main', or set HARNESS." >&2
      exit 2
    fi
    if "$python" -c 'import harness.commands' 2>/dev/null; then break; fi
  done
  HARNESS="$python -m harness"
fi
"""


def script(bisection: Bisection) -> str:
    """A shell script that measures both sides of every boundary again, from a clone."""
    lines = [
        *HEAD.splitlines(),
        "out=$(mktemp -d)",
        "show='import json, sys; rung, finding = sys.argv[2:]; "
        'print([m["value"] if m["status"] == "OK" else m.get("failure") or m.get("reason") '
        'for m in json.load(open(f"{sys.argv[1]}/{rung}.json"))["metrics"] '
        'if ".".join(filter(None, [m["rung"], m["name"], m.get("case")])) == finding])\'',
    ]
    for finding, answer in bisection.findings.items():
        rung = finding.split(".", 1)[0]
        shared = bool(bisection.from_compare) and rung in TRAINED
        # Laid over `current`, no side has a stack's name to compare by.
        measured = _compared if shared and bisection.base != "current" else _probed
        for number, edge in enumerate(answer.boundaries):
            key = f'"$out"/{shlex.quote(finding)}-{number}'
            commands, folders = measured(bisection, edge.requirements, rung, key)
            releases = (edge.before, edge.after)
            for release, before, folder in zip(releases, commands, folders, strict=True):
                lines += [
                    f"echo {shlex.quote(f'{edge.package} {release}')}",
                    *before,
                    f'python3 -c "$show" {folder} {shlex.quote(rung)} {shlex.quote(finding)}',
                ]
    return "\n".join(lines) + "\n"


# What runs before each side is shown, and where its records then lie.
Steps = tuple[list[list[str]], list[str]]


def _probed(
    bisection: Bisection, requirements: Sequence[Sequence[str]], rung: str, key: str
) -> Steps:
    """Each side measured by itself."""
    options = shlex.join(bisection.options)
    commands, folders = [], []
    for side, asked in zip(("before", "after"), requirements, strict=True):
        folder = f"{key}-{side}"
        stack, before = _stacked(bisection, asked, f"{folder}-layer")
        commands.append([*before, f"{stack} --out {folder} {options} {shlex.quote(rung)}"])
        folders.append(folder)
    return commands, folders


def _compared(
    bisection: Bisection, requirements: Sequence[Sequence[str]], rung: str, key: str
) -> Steps:
    """Both sides of a training in one comparison, which gives them the same dropout masks."""
    sides = shlex.join(",".join([bisection.base, *asked]) for asked in requirements)
    options = shlex.join(["--rungs", rung, *bisection.options])
    # A difference is exit 1, and it is what is to be shown.
    both = f"$HARNESS compare {sides} --out {key} {options} || test $? -ne 2"
    return [[both], []], [f"{key}/old", f"{key}/new"]


def _stacked(bisection: Bisection, asked: Sequence[str], layer: str) -> tuple[str, tuple[str, ...]]:
    """The probe's command on the base with `asked`, and what must run before it.

    What came from a folder of wheels, or lies over `current`, is laid over the base as it was
    measured; else the varied stack is built by its name.
    """
    base = bisection.base
    if base != "current" and not bisection.wheels:
        return f"$HARNESS probe --stack {shlex.quote(','.join([base, *asked]))}", ()
    offline = ["--no-index", "--find-links", bisection.wheels] if bisection.wheels else []
    words = shlex.join(["--quiet", "--no-deps", *offline, *asked])
    path = f"PYTHONPATH={layer}${{PYTHONPATH:+:$PYTHONPATH}}"
    return (
        f"{path} $HARNESS probe --stack {shlex.quote(base)}",
        (f"uv pip install --python $python --target {layer} {words}",),
    )
