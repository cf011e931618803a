"""Objects that several suites share, loaded once."""

from __future__ import annotations

from typing import Any

import pytest

from harness.context import Context


@pytest.fixture(scope="session")
def processor(context: Context) -> Any:
    """The stack's processor of the model in use, with its own defaults."""
    from harness.models import family

    return family(context.family).load_processor(context.snapshot)
