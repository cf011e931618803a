"""What holds for which recipe: truths, observed numbers, expected lists, the words of a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput
from harness.judging.bisect.findings import same_recipe
from harness.judging.bisect.spec import probe_options
from harness.judging.compare.document import FactsEntry
from harness.judging.compare.plan import PLAN, folder_of
from harness.judging.compare.spec import CompareSpec
from harness.judging.goldens.expected import expected_path, read_expected
from harness.judging.goldens.golden import (
    Golden,
    observed_path,
    read_golden,
    truth_path,
    write_golden,
)
from harness.judging.goldens.judgement import facts_of
from harness.judging.goldens.listing import Stray, listed, stray
from harness.judging.goldens.observe import observe
from harness.judging.goldens.verdicts import judge
from harness.judging.workers.resolve import Request
from harness.recipe.published import VARIANTS, variant
from harness.records.files import read_json, write_json
from harness.records.recipes import PUBLISHED, variant_digests
from harness.records.record import Metric, Provenance, Record, Verdict
from harness.records.seals import write_sealed
from suites.commands import Command

MASKED = variant_digests()["mask-prompt"]
TRUTH = Golden("forward", "qwen2_vl", "loss", "truth", "arithmetic", "because", {"": 1.0})
OBSERVED = replace(
    TRUTH,
    kind="observed",
    device_key="cpu-x",
    stack="reference",
    model="stand-in",
    required=False,
    provenance={"recipe": PUBLISHED, "samples": "s"},
)


def records(recipe: str, loss: float = 1.0) -> dict[str, Record]:
    provenance = Provenance(
        "reference", "stand-in", "catalogue", "cpu-x", recipe, "s", {"torch": "2"}
    )
    provenance = replace(provenance, family="qwen2_vl")
    return {"forward": Record("forward", provenance, (Metric("forward", "loss", value=loss),))}


def only_for(golden: Golden, *names: str) -> Golden:
    return replace(golden, recipes={name: variant_digests()[name] for name in names})


def test_a_truth_is_held_against_the_recipes_that_it_names_and_no_other() -> None:
    usual, masked = only_for(TRUTH, "reference"), only_for(TRUTH, "mask-prompt")
    masked = replace(masked, cases={"": 2.0})
    for recipe, loss in ((PUBLISHED, 1.0), (MASKED, 2.0)):
        (item,) = judge(records(recipe, loss), [usual, masked], ()).items
        assert (item.verdict, item.golden) == (Verdict.SAME, loss)
        (item,) = judge(records(recipe, 3.0), [usual, masked], ()).items
        assert item.is_red
    assert judge(records("another"), [usual, masked], ()).items == ()


def test_a_truth_that_names_none_holds_for_any() -> None:
    for recipe in (PUBLISHED, MASKED, "another"):
        (item,) = judge(records(recipe, 2.0), [TRUTH], ()).items
        assert item.is_red


def test_an_observed_number_of_another_recipe_is_not_judged_against() -> None:
    """Nor missed: no command would make it under the recipe that it was made with."""
    assert judge(records(PUBLISHED, 2.0), [OBSERVED], ()).items[0].is_red
    assert judge(records(MASKED, 2.0), [OBSERVED], ()).items == ()
    elsewhere = replace(OBSERVED, device_key="cpu-y")
    assert judge(records(MASKED, 2.0), [elsewhere], ()).items == ()
    masked = replace(OBSERVED, provenance={"recipe": MASKED, "samples": "s"})
    assert judge(records(MASKED, 2.0), [masked], ()).items[0].is_red


def test_what_is_observed_under_a_variant_has_a_file_of_its_own(tmp_path: Path) -> None:
    (usual,) = observe(["forward.loss"], [records(PUBLISHED)], "first", tmp_path)
    (masked,) = observe(["forward.loss"], [records(MASKED, 2.0)], "first", tmp_path)
    assert (usual.name, masked.name) == ("loss.json", "loss@mask-prompt.json")
    assert read_golden(usual).cases == {"": 1.0}
    assert read_golden(masked).recipes == {"mask-prompt": MASKED}
    assert "recipes" not in read_json(usual)
    assert [row.why for row in listed(tmp_path)] == ["", ""]


def test_the_sentence_that_makes_a_number_names_the_recipe() -> None:
    elsewhere = replace(only_for(OBSERVED, "mask-prompt"), device_key="cpu-y")
    judgement = judge(records(MASKED), [elsewhere], ())
    wanted = "harness golden calibrate forward.loss --stack reference --recipe mask-prompt"
    assert wanted in judgement.items[0].reason
    assert judgement.calibration == wanted


@pytest.mark.parametrize(
    ("recipe", "words"),
    [(PUBLISHED, ""), (MASKED, ", recipe mask-prompt"), ("f00d", ", recipe f00d")],
)
def test_the_verdicts_first_line_names_a_recipe_that_is_not_the_published_one(
    recipe: str, words: str
) -> None:
    headline = judge(records(recipe), [TRUTH], ()).headline
    assert f"data catalogue{words}: " in headline


def test_a_golden_of_no_recipe_that_there_is_is_flagged(tmp_path: Path) -> None:
    for name, digest in (("gone", MASKED), ("mask-prompt", "0" * 16)):
        golden = replace(TRUTH, recipes={name: digest})
        write_golden(golden, truth_path("forward", "qwen2_vl", "loss", "any", tmp_path, [name]))
    assert {row.why for row in listed(tmp_path)} == {
        f"there is no recipe gone of digest {MASKED}",
        f"there is no recipe mask-prompt of digest {'0' * 16}",
    }


def test_a_golden_without_its_recipe_in_its_name_is_flagged(tmp_path: Path) -> None:
    golden = only_for(TRUTH, "mask-prompt")
    write_golden(golden, truth_path("forward", "qwen2_vl", "loss", root=tmp_path))
    (row,) = listed(tmp_path)
    assert row.why == "its place is truth/forward/qwen2_vl/loss@mask-prompt.json"


def test_addresses_tell_recipes_apart() -> None:
    place = ("forward", "qwen2_vl", "loss")
    assert truth_path(*place).name == "loss.json"
    assert truth_path(*place, "stand-in", recipes=["warmup"]).name == "loss@stand-in@warmup.json"
    assert truth_path(*place, recipes=["reference", "warmup"]).name == "loss.json"
    assert observed_path("cpu-x", "reference", *place, recipes=["warmup"]).name == (
        "loss@warmup.json"
    )
    assert expected_path("reference").name == "reference.json"
    assert expected_path("reference", "warmup").name == "reference@warmup.json"


LISTED = {"finding": "forward.a", "verdict": "CHANGED", "reason": "known"}


def expected_lists(root: Path, **own: Any) -> None:
    two = [LISTED, {**LISTED, "finding": "forward.b"}]
    write_sealed(root / "expected/reference.json", {"schema": 1, "findings": two})
    if own:
        write_sealed(root / "expected/reference@mask-prompt.json", {"schema": 1, **own})


def test_a_variants_list_says_what_differs_from_the_stacks(tmp_path: Path) -> None:
    other = {**LISTED, "finding": "forward.b", "reason": "otherwise"}
    new = {**LISTED, "finding": "forward.c"}
    expected_lists(tmp_path, absent={"forward.a": "nothing is padded"}, findings=[other, new])
    usual = read_expected("reference", tmp_path)
    assert [(e.finding, e.reason) for e in usual] == [
        ("forward.a", "known"),
        ("forward.b", "known"),
    ]
    own = read_expected("reference", tmp_path, "mask-prompt")
    assert [(e.finding, e.reason) for e in own] == [
        ("forward.b", "otherwise"),
        ("forward.c", "known"),
    ]
    for recipe in ("warmup", "a digest"):
        assert read_expected("reference", tmp_path, recipe) == usual


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ({"findings": []}, "does not say which findings are absent"),
        ({"findings": [], "absent": ["forward.a"]}, "does not say which findings are absent"),
        ({"findings": [], "absent": {"forward.z": "why"}}, "says that forward.z is absent"),
        ({"absent": {}}, "has no list of findings"),
        ({"absent": {}, "findings": [{}]}, "holds an incomplete finding"),
    ],
)
def test_a_damaged_list_of_a_variant_is_named(tmp_path: Path, own: Any, sentence: str) -> None:
    expected_lists(tmp_path, **own)
    with pytest.raises(BadInput, match=sentence) as refused:
        read_expected("reference", tmp_path, "mask-prompt")
    assert "reference@mask-prompt.json" in str(refused.value)


def test_a_list_of_no_recipe_is_a_stray(tmp_path: Path) -> None:
    expected_lists(tmp_path, absent={}, findings=[])
    write_sealed(tmp_path / "expected/reference@gone.json", {})
    place = f"{tmp_path.name}/expected/reference@gone.json"
    assert stray(tmp_path) == (Stray(place, "there is no recipe gone"),)


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("probe",),
        ("compare", "reference", "latest"),
        ("bisect", "transformers"),
        ("golden", "check"),
        ("golden", "update", "forward.loss", "--reason", "x"),
        ("golden", "calibrate", "forward.loss"),
    ],
)
def test_every_verb_that_measures_refuses_a_recipe_that_is_none(
    harness: Command, words: tuple[str, ...]
) -> None:
    ended = harness(*words, "--recipe", "maskprompt")
    assert ended.code == 2
    assert all(name in ended.stderr for name in VARIANTS)


def asked(tmp_path: Path, recipe: str) -> CompareSpec:
    request = Request("current", "stand-in", "catalogue", "cpu", recipe=variant(recipe))
    return CompareSpec("reference", "latest", request, ("forward",), resume=str(tmp_path))


def test_a_plan_is_of_one_recipe(tmp_path: Path) -> None:
    plan = {"schema": 2, "old": "reference", "new": "latest", "model": "stand-in"}
    plan |= {"data": "catalogue", "device": "cpu", "rungs": ["forward"], "recipe": "mask-prompt"}
    write_json(tmp_path / PLAN, plan)
    assert folder_of(asked(tmp_path, "mask-prompt")) == tmp_path
    with pytest.raises(BadInput, match="was started with recipe 'mask-prompt', not 'reference'"):
        folder_of(asked(tmp_path, "reference"))
    # A plan of before was asked with the published recipe.
    del plan["recipe"]
    write_json(tmp_path / PLAN, {**plan, "schema": 1})
    assert folder_of(asked(tmp_path, "reference")) == tmp_path
    with pytest.raises(BadInput, match="was started with recipe 'reference', not 'warmup'"):
        folder_of(asked(tmp_path, "warmup"))


def test_a_bisect_measures_with_the_recipe_of_its_comparison() -> None:
    facts = FactsEntry("stand-in", "catalogue", "d", "cpu-x", recipe=MASKED)
    published, masked = variant("reference"), variant("mask-prompt")
    assert same_recipe(facts, published) == same_recipe(facts, masked) == masked
    with pytest.raises(BadInput, match="measured with the recipe mask-prompt; leave --recipe war"):
        same_recipe(facts, variant("warmup"))
    assert same_recipe(replace(facts, recipe=""), published) == published
    with pytest.raises(BadInput, match="which this harness has not"):
        same_recipe(replace(facts, recipe="f00d"), published)


def test_the_words_that_measure_again_name_the_recipe() -> None:
    request = Request("current", "stand-in", "catalogue", "cpu", recipe=variant("warmup"))
    assert probe_options(request)[4:6] == ("--recipe", "warmup")
    assert "--recipe" not in probe_options(replace(request, recipe=variant("reference")))


def test_the_facts_of_records_say_their_recipe() -> None:
    assert facts_of(records(MASKED)).recipe_name == "mask-prompt"
    assert facts_of(records("f00d")).recipe_name == "f00d"
