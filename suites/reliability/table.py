"""TABLE.md from the figures of large runs: `python -m suites.reliability.table`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.records.files import read_object, write_atomically, write_json
from harness.records.typed import build
from suites.reliability.counts import LARGE

HERE = Path(__file__).parent
FIGURES, TABLE = HERE / "figures.json", HERE / "TABLE.md"
MEND = "run the battery again"


@dataclass
class Line:
    """One test function. cases: tests of it that ran. tried: what they tried inside, where they
    count that. seconds: wall time. large: whether these are the large counts."""

    cases: int = 0
    tried: int = 0
    failed: int = 0
    seconds: float = 0.0
    large: bool = LARGE

    @property
    def number(self) -> int:
        """How often it tried."""
        return max(self.tried, self.cases)


def read(path: Path = FIGURES) -> dict[str, Line]:
    """Figures by test function, `<file>::<name>`."""
    return {name: build(Line, raw) for name, raw in read_object(path, MEND).items()}


def merged(path: Path, ran: Mapping[str, Line]) -> None:
    """Put a session's figures in place of earlier ones of the same functions."""
    known = read(path) if path.is_file() else {}
    lines = sorted({**known, **ran}.items())
    write_json(path, {name: {**asdict(x), "seconds": round(x.seconds, 1)} for name, x in lines})


def words(function: str) -> tuple[str, str]:
    """(part, what the test says) of a function."""
    file, _, name = function.partition("::test_")
    return file.removeprefix("test_").removesuffix(".py").replace("_", " "), name.replace("_", " ")


def table(lines: Mapping[str, Line]) -> str:
    """The battery's figures as a Markdown table; generated, never edited."""
    rows = [
        f"| {' | '.join(words(name))} | {line.number:,} | {line.failed} | {line.seconds:.1f} |"
        for name, line in lines.items()
    ]
    total, failed = sum(x.number for x in lines.values()), sum(x.failed for x in lines.values())
    small = sum(not line.large for line in lines.values())
    counts = "the large counts" if not small else f"{small} of them with the small counts"
    return "\n".join(
        [
            "# What the battery of faults tried",
            "",
            "Written by `python -m suites.reliability.table` from `figures.json`, which "
            f"`tox -e reliability` fills: {total:,} tries, {failed} tests failed, {counts}.",
            "",
            "| part | test | tried | failed | seconds |",
            "|---|---|---:|---:|---:|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    write_atomically(TABLE, table(read()).encode("utf-8"))
