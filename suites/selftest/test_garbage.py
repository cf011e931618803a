"""What imports made is looked through once; what was garbage by then is gone."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from types import ModuleType

import pytest

from harness.measuring.instruments import garbage


class Ring:
    """In a cycle of its own."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def unaware() -> Iterator[None]:
    """Nothing ends by chance meanwhile."""
    gc.disable()
    yield
    gc.enable()


def imported(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in range(number):
        name = f"imported_here_{len(sys.modules)}_{each}"
        monkeypatch.setitem(sys.modules, name, ModuleType(name))


@pytest.mark.usefixtures("unaware")
def test_after_imports_what_lives_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "_known", [len(sys.modules)])
    lives, dies = Ring(), Ring()
    gone = weakref.ref(dies)
    del dies
    before = gc.get_freeze_count()
    imported(garbage.FEW, monkeypatch)
    garbage.set_imports_aside()
    assert gone() is not None
    assert gc.get_freeze_count() == before
    imported(1, monkeypatch)
    garbage.set_imports_aside()
    assert gone() is None
    assert gc.get_freeze_count() > before
    # No longer among what is looked through.
    assert not any(each is lives for each in gc.get_objects())


@pytest.mark.usefixtures("unaware")
def test_without_imports_nothing_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    imported(garbage.FEW + 1, monkeypatch)
    garbage.set_imports_aside()
    lives = Ring()
    before = gc.get_freeze_count()
    garbage.set_imports_aside()
    # What was set aside before may have gone since.
    assert gc.get_freeze_count() <= before
    assert any(each is lives for each in gc.get_objects())
    lives.__dict__.clear()
