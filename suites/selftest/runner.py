"""A composite action's own steps, run as GitHub's runner runs them, without a container.

Source: GitHub's documentation of the metadata syntax of actions, of workflow commands, and of the
variables that a runner sets. Only the expressions that the actions here use are known; any other
fails the test.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from suites.commands import ROOT

ACTIONS = ROOT / ".github" / "actions"
# What `shell: bash` stands for.
SHELL = ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail")
_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
_CONDITION = re.compile(r"(\S+)\s*(==|!=)\s*'([^']*)'")


def action(name: str) -> dict[str, Any]:
    """The action's metadata."""
    read: dict[str, Any] = yaml.safe_load((ACTIONS / name / "action.yml").read_text("utf-8"))
    return read


@dataclass
class Runner:
    """place: the working folder. temp: RUNNER_TEMP. path: put before PATH. variables: of the job.
    steps: outputs by step. said: all that was printed."""

    name: str
    place: Path
    temp: Path
    path: list[str] = field(default_factory=list)
    variables: Mapping[str, str] = field(default_factory=dict)
    steps: dict[str, dict[str, str]] = field(default_factory=dict)
    said: str = ""

    def run(self, **given: str) -> int:
        """The exit code of the step that failed, else 0; what comes after it is left out."""
        metadata = action(self.name)
        known = metadata["inputs"]
        assert set(given) <= set(known), "an input that the action does not have"
        inputs = {name: given.get(name, each.get("default", "")) for name, each in known.items()}
        needed = {name for name, each in known.items() if each.get("required")}
        assert needed <= set(given), "an input that is required"
        for step in metadata["runs"]["steps"]:
            if "if" in step and self._filled(step["if"], inputs) != "true":
                continue
            code = self._step(step, inputs)
            if code:
                return code
        return 0

    def outputs(self) -> dict[str, str]:
        """What the action gives to the workflow."""
        outputs = action(self.name).get("outputs", {})
        return {name: self._filled(each["value"], {}) for name, each in outputs.items()}

    def _step(self, step: Mapping[str, Any], inputs: Mapping[str, str]) -> int:
        assert step["shell"] == "bash"
        files = {name: self.temp / f"github_{name.lower()}" for name in ("OUTPUT", "PATH", "ENV")}
        for file in files.values():
            file.write_text("")
        script = self.temp / "step.sh"
        script.write_text(step["run"], encoding="utf-8")
        own = {name: self._filled(text, inputs) for name, text in step.get("env", {}).items()}
        done = subprocess.run(
            [*SHELL, str(script)],
            cwd=self.place,
            env={
                **os.environ,
                **self.variables,
                "PATH": os.pathsep.join([*self.path, os.environ["PATH"]]),
                "RUNNER_TEMP": str(self.temp),
                **{f"GITHUB_{name}": str(file) for name, file in files.items()},
                **own,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.said += done.stdout
        lines = files["OUTPUT"].read_text("utf-8").splitlines()
        if "id" in step:
            self.steps[step["id"]] = dict(line.split("=", 1) for line in lines)
        self.path[:0] = files["PATH"].read_text("utf-8").splitlines()
        return done.returncode

    def _filled(self, text: str, inputs: Mapping[str, str]) -> str:
        """A text with its expressions' values in their places."""
        return _EXPRESSION.sub(lambda match: self._value(match[1], inputs), text)

    def _value(self, expression: str, inputs: Mapping[str, str]) -> str:
        if condition := _CONDITION.fullmatch(expression):
            equal = self._value(condition[1], inputs) == condition[3]
            return str(equal == (condition[2] == "==")).lower()
        match expression.split("."):
            case ["inputs", name]:
                return self._filled(inputs[name], inputs)
            case ["steps", step, "outputs", name]:
                return self.steps.get(step, {}).get(name, "")
            case ["github", "action_path"]:
                return str(ACTIONS / self.name)
            case ["github", "token"]:
                return "token-of-the-job"
        raise AssertionError(f"an expression that this runner does not know: {expression}")
