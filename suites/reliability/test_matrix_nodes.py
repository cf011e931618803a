"""A matrix that loses nodes of its cluster: in the end the page of one that lost none, and no cell
measured twice but those that were being measured there."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from suites.reliability.counts import count
from suites.reliability.driven import cells, drive, prepare
from suites.reliability.test_matrix import assert_measured_once, files, told, unharmed
from suites.selftest import ray_nodes

__all__ = ["unharmed"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_variables")]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    if ray_nodes.missing():
        pytest.skip("NOT_RUN: the engine ray needs ray; `tox -e engines` has it")
    with ray_nodes.cluster() as whole:
        yield whole


@dataclass
class Loss:
    """A node goes without a word as soon as so many cells of a folder have begun."""

    nodes: Any
    node: Any
    folder: Path
    moment: int
    happened: bool = False

    def __call__(self) -> None:
        if not self.happened and len(told(self.folder)) >= self.moment:
            self.nodes.remove_node(self.node, allow_graceful=False)
            self.happened = True


def test_lost_nodes(
    tmp_path: Path,
    unharmed: dict[str, bytes],
    nodes: Any,
    tried: Callable[[int], None],
) -> None:
    dice = random.Random(29)
    for life in range(count(2, 20)):
        folder = tmp_path / str(life)
        folder.mkdir()
        prepare(folder)
        node = nodes.add_node(num_cpus=ray_nodes.CORES)
        nodes.wait_for_nodes()
        # So many cells have begun, and one more round of them is still to come, when the node goes.
        moment = dice.randint(1, len(cells()) - 2 * ray_nodes.CORES)
        loss = Loss(nodes, node, folder, moment)
        drive(folder, folder / "page", "ray", loss)
        assert loss.happened
        tried(1)
        assert files(folder / "page") == unharmed
        assert_measured_once(folder, 1, ray_nodes.CORES)
        assert list((folder / "kept" / "parts").iterdir()) == []
