"""Every family on a tiny model of its own: rungs 2 to 10 against its oracle, each part alive, and
what is planted in each part found. `-m slow`, on the stacks that have the family."""

from __future__ import annotations

import html
import json
import random
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.data.samples import gradient, plain_conversations
from harness.errors import NotRunnable
from harness.judging.environments.installed import installed_stack
from harness.judging.goldens.expected import read_expected
from harness.judging.goldens.golden import Golden
from harness.judging.goldens.judgement import facts_of
from harness.judging.goldens.own import goldens_for
from harness.judging.goldens.verdicts import judge
from harness.judging.report.run.page import page_of
from harness.measuring.child.job import describe, prepare
from harness.measuring.child.own_truths import leave_own_truths, oracle, part
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import (
    families,
    family,
    lacks_release,
    of_recipe,
    parts,
    plain_sizes,
)
from harness.measuring.probes import forward as forward_probe
from harness.measuring.probes._batches import adapted_model, batch, forward, plain_model
from harness.measuring.probes._together import record_together
from harness.measuring.probes.forward import record_plain, record_tuned
from harness.measuring.snapshots import tiny
from harness.measuring.snapshots.loading import load_processor
from harness.measuring.snapshots.source import resolve, stand_ins
from harness.pytest_plugin import assert_no_unexpected, in_worker, measured_once
from harness.recipe.published import REFERENCE
from harness.records.context import Context, build_context
from harness.records.files import json_digest
from harness.records.record import RUNGS, Record

JUDGED = RUNGS[2:11]


def shapes() -> Iterator[str]:
    """`tiny:FAMILY@SIZE` of every family, one for each shape that its sizes shrink to. The recipe's
    own model has the stand-in."""
    for name in families():
        seen = set()
        for size, published in family(name).PUBLISHED.items():
            shape = json_digest(family(name).tiny(published.config))
            if shape not in seen and (name, size) != of_recipe():
                yield f"{tiny.PREFIX}{name}@{size}"
            seen.add(shape)


def changes(model: str, fault: Mapping[str, Any]) -> bool:
    """Whether a change of a config is one of this size's: a head of its own is the untied's."""
    name, size = tiny.named(model)
    config = family(name).tiny(family(name).PUBLISHED[size].config)
    return merged(config, fault) != config


