"""The rung of pictures without the large ones, for suites that ask something else of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.measuring.models import Family

# In px. The large ones add seconds and no other code path; test_images.py looks at them.
SMALL = 1_000_000


def leave_out_large(patch: pytest.MonkeyPatch, loader: Family) -> None:
    """From here on the rung measures the small sizes only."""
    samples = loader.SAMPLES
    small = {n: size for n, size in samples.sizes.items() if size[0] * size[1] < SMALL}
    patch.setattr(loader, "SAMPLES", replace(samples, sizes=small))
