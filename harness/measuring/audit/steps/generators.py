"""Random generators of the user's own: what draws augmentations beside the seeded global ones."""

from __future__ import annotations

import contextlib
import pickle
import random
from collections.abc import Iterator
from types import FunctionType
from typing import Any
from unittest import mock
from weakref import WeakSet

from harness.measuring.audit.training import Training

# How deep a generator may lie: the collator's `self.augment.rng` is two.
_DEPTH = 3
# numpy asks the system for 128 bits of entropy where no seed is given; seeds are shorter.
_SEED_BITS = 64
# What a loader calls of a collator and of a dataset.
_METHODS = ("__call__", "__getitem__", "torch_call")

# python's own do not keep it: those that began without a seed while a user's file was run.
_UNSEEDED: WeakSet[random.Random] = WeakSet()


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """While it lasts, python's generators that begin without a seed are remembered."""
    construct = random.Random.__init__

    def begin(self: random.Random, seed: Any = None) -> None:
        construct(self, seed)
        if seed is None:
            _UNSEEDED.add(self)

    with mock.patch.object(random.Random, "__init__", begin):
        yield


def generators_of(training: Training) -> list[Any]:
    """Those that the collator and the dataset hold or name, each once."""
    trainer = training.trainer
    seen: dict[int, Any] = {}
    for root in (trainer.data_collator, trainer.train_dataset, type(trainer).training_step):
        for value in _reach(root, _DEPTH, set()):
            seen.setdefault(id(value), value)
    return list(seen.values())


def places(training: Training) -> list[bytes]:
    """How far every generator has come, the user's own and the global ones: what draws none in
    between leaves this as it is."""
    import numpy
    import torch

    own = [State(generator).value for generator in generators_of(training)]
    own += [random.getstate(), numpy.random.get_state(), torch.get_rng_state()]
    return [
        value.numpy().tobytes() if isinstance(value, torch.Tensor) else pickle.dumps(value)
        for value in own
    ]


def _reach(root: Any, depth: int, visited: set[int]) -> Iterator[Any]:
    if id(root) in visited or depth < 0:
        return
    visited.add(id(root))
    if _is_generator(root):
        yield root
        return
    for value in _held(root):
        yield from _reach(value, depth - 1, visited)


def _held(root: Any) -> list[Any]:
    """What an object or a function refers to and was not written by a library."""
    values: list[Any] = []
    function = getattr(root, "__func__", root)
    if hasattr(root, "__self__"):
        values.append(root.__self__)
    if not isinstance(function, FunctionType):
        methods = [vars(kind).get(n) for kind in type(root).__mro__ for n in _METHODS]
        values += [method for method in methods if isinstance(method, FunctionType)]
        module = type(root).__module__.split(".")[0]
        if module in {"torch", "transformers", "datasets", "peft", "builtins", "tokenizers"}:
            return []
        return [*values, *getattr(root, "__dict__", {}).values()]
    for cell in getattr(function, "__closure__", None) or ():
        with_value = _content(cell)
        values += with_value
    names = getattr(function, "__globals__", {})
    values += [names[name] for name in _names(function.__code__) if name in names]
    return [value for value in values if not isinstance(value, type(random))]


def _content(cell: Any) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # a name that is not bound yet
        return []


def _names(code: Any) -> list[str]:
    inner = [name for part in code.co_consts if hasattr(part, "co_names") for name in _names(part)]
    return [*code.co_names, *inner]


def _is_generator(value: Any) -> bool:
    import numpy
    import torch

    return isinstance(
        value, random.Random | numpy.random.Generator | numpy.random.RandomState | torch.Generator
    )


def is_unseeded(generator: Any) -> bool:
    """Whether a generator began from the system's entropy: numpy's keep what they began from."""
    if isinstance(generator, random.Random):
        return generator in _UNSEEDED
    bits = getattr(generator, "bit_generator", None)
    sequence = getattr(bits, "seed_seq", None) or getattr(bits, "_seed_seq", None)
    entropy = getattr(sequence, "entropy", None)
    return isinstance(entropy, int) and entropy.bit_length() > _SEED_BITS


class State:
    """A generator's state, to be put back."""

    def __init__(self, generator: Any) -> None:
        import torch

        self.generator = generator
        if isinstance(generator, random.Random):
            self.value: Any = generator.getstate()
        elif isinstance(generator, torch.Generator):
            self.value = generator.get_state()
        else:
            self.value = _bits(generator).state

    def put_back(self) -> None:
        """As when this was made."""
        import torch

        if isinstance(self.generator, random.Random):
            self.generator.setstate(self.value)
        elif isinstance(self.generator, torch.Generator):
            self.generator.set_state(self.value)
        else:
            _bits(self.generator).state = self.value


def _bits(generator: Any) -> Any:
    return getattr(generator, "bit_generator", None) or generator._bit_generator
