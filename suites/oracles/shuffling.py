"""The order in which a seed takes rows: Mersenne twister and Fisher and Yates, without torch.

torch draws a permutation of n by n - 1 exchanges, each with the twister's next 32 bits modulo what
is left (aten/src/ATen/native/TensorFactories.cpp); the sampler of accelerate seeds it anew for each
epoch with the seed plus the epoch's number (accelerate/data_loader.py, SeedableRandomSampler).
"""

from __future__ import annotations

import numpy as np

WORD = 2**32


def permutation(count: int, seed: int) -> list[int]:
    """The numbers below count in the order of a seed."""
    twister = np.random.RandomState(seed)
    order = [*range(count)]
    for here in range(count - 1):
        there = here + int(twister.randint(0, WORD, dtype=np.uint32)) % (count - here)
        order[here], order[there] = order[there], order[here]
    return order


def epochs(count: int, seed: int, number: int) -> list[list[int]]:
    """The rows of each epoch, in their order."""
    return [permutation(count, seed + epoch) for epoch in range(number)]
