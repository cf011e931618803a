"""What a comparison tells its reader: groups of findings and their effects. No markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.judging.compare.comparison import Comparison, Finding
from harness.judging.compare.pairs import Pair
from harness.judging.compare.patterns import bucket, pattern
from harness.judging.compare.register import Change
from harness.judging.goldens.values import distance
from harness.judging.workers.measure import DIED, HANGS
from harness.records.failure import Failure
from harness.records.record import PROBE, Status, Verdict
from harness.records.typed import Json

# Values that say how large an effect is, with the words for them, in the order of reading.
EFFECTS = (
    ("forward.loss.right", "loss of a batch, padded right"),
    ("forward.loss.left", "loss of a batch, padded left"),
    ("update.gradient_norm", "gradient norm of a step"),
    ("update.accumulation_gap", "accumulated gradient off its batch's, relative"),
    ("trajectory.loss_drop", "fall of the loss over the short training"),
    ("generation.rouge_l.tuned.greedy", "ROUGE-L of the tuned model"),
    ("cost.flops.forward.four", "FLOPs of a forward pass"),
    ("cost.flops.step_checkpointed.four", "FLOPs of a training step"),
    ("model.held_bytes.model", "bytes held by the weights"),
)
SLICE = 9
WARNINGS = "interface.warnings"


@dataclass(frozen=True)
class Group:
    """Findings told together: one change's, or unknown ones that move together, and what follows.
    pattern: of unknown ones, what moved and what did not, as a sentence."""

    title: str
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    consequences: tuple[Finding, ...]
    pattern: str = ""

    @property
    def head(self) -> Finding:
        """The finding that is shown in full."""

        def rank(finding: Finding) -> tuple[bool, bool, float, str]:
            pair = finding.pair
            # Judged by a truth, with a size, the largest: that is what a reader can use.
            sized = pair.gap is not None and pair.unit != "digest"
            return (
                pair.standing not in {"fixed", "broke"},
                not sized,
                -(pair.gap or 0),
                pair.finding,
            )

        # Of unknown ones that move together the earliest rung is where to look.
        first = [f for f in self.findings if self.changes or f.pair.rung == self.rung]
        return min(first, key=rank)

    @property
    def severity(self) -> str:
        """The worst severity of its findings."""
        order = ("wrong training", "crash", "cost", "cosmetic", "unknown")
        return min((f.severity for f in self.findings), key=order.index)

    @property
    def is_fix(self) -> bool:
        """Whether NEW does right what OLD did not."""
        if all(_fixed(f.pair) for f in self.findings):
            return True
        # Of unknown ones that only move together, one that is right now says nothing of the rest.
        return bool(self.changes) and self.head.pair.standing == "fixed"

    @property
    def breaks(self) -> bool:
        """Whether NEW cannot do what OLD could."""
        return any(f.pair.broken == "new" for f in self.findings)

    @property
    def is_silent(self) -> bool:
        """Whether NEW trains wrong without a word: judged wrong, and farther from the truth."""
        wrong = self.severity == "wrong training" and not self.breaks and not self.is_fix
        return wrong and any(_strays(f.pair) for f in self.findings)

    @property
    def ended(self) -> str:
        """`died` or `hung` where it is a measuring process that ended so, else ``."""
        return _ended(self.findings)

    @property
    def rung(self) -> str:
        """Where it shows first."""
        return self.findings[0].pair.rung

    @property
    def failure(self) -> Failure | None:
        """What its first finding broke with on one side."""
        return self.head.pair.failure

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do, by the register; for an unknown one, how to find out."""
        if self.changes:
            return tuple(dict.fromkeys(c.advice for c in self.changes))
        if self.ended:
            return (
                "Run the same command again with `--resume`: it measures that rung anew. If it "
                f"ends so again, {self.failure.where if self.failure else 'its log'} says where "
                "it stood.",
            )
        if module := _missing(self.findings):
            side = self.head.pair.broken.upper()
            return (
                f"Add the package that holds {module} to {side}: `{side},<package>`. `harness "
                "doctor` says of a stack what it lacks.",
            )
        if self.head.pair.metric_id == WARNINGS:
            return ("Read the warnings that came or went: no known change explains them.",)
        look = (self.pattern,) if self.pattern else ()
        find = "Unknown: find the package and its release with `harness bisect --from-compare`."
        return (*look, find)


def _missing(findings: Sequence[Finding]) -> str:
    """The top-level module that one side alone could not import, where that is all that it is."""
    failures = [f.pair.failure for f in findings if f.pair.broken in {"old", "new"}]
    names = {failure.module.split(".")[0] for failure in failures if failure}
    return next(iter(names)) if len(failures) == len(findings) and len(names) == 1 else ""


def _ended(findings: Sequence[Finding]) -> str:
    words = {DIED: "died", HANGS: "hung"}
    failures = [f.pair.failure for f in findings if f.pair.metric == PROBE]
    kinds = {failure.type for failure in failures if failure}
    ends = [words[kind] for kind in kinds if kind in words]
    return ends[0] if len(ends) == len(kinds) == 1 else ""


def _strays(pair: Pair) -> bool:
    if pair.new.right is not False:
        return False
    was, now = (distance(side.value, pair.truth) for side in (pair.old, pair.new))
    return bool(pair.old.right) or (was is not None and now is not None and now > was)


