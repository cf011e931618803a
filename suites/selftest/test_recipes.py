"""A recipe travels whole: through a context and a training's spec, field by field, digested."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.measuring.training.spec import TrainSpec, read_spec, spec_from_json, spec_to_json
from harness.recipe.published import REFERENCE, VARIANTS, Lora, Recipe, variant
from harness.records.context import Context, context_from_json, context_to_json, read_context
from harness.records.files import write_json
from harness.records.recipes import recipe_called, recipe_digest, recipe_from_json, recipe_to_json

OWN = replace(
    variant("mask-prompt"),
    name="own",
    prompt="{product_name}: {category}",
    lora=Lora(r=4, target_modules=("o_proj",)),
    training=replace(REFERENCE.training, learning_rate=1, max_grad_norm=1.0),
)
SPEC = TrainSpec(
    "/model", "stand-in", "catalogue", OWN, "cpu", "none", "float32", 2, 4, 1, 1e-3, "qwen2_vl"
)


def context(tmp_path: Path, recipe: Recipe) -> Context:
    return Context(
        "reference",
        "stand-in",
        "catalogue",
        tmp_path,
        True,
        tmp_path / "run",
        recipe=recipe,
        family="qwen2_vl",
    )


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every field of a recipe."""
    if not is_dataclass(value):
        return [path]
    return [leaf for f in fields(value) for leaf in leaves(getattr(value, f.name), (*path, f.name))]


def without(raw: Any, path: tuple[str, ...]) -> Any:
    copy = json.loads(json.dumps(raw))
    place = copy
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return copy


@pytest.mark.parametrize("recipe", [*map(variant, VARIANTS), OWN], ids=lambda r: r.name)
def test_a_recipe_comes_back_from_json_as_it_went(recipe: Recipe) -> None:
    assert recipe_from_json(json.loads(json.dumps(recipe_to_json(recipe)))) == recipe


@pytest.mark.parametrize("path", leaves(REFERENCE), ids=".".join)
def test_a_field_that_is_missing_is_named_not_assumed(path: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=rf"^recipe\.{'.'.join(path)} is missing$"):
        recipe_from_json(without(asdict(REFERENCE), path))


def test_what_is_no_recipe_is_said() -> None:
    raw = asdict(REFERENCE)
    for bad, sentence in (
        ("reference", "recipe is 'reference', no object"),
        ({**raw, "alpha": 1}, "recipe.alpha is no field of it"),
        ({**raw, "lora": {**raw["lora"], "r": "8"}}, "recipe.lora.r is '8', not a whole number"),
    ):
        with pytest.raises(ValueError, match=sentence):
            recipe_from_json(bad)


def test_every_field_counts_in_the_digest() -> None:
    def changed(value: Any) -> Any:
        if isinstance(value, bool):
            return not value
        return value + value if value else value + 1

    def each(value: Any) -> list[Any]:
        if not is_dataclass(value) or isinstance(value, type):
            return [changed(value)]
        return [
            replace(value, **{f.name: other})
            for f in fields(value)
            for other in each(getattr(value, f.name))
        ]

    digests = {recipe_digest(recipe) for recipe in each(REFERENCE)}
    assert len(digests) == len(leaves(REFERENCE))
    assert recipe_digest(REFERENCE) not in digests


def test_the_digest_that_every_published_record_and_golden_holds() -> None:
    assert recipe_digest(REFERENCE) == "e311b2b7f08ed1b6"


def test_a_variant_is_called_by_its_name_and_any_other_by_its_digest() -> None:
    for name in VARIANTS:
        assert recipe_called(recipe_digest(variant(name))) == name
    assert recipe_called(recipe_digest(OWN)) == recipe_digest(OWN)
    # A name is no evidence: the values are.
    assert recipe_called(recipe_digest(replace(OWN, name="reference"))) != "reference"


def test_a_context_brings_its_recipe_whatever_the_name_says_elsewhere(tmp_path: Path) -> None:
    changed = replace(OWN, name="reference")
    begun = context(tmp_path, changed)
    path = tmp_path / "context.json"
    write_json(path, context_to_json(begun))
    assert read_context(path) == begun
    assert read_context(path).provenance().recipe == recipe_digest(changed)


def test_an_older_contexts_recipe_is_refused_in_a_sentence(tmp_path: Path) -> None:
    raw = context_to_json(context(tmp_path, REFERENCE))
    path = tmp_path / "context.json"
    for old, sentence in (
        ({k: v for k, v in raw.items() if k != "recipe"}, "recipe is missing"),
        ({**raw, "recipe": "reference"}, "recipe is 'reference', no object"),
        (without(raw, ("recipe", "repairs", "mask_prompt")), "recipe.repairs.mask_prompt is miss"),
    ):
        write_json(path, old)
        with pytest.raises(
            BadInput, match=f"{path} is not a complete context .{sentence}.*start a new"
        ):
            read_context(path)
    assert context_from_json(raw).recipe == REFERENCE


def test_a_training_spec_brings_its_recipe(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    write_json(path, spec_to_json(SPEC))
    assert read_spec(path) == SPEC
    assert read_spec(path).digest == SPEC.digest


def test_a_training_specs_digest_covers_its_recipes_values() -> None:
    louder = replace(OWN, lora=replace(OWN.lora, lora_alpha=32))
    assert replace(SPEC, recipe=louder).digest != SPEC.digest


def test_an_older_spec_names_its_recipe_and_is_brought_up_to_date() -> None:
    """Until then the name was looked up again wherever the recipe was needed."""
    old = {**asdict(SPEC), "recipe": "mask-prompt"}
    wanted = replace(SPEC, recipe=variant("mask-prompt"))
    assert spec_from_json({"digest": "that of the name", "spec": old}) == wanted
    assert spec_from_json(old) == wanted


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ([], "holds no JSON object"),
        ({}, "recipe is missing"),
        ({"spec": []}, "it holds no object"),
        ({**asdict(SPEC), "recipe": "bare"}, "There is no recipe variant 'bare'"),
        ({**asdict(SPEC), "lr": 1.0}, "lr is no field of it"),
        ({**asdict(SPEC), "max_steps": "2"}, "max_steps is '2', not a whole number"),
        (without(spec_to_json(SPEC), ("spec", "recipe", "lora")), "recipe.lora is missing"),
    ],
)
def test_what_is_no_training_spec_is_named(tmp_path: Path, raw: Any, sentence: str) -> None:
    path = tmp_path / "spec.json"
    write_json(path, raw)
    with pytest.raises(BadInput, match=sentence) as refused:
        read_spec(path)
    assert str(path) in str(refused.value)
