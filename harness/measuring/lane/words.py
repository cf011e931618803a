"""Options that the lane's measuring calls have in common."""

from __future__ import annotations

import argparse

from harness.recipe.published import REFERENCE, VARIANTS


def recipe_options(parser: argparse.ArgumentParser) -> None:
    """`--recipe`, and what of its batch a call may change: `--micro`, `--size` (None: its own)."""
    parser.add_argument(
        "--recipe",
        default=REFERENCE.name,
        choices=tuple(VARIANTS),
        help="a named variant of the recipe (default: reference, as published)",
    )
    parser.add_argument(
        "--micro", type=int, help="micro-batches per optimizer step (default: the recipe's)"
    )
    parser.add_argument("--size", type=int, help="samples per micro-batch (default: the recipe's)")
