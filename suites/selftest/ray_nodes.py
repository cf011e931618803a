"""A Ray cluster of two nodes on this machine."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# By its own word: as many commands run on a node at once.
CORES = 4


def missing() -> bool:
    """Whether Ray's library is not installed here."""
    return importlib.util.find_spec("ray") is None


@contextmanager
def cluster() -> Iterator[Any]:
    """A head and one more node, a `ray.cluster_utils.Cluster`; this process is connected to it."""
    ray = importlib.import_module("ray")
    utils = importlib.import_module("ray.cluster_utils")
    whole = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": CORES})
    whole.add_node(num_cpus=CORES)
    ray.init(
        address=whole.address,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
        log_to_driver=False,
    )
    yield whole
    ray.shutdown()
    whole.shutdown()