def _fixed(pair: Pair) -> bool:
    if pair.broken == "old":
        # That OLD cannot read what NEW saves is no fault that NEW has mended.
        return pair.metric != "adapter_read"
    return pair.verdict is Verdict.IMPROVED and pair.standing != "broke"


def groups(comparison: Comparison) -> tuple[Group, ...]:
    """Own findings by what explains them, each with the findings that follow, in ladder order."""
    buckets: dict[tuple[str, ...], list[Finding]] = {}
    for finding in comparison.own:
        names = tuple(change.name for change in finding.known)
        key = ("known", *names) if names else bucket(finding, established=comparison.established)
        if names and finding.pair.metric_id == WARNINGS:
            # One call raises several warnings and one change several calls': they are one story.
            key = ("known", WARNINGS)
        buckets.setdefault(key, []).append(finding)
    grouped = []
    for findings in buckets.values():
        ids = {f.pair.finding for f in findings}
        # What follows from what follows belongs here too.
        after: list[Finding] = []
        while more := [f for f in comparison.findings if f.cause in ids and f not in after]:
            after += more
            ids |= {f.pair.finding for f in more}
        changes = tuple({c.name: c for f in findings for c in f.known}.values())
        seen = "" if changes else pattern(findings, comparison.pairs)
        title = _known(changes, findings) if changes else _unknown(findings)
        grouped.append(Group(title, changes, tuple(findings), tuple(after), seen))
    return tuple(grouped)


def _known(changes: Sequence[Change], findings: Sequence[Finding]) -> str:
    """The titles of the register's entries; of many the first, or what they have in common."""
    if len(changes) <= 2:
        return " · ".join(change.title for change in changes)
    if findings[0].pair.metric_id == WARNINGS:
        return f"Warnings come and go, for {len(changes)} known reasons"
    return f"{changes[0].title} · {len(changes) - 1} more known changes"


def _unknown(findings: Sequence[Finding]) -> str:
    """What differs, or which side ended how."""
    first = findings[0].pair
    side = first.broken.upper()
    if module := _missing(findings):
        return f"{side} has no package that holds {module}"
    if ended := _ended(findings):
        others = len({f.pair.rung for f in findings}) - 1
        more = f" and {others} more rung{'s' if others > 1 else ''}" if others else ""
        return f"Measuring {first.rung}{more} {ended} on {side}"
    if len(findings) > 1 and {f.pair.broken for f in findings} in ({"old"}, {"new"}):
        kind, name = ("rungs", first.rung) if first.metric == PROBE else ("values", first.finding)
        return f"{len(findings)} {kind} end in an error on {side}, first {name}"
    return f"Unknown difference of {_metrics(findings)}"


def _metrics(findings: Sequence[Finding]) -> str:
    """The first of the ladder, and how many follow."""
    names = list(dict.fromkeys(f.pair.metric_id for f in findings))
    if len(findings) == 1:
        return findings[0].pair.finding
    if len(names) == 1:
        return names[0]
    more = len(names) - 1
    return f"{names[0]} and {more} more value{'s' if more > 1 else ''}"


def told_severity(group: Group) -> str:
    """The severity, for a fix that of what is no longer wrong."""
    if group.is_fix and group.severity != "unknown":
        return f"fixed, was {group.severity}"
    return group.severity


def effects(group: Group, pairs: Sequence[Pair]) -> tuple[tuple[str, Pair], ...]:
    """The values by which the size of a group is told: its own and those that follow from it."""
    ids = {f.pair.finding for f in (*group.findings, *group.consequences)}
    by_id = {p.finding: p for p in pairs}
    return tuple(
        (words, by_id[name])
        for name, words in EFFECTS
        if name in ids and by_id[name].old.status is by_id[name].new.status is Status.OK
    )


def example(pair: Pair) -> tuple[str, str]:
    """The smallest part that shows the difference: the first differing row, around its place."""
    old, new = pair.old.value, pair.new.value
    if isinstance(old, list) and isinstance(new, list):
        row = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
        if row is None:
            longer = old if len(old) > len(new) else new
            row = min(len(old), len(new))
            extra = f"[{row}] {_short(longer[row])}" if row < len(longer) else ""
            return (extra, "—") if longer is old else ("—", extra)
        a, b = old[row], new[row]
        if isinstance(a, list | str) and isinstance(b, list | str):
            left, right = _around(a, b)
            return f"[{row}] {left}", f"[{row}] {right}"
        return f"[{row}] {_short(a)}", f"[{row}] {_short(b)}"
    return "", ""


def _around(a: list[Json] | str, b: list[Json] | str) -> tuple[str, str]:
    one = a.split(" ") if isinstance(a, str) else [str(x) for x in a]
    other = b.split(" ") if isinstance(b, str) else [str(x) for x in b]
    at = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), 0)
    start, stop = max(0, at - SLICE // 3), at + SLICE
    head = "… " if start else ""
    return tuple(  # type: ignore[return-value]
        head + " ".join(words[start:stop]) + (" …" if stop < len(words) else "")
        for words in (one, other)
    )


def _short(value: Json) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def rung_times(seconds: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """Seconds of all rungs on each side, as measured beside one another."""
    return sum(a for a, _ in seconds.values()), sum(b for _, b in seconds.values())
