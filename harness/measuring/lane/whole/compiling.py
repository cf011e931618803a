"""What torch.compile does in a whole training: its processes start early, graphs are counted."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping


def compilation(before: Mapping[str, int] | None = None) -> dict[str, int]:
    """What torch.compile did in this process: graphs traced, and of them those whose code was in
    its cache (torch/_dynamo/utils.py, counters). before: what it had done already, left out."""
    from torch._dynamo.utils import counters

    done = {
        "graphs": counters["stats"]["unique_graphs"],
        "from_cache": counters["aot_autograd"]["autograd_cache_hit"],
    }
    return {name: number - (before or {}).get(name, 0) for name, number in done.items()}


def start_compiler() -> None:
    """torch.compile's processes start and import while the model is loaded: a wait less later."""

    def start() -> None:
        importlib.import_module("torch._inductor.compile_fx")  # seconds, else the first step's
        from torch._inductor.async_compile import maybe_warm_pool

        maybe_warm_pool()

    threading.Thread(target=start, daemon=True).start()