def merged(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The config with changes, inside its own mappings too."""
    new = {**config}
    for name, value in changes.items():
        inner = isinstance(value, Mapping) and isinstance(config.get(name), Mapping)
        new[name] = merged(config[name], value) if inner else value
    return new


MODELS = tuple(shapes())
FAULTS = [
    (model, fault)
    for model in MODELS
    for fault, change in getattr(oracle(tiny.named(model)[0]), "FAULTS", {}).items()
    if changes(model, change)
]
PLANTED = [
    (model, fault)
    for model in MODELS
    for fault in getattr(oracle(tiny.named(model)[0]), "PLANTED", {})
]
BOTH_WAYS = [
    model for model in MODELS if family(tiny.named(model)[0]).MASK == "pictures see both ways"
]


# Of families beside the recipe's, which are trained and larger.
TRAINED = tuple(f"stand-in:{name}" for name in stand_ins() if name != of_recipe()[0])


@cache
def context_of(model: str, out: Path) -> Context:
    """The model's, its truths left beside its records. Skips where the stack lacks the family."""
    lack = lacks_release(model.partition(":")[2].partition("@")[0])
    if lack:
        assert "needs transformers" in lack
        pytest.skip(f"NOT_RUN: {lack}")
    source = resolve(model)
    built = build_context(
        stack=installed_stack(),
        model=source.name,
        data="catalogue",
        out=out,
        snapshot=source.snapshot,
        has_weights=source.has_weights,
        model_digest=source.digest,
        vocabulary=source.vocabulary,
        family=source.family,
        device="cpu",
        # Two would wait for one another on models as small as these, twenty times as long.
        threads=1,
    )
    described = describe(built)
    prepare(described)
    leave_own_truths(described)
    return described


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's records lie: one folder for all workers."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if in_worker() else base) / "families"


@pytest.fixture
def tiny_context(request: pytest.FixtureRequest, root: Path) -> Context:
    """Of the model that the test is given."""
    model: str = request.getfixturevalue("model")
    return context_of(model, root / model.replace(":", "-"))


def goldens_of(context: Context) -> tuple[Golden, ...]:
    return goldens_for(context.out)


@pytest.mark.slow
@pytest.mark.parametrize("rung", JUDGED)
@pytest.mark.parametrize("model", [*MODELS, *TRAINED])
def test_rung(model: str, rung: str, tiny_context: Context) -> None:
    """Nothing but what the stack's list for the family knows, and nothing left out."""
    records = {rung: measured_once(tiny_context, rung)}
    facts = facts_of(records)
    expected = read_expected(facts.stack_name, recipe=facts.recipe_name, family=facts.family)
    judgement = judge(records, goldens_of(tiny_context), expected, facts)
    assert_no_unexpected(judgement)
    judged = [item for item in judgement.items if item.kind == "truth"]
    assert judged, f"no truth of rung {rung}"
    wishes = {wish.finding: wish for wish in expected}
    # A text is told by its reason, a digest of pixels by the vector kernels of a processor.
    sized = [i for i in judged if i.known and i.now is not None and not isinstance(i.golden, str)]
    known = [wishes[item.finding] for item in sized]
    assert [w.finding for w in known if w.band is None and not w.otherwise] == []


@pytest.mark.parametrize("name", families())
def test_a_named_picture_is_opened_or_left_to_the_processor(name: str, tmp_path: Path) -> None:
    if lack := lacks_release(name):
        pytest.skip(f"NOT_RUN: {lack}")
    path = tmp_path / "picture.png"
    gradient(112, 84).save(path)
    content = [{"type": "image", "image": str(path)}]
    (picture,) = family(name).pictures([{"role": "user", "content": content}])
    assert picture == str(path) or isinstance(picture, Image.Image)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_part_is_alive(model: str, tiny_context: Context) -> None:
    """Each parameter of the tiny model has a share in the loss of rows with and without
    pictures: a part that is never reached would be judged by nothing."""
    judge_of = oracle(tiny_context.family)
    assert judge_of is not None
    sizes = plain_sizes(tiny_context.family, tiny_context.snapshot)
    rows = plain_conversations(sizes, REFERENCE)
    module = plain_model(tiny_context).train()
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    forward(module, batch(tiny_context, "right", list(rows.values()))).loss.backward()
    idle = [n for n, p in module.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert idle == list(judge_of.IDLE)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_rows_pictures_in_reverse_are_found(
    model: str, tiny_context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their grids, where the family's batches say them and a row's two have not the same."""
    loader = family(tiny_context.family)
    fetched = loader.pictures
    monkeypatch.setattr(loader, "pictures", lambda messages: fetched(messages)[::-1])
    recorder = Recorder("images")
    record_together(recorder, tiny_context, loader, load_processor(tiny_context.snapshot))
    record = recorder.finish(tiny_context.provenance(), tmp_path)
    asked = [golden for golden in goldens_of(tiny_context) if golden.metric.startswith("mixed_")]
    values: dict[str, Any] = {metric.name: metric.value for metric in record.metrics}
    _, *two = values.get("mixed_grids", (None, None, None))
    named = {item.finding for item in judge({"images": record}, asked, ()).red}
    assert named == ({"images.mixed_grids"} if two[0] != two[1] else set())


@pytest.mark.slow
@pytest.mark.parametrize(("model", "fault"), FAULTS)
def test_fault_is_found(model: str, fault: str, tiny_context: Context, tmp_path: Path) -> None:
    """The same weights under a config with one thing wrong: red at the loss that is worked out."""
    judge_of = oracle(tiny_context.family)
    assert judge_of is not None
    folder = tmp_path / "snapshot"
    shutil.copytree(tiny_context.snapshot, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    wrong = merged(config, judge_of.FAULTS[fault])
    assert wrong != config
    (folder / "config.json").write_text(json.dumps(wrong), "utf-8")
    planted = replace(tiny_context, snapshot=folder, out=tmp_path)
    recorder = Recorder("forward")
    record_plain(recorder, planted)
    assert red(recorder.finish(planted.provenance(), tmp_path), goldens_of(tiny_context))


@pytest.mark.slow
@pytest.mark.parametrize(("model", "fault"), PLANTED)
def test_planted_fault_is_found(
    model: str, fault: str, tiny_context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same model with a part put out that no config switches: red at the same loss."""
    judge_of = oracle(tiny_context.family)
    assert judge_of is not None

    def planted(context: Context) -> Any:
        loaded = plain_model(context)
        judge_of.PLANTED[fault](loaded)
        return loaded

    monkeypatch.setattr(forward_probe, "plain_model", planted)
    recorder = Recorder("forward")
    record_plain(recorder, tiny_context)
    assert red(recorder.finish(tiny_context.provenance(), tmp_path), goldens_of(tiny_context))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_lora_module_that_is_lost_is_found(
    model: str, tiny_context: Context, tmp_path: Path
) -> None:
    """Every one of the decoder's, at a loss that is worked out with it."""

    def tuned(adapted: Any) -> list[str]:
        recorder = Recorder("forward")
        record_tuned(recorder, tiny_context, adapted)
        record = recorder.finish(tiny_context.provenance(), tmp_path)
        return red(record, goldens_of(tiny_context), "tuned_loss")

    adapted = adapted_model(tiny_context)
    assert tuned(adapted) == []
    decoder = [
        module
        for layer in parts(adapted).layers
        for module in layer.modules()
        if hasattr(module, "lora_B")
    ]
    assert decoder
    for module in decoder:
        kept, module.scaling = module.scaling, dict.fromkeys(module.scaling, 0.0)
        assert tuned(adapted) == ["forward.tuned_loss.right_none"]
        module.scaling = kept


@pytest.mark.slow
@pytest.mark.parametrize("model", BOTH_WAYS)
def test_pictures_that_see_one_way_are_found(
    model: str, tiny_context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collator that drops what marks the pictures' tokens: the decoder's mask is causal then."""
    tensors = family(tiny_context.family).TENSORS
    marks = [name for name, tensor in tensors.items() if tensor.holds == "marks"]

    def unmarked(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {name: value for name, value in batch(*args, **kwargs).items() if name not in marks}

    monkeypatch.setattr(forward_probe, "batch", unmarked)
    recorder = Recorder("forward")
    record_plain(recorder, tiny_context)
    record = recorder.finish(tiny_context.provenance(), tmp_path)
    assert any("_none" not in finding for finding in red(record, goldens_of(tiny_context)))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_the_page_says_family_and_what_is_special(
    model: str, tiny_context: Context, tmp_path: Path
) -> None:
    records = {"model": measured_once(tiny_context, "model")}
    judgement = judge(records, goldens_of(tiny_context), (), facts_of(records))
    page = page_of(tiny_context.out, records, judgement).decode()
    loader = family(tiny_context.family)
    # Backticks are code there.
    words = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert f"{loader.TITLE}: {loader.SPECIAL}".replace("`", "") in words


def red(record: Record, goldens: tuple[Golden, ...], metric: str = "plain_loss") -> list[str]:
    """Findings of a record of one metric's losses alone."""
    family = record.provenance.family
    plain = [g for g in goldens if g.metric == metric and g.family == family]
    assert plain, "the family's own forward pass left no truth"
    return [item.finding for item in judge({"forward": record}, plain, ()).red]


@pytest.mark.parametrize(
    ("name", "size"), [(name, size) for name in families() for size in family(name).PUBLISHED]
)
def test_published_sizes(name: str, size: str) -> None:
    """The matrices written out from the oracle's own numbers count to what the publisher's
    checkpoint counts, and those numbers are the family file's."""
    judge_of = oracle(name)
    assert judge_of is not None
    config = judge_of.SIZES[size]
    assert part("architecture").Architecture is type(judge_of.architecture(config))
    assert judge_of.architecture(config).count == judge_of.COUNTS[size]
    theirs = family(name).PUBLISHED[size].config
    assert merged(theirs, config) == {**theirs}


@pytest.mark.parametrize("name", [name for name in families() if not lacks_release(name)])
def test_any_picture_takes_the_tokens_that_its_oracle_says(name: str) -> None:
    """Of sizes that nobody chose; but where a float's last bit decides."""
    loader, judge_of = family(name), oracle(name)
    assert judge_of is not None
    snapshot = tiny.snapshot(tiny.PREFIX + name)
    processor, counts = loader.processor(snapshot), judge_of.oracle(snapshot)
    chance = random.Random(name)
    sizes = [(chance.randint(28, 400), chance.randint(28, 400)) for _ in range(30)]
    decided = [size for size in sizes if not counts.undecided(*size)]
    assert len(decided) > len(sizes) / 2
    for height, width in decided:
        picture = loader.one_picture(processor, gradient(width, height))
        assert (picture.tokens, picture.grid) == (
            counts.tokens(height, width),
            counts.grid(height, width),
        ), (height, width)


@pytest.mark.parametrize("name", [name for name in families() if not lacks_release(name)])
def test_the_library_changes_none_of_a_familys_facts(name: str) -> None:
    """transformers fills the mappings that a config is made of; a tiny model that was built after
    it had would be another one, in the same process and under the same name."""
    facts = family(name)
    for published in facts.PUBLISHED.values():
        before = json_digest([published.config, facts.tiny(published.config)])
        facts.config(published.config)
        assert json_digest([published.config, facts.tiny(published.config)]) == before


def test_a_name_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.errors import BadInput

    with pytest.raises(BadInput, match=r"There is no family for tiny:nothing; give tiny:\{"):
        resolve("tiny:nothing")
    with pytest.raises(BadInput, match="qwen2_vl has 7b, 2b"):
        resolve("tiny:qwen2_vl@3b")
    monkeypatch.setattr(family("qwen2_vl"), "NEEDS", {"transformers": ">=99"})
    with pytest.raises(NotRunnable, match="needs transformers>=99"):
        resolve("tiny:qwen2_vl")


def test_two_builds_are_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for name in ("one", "other"):
        monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / name))
        digests.append(resolve("tiny:qwen2_vl@2b").digests)
    assert digests[0] == digests[1]
