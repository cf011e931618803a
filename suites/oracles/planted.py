"""What is done to a loaded model to leave a part out that no number of its config turns off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Plant = Callable[[Any], None]


def set_to(ending: str, value: float, inside: str = "") -> Plant:
    """Every parameter whose name ends so, and has `inside` in it, is that number."""

    def put(model: Any) -> None:
        named = [p for n, p in model.named_parameters() if n.endswith(ending) and inside in n]
        assert named, f"no parameter is called …{inside}…{ending}"
        for parameter in named:
            parameter.data.fill_(value)

    return put
