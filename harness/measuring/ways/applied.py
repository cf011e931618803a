"""What a way changed, and how it is taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Part = Literal["checkpointing", "head", "kernels", "layers", "tower", "upcast", "weights"]


@dataclass(frozen=True)
class Change:
    """One thing that runs otherwise. where: modules or arguments, by name. count: how many of
    them. before, after: what they did and do, in words."""

    part: Part
    where: str
    before: str
    after: str
    count: int = 1


@dataclass
class Ledger:
    """Changes as they are made, each with its way back."""

    changes: list[Change] = field(default_factory=list)
    backwards: list[Callable[[], object]] = field(default_factory=list)

    def attribute(self, owner: Any, name: str, value: object) -> None:
        """Set an instance's attribute; back means what was there, or nothing of its own."""
        own = vars(owner)
        had, before = name in own, own.get(name)

        def back() -> None:
            if had:
                setattr(owner, name, before)
            else:
                delattr(owner, name)

        setattr(owner, name, value)
        self.backwards.append(back)

    def undo(self) -> None:
        """Everything back, the last change first."""
        while self.backwards:
            self.backwards.pop()()


@dataclass
class Applied:
    """A way that is in force until `undo`, or until the end of a `with` block.

    changes: empty where the way differs in nothing from what was there already.
    """

    way: str
    changes: tuple[Change, ...]
    _ledger: Ledger

    def undo(self) -> None:
        """Every forward, module, weight and argument as before; trained values stay. Once."""
        self._ledger.undo()

    @property
    def is_undone(self) -> bool:
        """Whether nothing of it is left."""
        return not self._ledger.backwards

    def to_json(self) -> dict[str, Any]:
        """For records."""
        return {"way": self.way, "changes": [asdict(change) for change in self.changes]}

    def __str__(self) -> str:
        """One line a change."""
        lines = [
            f"{c.part}: {c.where}"
            + (f" ({c.count})" if c.count > 1 else "")
            + f": {c.before} -> {c.after}"
            for c in self.changes
        ]
        return "\n".join([f"{self.way}:", *(lines or ["nothing to change"])])

    def __enter__(self) -> Applied:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()
