"""What can be counted is exact: a planted product or tensor is found in every one of 100 trials,
and nothing is where nothing is planted. Kernel launches and host synchronisations need CUDA."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch

from harness.measuring.instruments.meters import count_flops, tensor_bytes

SEEDS = range(100)


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(24, 48), torch.nn.GELU(), torch.nn.Linear(48, 24))


def stepped(model: torch.nn.Module, more: Callable[[], object]) -> int:
    """Operations of a training step with something more in it."""

    def step() -> None:
        model(torch.ones(8, 24)).sum().backward()
        more()

    return count_flops(step).total


def test_operations_are_counted_exactly() -> None:
    """An (m, k) by (k, n) product is 2 m k n operations, down to the two of a 1 × 1 × 1."""
    model = network()
    usual = stepped(model, lambda: None)
    for seed in SEEDS:
        m, k, n = (random.Random(seed).randint(1, 9) for _ in range(3))
        m, k, n = (max(1, size - seed % 5) for size in (m, k, n))
        more = stepped(model, lambda m=m, k=k, n=n: torch.ones(m, k) @ torch.ones(k, n))  # type: ignore[misc]
        assert more - usual == 2 * m * k * n
        assert stepped(model, lambda: None) == usual


def test_bytes_are_counted_exactly() -> None:
    """One float32 more is four bytes more."""
    usual = tensor_bytes(network().parameters())
    for seed in SEEDS:
        model = network()
        size = random.Random(seed).randint(1, 50)
        model.register_parameter("more", torch.nn.Parameter(torch.zeros(size)))
        assert tensor_bytes(model.parameters()) - usual == 4 * size
        assert tensor_bytes(network().parameters()) == usual
