"""A recipe as a fact between the parts: its JSON form, its digest, and the variant that it is."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any

from harness.recipe.published import REFERENCE, VARIANTS, Recipe, variant
from harness.records.files import json_digest
from harness.records.typed import Rules, build

# Every field has a default, which is the published value: one left out would pass for it.
_WHOLE = Rules(whole=True)


def recipe_digest(recipe: Recipe) -> str:
    """Digest over every field of a recipe."""
    return json_digest(asdict(recipe))


def recipe_to_json(recipe: Recipe) -> dict[str, Any]:
    """Every field of a recipe, JSON-ready."""
    return asdict(recipe)


def recipe_from_json(raw: object) -> Recipe:
    """Inverse of recipe_to_json. Raises ValueError naming a field that is missing, unknown, or of
    another type."""
    return build(Recipe, raw, _WHOLE, "recipe")


# The recipe as published: what nobody has to name.
PUBLISHED = recipe_digest(REFERENCE)


@cache
def variant_digests() -> dict[str, str]:
    """The digest of every named variant, the published recipe first."""
    return {name: recipe_digest(variant(name)) for name in VARIANTS}


def recipe_called(digest: str) -> str:
    """The name of the variant with that digest; for any other recipe, its digest."""
    names = {own: name for name, own in variant_digests().items()}
    return names.get(digest, digest)


def recipe_words(digest: str) -> list[str]:
    """The option that asks for a recipe; nothing for the published one, nor for one without a
    name."""
    name = recipe_called(digest)
    return [] if digest == PUBLISHED or name == digest else ["--recipe", name]
