"""What came of comparing a stack with itself: the committed record, and its sentences on a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.records.folders import GOLDEN
from harness.records.record import RUNGS
from harness.records.seals import read_sealed, write_sealed
from harness.records.typed import build
from suites.same.circumstances import NATIVE, Circumstance, drawn

# History: 1 (2026-11) first format: one commit, that of the first measurement. 2 (2026-11) every
# measurement's own.
SCHEMA = 2
MEND = "measure again with `python -m suites.same FOLDER`"
PAGE = GOLDEN / "power" / "README.md"
END = "<!-- end of same -->"


@dataclass(frozen=True)
class Compared:
    """Two measurements of one stack. old, new: names of circumstances. values: how many were
    compared. alarms: every finding, and what was lost or missing."""

    old: str
    new: str
    values: int
    exit_code: int
    alarms: tuple[str, ...]


@dataclass(frozen=True)
class Same:
    """All of them. versions: of the libraries, by stack. seconds: what measuring took by the wall
    clock, beside other work. commits: by commit of the harness the circumstances that it measured,
    a `+` for edits that it did not have; those of which none was kept stand in none."""

    seed: int
    device_key: str
    cpu: str
    cores: int
    commits: Mapping[str, tuple[str, ...]]
    created: str
    seconds: float
    versions: Mapping[str, Mapping[str, str]]
    circumstances: tuple[Circumstance, ...]
    compared: tuple[Compared, ...]
    schema: int = SCHEMA

    @property
    def alarms(self) -> int:
        """How many comparisons are not silent."""
        return sum(bool(one.alarms) or one.exit_code != 0 for one in self.compared)


def same_path(device_key: str, root: Path = GOLDEN) -> Path:
    """Beside the device's power tables."""
    return root / "power" / device_key / "same.json"


def write(same: Same, path: Path) -> None:
    """Sealed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, asdict(same))


def read(path: Path) -> Same:
    """Raises BadInput naming a file that is malformed, Damaged one that was edited."""
    return build(Same, read_sealed(path, MEND))


def sharing(circumstances: tuple[Circumstance, ...]) -> tuple[tuple[str, str], ...]:
    """Every two of one stack with a rung in common, by name."""
    return tuple(
        (one.name, other.name)
        for i, one in enumerate(circumstances)
        for other in circumstances[i + 1 :]
        if one.stack == other.stack and {*one.rungs} & {*other.rungs}
    )


def section(same: Same) -> str:
    """What the page says of a record, between its marks."""
    of = same.circumstances
    values = [one.values for one in same.compared]
    kinds = sorted({one.kernels for one in of} - {NATIVE})
    emulated = sum(one.kernels != NATIVE for one in of)
    rungs = sorted({RUNGS.index(rung) for one in of for rung in one.rungs})
    alarms = [one for one in same.compared if one.alarms or one.exit_code]
    lines = [
        _begin(same.device_key),
        f"{len(same.compared)} A/A comparisons, {same.alarms} false alarms "
        f"({min(values)} to {max(values)} values each): {len(of)} measurements of "
        f"{' and '.join(sorted({one.stack for one in of}))} on the stand-in, rungs "
        f"{rungs[0]} to {rungs[-2]} and {rungs[-1]}, every two of a stack over the rungs that both "
        f"have. Drawn from seed {same.seed} before measuring: "
        f"{len({one.rungs for one in of})} subsets and orders of rungs in one process, "
        f"{_words(one.threads for one in of)} threads, time zones "
        f"{_words(one.zone for one in of)}, locales {_words(one.locale for one in of)}, "
        f"{len({one.folder for one in of})} kinds of folder (long, linked, not ASCII), a "
        f"PYTHONHASHSEED each. In {emulated} of them another CPU kind is *emulated*: the "
        f"libraries' kernels held to {' or '.join(kinds)} by their own variables, on this "
        f"{same.device_key} ({same.cpu}); no machine of another kind was there.",
    ]
    lines.append(measured_at(same))
    missing = [one.name for one in drawn(same.seed) if one not in of]
    if missing:
        lines.append(f"Drawn too, and for want of time not measured: {', '.join(missing)}.")
    lines += [f"- {one.old} → {one.new}: {', '.join(one.alarms)}" for one in alarms]
    return "\n".join([*lines, END])


def measured_at(same: Same) -> str:
    """Which commit's code was measured, as a sentence."""
    known = {name for names in same.commits.values() for name in names}
    left = [one.name for one in same.circumstances if one.name not in known]
    if len(same.commits) == 1 and not left:
        return f"All measured at {next(iter(same.commits))}."
    counts = [f"{commit} ({', '.join(names)})" for commit, names in same.commits.items()]
    rest = f"; of the other {len(left)} no commit was kept, and they are of several" if left else ""
    return f"Measured at {', '.join(counts)}{rest}: not one code on both sides of each."


def _words(values: object) -> str:
    words = sorted({str(value) for value in values})  # type: ignore[attr-defined]
    return ", ".join(words[:-1]) + f" and {words[-1]}"


def _begin(device_key: str) -> str:
    return f"<!-- same on {device_key}: written by suites.same -->"


def on_page(text: str, same: Same) -> str:
    """The page with a kind of machine's section in the place of its last one, or at the end."""
    return placed(text, _begin(same.device_key), section(same), END)


def placed(text: str, begin: str, written: str, end: str) -> str:
    """The page with a section, from its mark `begin` to `end`, in the place of the last one with
    that beginning, or at the end."""
    if begin not in text:
        return f"{text.rstrip()}\n\n{written}\n"
    head, _, rest = text.partition(begin)
    return head + written + rest.partition(end)[2]
