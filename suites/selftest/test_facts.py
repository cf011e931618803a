"""What a golden or a list holds for: device, stack, samples, family, recipe; records of one run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import BadInput
from harness.judging.goldens.expected import expected_path, read_expected
from harness.judging.goldens.judgement import Facts, facts_of
from harness.judging.goldens.scope import holds
from harness.judging.goldens.verdicts import judge
from harness.records.record import Verdict
from suites.selftest.verdicts import golden, loss, record

FACTS = Facts("reference", "stand-in", "catalogue", "cpu-x", "stand-in", "qwen2_vl")


def test_observed_goldens_hold_for_their_device_and_stack_only() -> None:
    seen = golden(1, kind="observed", device_key="cpu-y", stack="reference", model="stand-in")
    other = replace(seen, stack="latest", device_key="cpu-x")
    assert judge({"forward": record("forward", loss(2))}, [other], []).items == ()
    here = replace(seen, device_key="cpu-x")
    assert judge({"forward": record("forward", loss(2))}, [here], []).exit_code == 1


def test_a_number_that_only_another_device_has_is_not_run_and_green() -> None:
    seen = golden(1, kind="observed", device_key="cpu-y", stack="reference", model="stand-in")
    truth = golden(3, metric="normaliser")
    records = {"forward": record("forward", loss(2), loss(3, name="normaliser"))}
    judgement = judge(records, [seen, truth], [])
    assert judgement.exit_code == 0
    assert [i.finding for i in judgement.missing] == ["forward.loss"]
    assert "harness golden calibrate forward.loss --stack reference" in judgement.missing[0].reason
    assert "1 not run" in judgement.headline
    # Once this device has its own, that one counts, in whatever order they are read.
    here = replace(seen, device_key="cpu-x")
    for order in ([seen, here, truth], [truth, here, seen]):
        assert judge(records, order, []).exit_code == 1


def test_an_observed_number_of_other_samples_is_not_comparable() -> None:
    seen = golden(
        1,
        kind="observed",
        device_key="cpu-x",
        stack="reference",
        model="stand-in",
        provenance={"samples": "other"},
    )
    (item,) = judge({"forward": record("forward", loss(2))}, [seen], []).items
    assert item.verdict is Verdict.NOT_COMPARABLE
    assert item.reason == "observed with another samples"
    assert [(c.name, c.old) for c in item.conditions] == [("samples", "other")]


def test_a_truth_outranks_an_observed_number() -> None:
    seen = golden(2, kind="observed", device_key="cpu-x", stack="reference", model="stand-in")
    judgement = judge({"forward": record("forward", loss(2))}, [golden(1), seen], [])
    assert [i.kind for i in judgement.items] == ["truth"]
    assert judgement.exit_code == 1


def test_conditions_of_expectations() -> None:
    assert holds("cpu+stand-in", FACTS)
    assert not holds("cuda", FACTS)
    assert not holds("cpu+real-vocabulary", FACTS)
    assert not holds("other-model", FACTS)
    assert holds("other-model", replace(FACTS, model="/data/mine"))


@pytest.mark.parametrize(
    ("name", "other", "sentence"),
    [
        ("stack", "latest", "stack is 'reference' in text.json and 'latest' in ids.json"),
        ("recipe", "mine", "recipe is"),
        ("model_digest", "another", "model_digest is"),
        ("seed", 7, "seed is"),
        ("faults", ("labels",), "faults is"),
        ("versions", {"torch": "1", "trl": "2"}, "versions is {} in text.json and {'torch': '1'"),
    ],
)
def test_records_of_two_runs_are_refused(name: str, other: object, sentence: str) -> None:
    records = {"text": record("text"), "ids": record("ids", **{name: other})}
    with pytest.raises(BadInput, match="different runs") as raised:
        facts_of(records)
    assert sentence in str(raised.value)


def test_of_versions_only_those_that_differ_are_said() -> None:
    """Of forty packages one."""
    one = {"torch": "1", "trl": "2"}
    records = {
        "text": record("text", versions=one),
        "ids": record("ids", versions={**one, "trl": "3"}),
    }
    with pytest.raises(BadInput) as raised:
        facts_of(records)
    assert "versions is {'trl': '2'} in text.json and {'trl': '3'} in ids.json" in str(raised.value)


def test_a_family_without_a_list_shares_the_rungs_that_look_at_no_model() -> None:
    usual = read_expected("reference")
    rungs = {wish.finding.split(".")[0] for wish in usual}
    assert {"interface", "images"} <= rungs
    shared = read_expected("reference", family="one_without_a_list")
    assert shared == tuple(w for w in usual if w.finding.startswith(("environment.", "interface.")))


def test_a_recipe_of_ones_own_is_expected_to_show_what_the_published_one_shows() -> None:
    published = expected_path("latest")
    assert published.name == "latest.json"
    assert expected_path("latest", "reference") == published
    assert expected_path("latest", "somebodys-own") == published
    assert expected_path("latest", "mask-prompt").name == "latest@mask-prompt.json"


def test_a_rung_whose_process_died_belongs_to_its_run_all_the_same() -> None:
    dead = record("text", device_key="", versions={})
    alive = record("ids", versions={"torch": "1"})
    assert facts_of({"text": dead, "ids": alive}).device_key == FACTS.device_key
    with pytest.raises(BadInput, match="model_digest"):
        facts_of(
            {
                "text": replace(dead, provenance=replace(dead.provenance, model_digest="x")),
                "ids": alive,
            }
        )


@pytest.mark.parametrize(
    ("goldens", "kind", "wanted"),
    [
        # A truth outranks a number that was observed, whichever is read first.
        (("truth", "observed"), "truth", 1),
        (("observed", "truth"), "truth", 1),
        # Of two observed ones the first stands.
        (("observed", "observed again"), "observed", 2),
    ],
)
def test_one_value_has_one_judgement(goldens: tuple[str, ...], kind: str, wanted: int) -> None:
    seen = golden(2, kind="observed", device_key="cpu-x", stack="reference", model="stand-in")
    every = {
        "truth": golden(1),
        "observed": seen,
        "observed again": replace(seen, cases={"": 3}),
    }
    judgement = judge(
        {"forward": record("forward", loss(9))}, [every[name] for name in goldens], []
    )
    assert [(item.kind, item.golden) for item in judgement.items] == [(kind, wanted)]
