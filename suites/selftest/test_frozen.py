"""What one part tells another is frozen: nobody changes a fact on its way."""

from __future__ import annotations

import dataclasses
import inspect
from importlib import import_module

import pytest

from suites.mutation.targets import TARGETS

# They work, and tell nobody anything: a search's memory, and its way through a package's releases.
AT_WORK = {"_Memo", "_Walk"}


@pytest.mark.parametrize("path", TARGETS)
def test_what_the_judge_says_cannot_be_changed_afterwards(path: str) -> None:
    module = import_module(path.removesuffix(".py").replace("/", "."))
    types = [
        each
        for _, each in inspect.getmembers(module, dataclasses.is_dataclass)
        if inspect.isclass(each) and each.__module__ == module.__name__
    ]
    loose = {each.__name__ for each in types if not each.__dataclass_params__.frozen}
    assert loose <= AT_WORK
