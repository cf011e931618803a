"""What the tests of stacks share."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from typing import Any


class FakeUv:
    """Stands in for uv: records its calls, makes the interpreter, answers a resolution."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.fail = ""

    def __call__(self, command: list[str], **options: Any) -> Any:
        done = namedtuple("Done", "returncode stderr")
        words = tuple(command[1:])
        self.calls.append(words)
        if self.fail and words[:2] == ("pip", "install"):
            return done(1, self.fail)
        if words[0] == "venv":
            (Path(words[-1]) / "bin").mkdir(parents=True)
            (Path(words[-1]) / "bin" / "python").write_text("")
        if words[:2] == ("pip", "compile"):
            Path(words[-1]).write_text("transformers==4.49.0\n")
        return done(0, "")

    def verbs(self) -> list[str]:
        return [words[0] if words[0] == "venv" else words[1] for words in self.calls]
