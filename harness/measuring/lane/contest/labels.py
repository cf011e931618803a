"""How many labels a step's loss really takes, seen where it takes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.recipe.published import IGNORE_INDEX


class Labels:
    """Counts the targets of every call of torch's cross_entropy, whoever makes it.

    The libraries look the function up in its module at every call. A fused loss of its own kernels
    is not seen: then nothing was counted, which is told apart from no labels.
    """

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count during one step."""
        from torch.nn import functional

        self.seen.clear()
        inner = functional.cross_entropy

        def counting(given: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
            if not target.is_floating_point():
                ignored = kwargs.get("ignore_index", IGNORE_INDEX)
                self.seen.append((target != ignored).sum())
            return inner(given, target, *args, **kwargs)

        functional.cross_entropy = counting
        try:
            yield
        finally:
            functional.cross_entropy = inner

    def total(self) -> int | None:
        """Of the last step; None where no call was seen."""
        return sum(int(count) for count in self.seen) if self.seen else None
