"""A verdict for other tools, beside what a person sees: `--junit`, `--summary`, and what the
environment of a CI system asks for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness.commands._screen import Command
from harness.errors import BadInput
from harness.judging.report.ci.annotations import commands
from harness.judging.report.ci.junit import junit
from harness.judging.report.ci.markdown import markdown
from harness.judging.report.ci.outcomes import Verdicts
from harness.records.disk import disk_refused
from harness.records.files import write_atomically
from harness.records.folders import whole

# GitHub's runner names a file for a step's Markdown, and says that it is one.
SUMMARY, RUNNER = "GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"


@dataclass(frozen=True)
class Outputs:
    """Where a verdict is written to besides the page; None where it was not asked for."""

    junit: Path | None = None
    summary: Path | None = None

    def check(self) -> None:
        """Raises BadInput before anything is measured for a file that cannot be written."""
        if self.junit and self.summary and whole(self.junit) == whole(self.summary):
            raise BadInput(f"--junit and --summary both name {self.junit}; name two files.")
        named = os.environ.get(SUMMARY)
        asked = {"--junit": self.junit, "--summary": self.summary}
        asked[f"${SUMMARY}"] = Path(named) if named else None
        for option, path in asked.items():
            if path is None:
                continue
            # What is appended to a terminal is read there; a pipe may have no reader, and waits.
            takes = path.is_file() or (option.startswith("$") and path.is_char_device())
            if (path.exists() and not takes) or not path.parent.is_dir():
                raise BadInput(f"{option} {path} is no file in a folder that is there; name one.")

    def write(self, verdicts: Verdicts, screen: Console) -> None:
        """All that was asked for, by options or by the environment."""
        if self.junit is not None:
            write_atomically(self.junit, junit(verdicts))
        text = markdown(verdicts)
        if self.summary is not None:
            write_atomically(self.summary, text.encode())
        if named := os.environ.get(SUMMARY):
            with disk_refused(), Path(named).open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")
        if os.environ.get(RUNNER) == "true":
            for line in commands(verdicts):
                screen.print(Command(line), soft_wrap=True)


def outputs_to(junit: Path | None, summary: Path | None) -> Outputs:
    """What `--junit` and `--summary` say. Raises BadInput for a file that cannot be written."""
    outputs = Outputs(junit, summary)
    outputs.check()
    return outputs
