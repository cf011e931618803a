"""Garbage is looked for in what is measured, not in what libraries are made of.

Every training ends with a collection, and Python looks of its own accord while one runs: through
all that lives, of which imports of the libraries under test made a million objects.
"""

from __future__ import annotations

import gc
import sys

# What fewer modules bring is looked through in no time.
FEW = 100
_known = [0]


def set_imports_aside() -> None:
    """Where modules were imported since it was last called: collect, then look no more through what
    is left. To be called where nothing large lives: what is in a cycle of its own would stay."""
    if len(sys.modules) > _known[0] + FEW:
        gc.collect()
        gc.freeze()
        _known[0] = len(sys.modules)
