"""The rungs look at the user's own samples, and judge them by what the oracles say of these."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.commands._verdict import judged
from harness.data.catalogue import products, row
from harness.data.intake import check_data
from harness.data.samples import has_own_prompt
from harness.errors import Lack
from harness.judging.environments.installed import installed_stack
from harness.judging.goldens.judgement import Judgement
from harness.measuring import probes
from harness.measuring.child.own_truths import leave_own_truths
from harness.measuring.models import family
from harness.measuring.snapshots.source import STAND_IN, resolve
from harness.measuring.training import collate
from harness.recipe.published import Recipe, variant
from harness.records.beside import read_own_truths
from harness.records.context import Context, build_context
from harness.records.record import Record, Verdict, write_record
from suites.pictures import leave_out_large

COLUMNS = {"description": "text", "image": "picture", "Product Name": "title", "Category": "kind"}
# Found where the samples are looked at; rung 1 and rung 0 look at none.
LOOKING = ("text", "ids", "images", "labels", "inputs")
# What a catalogue's batch decides and no other batch can be judged by.
OF_A_BATCH = (
    "ids.batch_ids.left",
    "ids.batch_mask.right",
    "labels.recipe.left",
    "labels.completion.right",
    "labels.supervised.assistant",
    "images.tokens_by_row",
    "inputs.prefill_positions.left",
)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in as a user's own model: its data may be any."""
    return shutil.copytree(STAND_IN, tmp_path_factory.mktemp("model") / "mine")


def write_products(folder: Path) -> dict[str, Any]:
    """Rows in files called by their split, their pictures beside them."""
    (folder / "pictures").mkdir(parents=True)
    for name, chosen in (("train", products("heldout")[:6]), ("test", products("heldout")[6:9])):
        lines = []
        for number, product in enumerate(chosen):
            columns = row(product)
            picture = f"pictures/{name}{number}.png"
            columns["image"].resize((150 + 9 * number, 100)).save(folder / picture)
            line = {"picture": picture, "title": product.name, "kind": product.category}
            lines.append(json.dumps({**line, "text": product.description}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return {"columns": COLUMNS}


def write_conversations(folder: Path) -> dict[str, Any]:
    """Two pictures a row, two turns of the user, no system turn."""
    folder.mkdir(parents=True)
    lines = []
    for number, product in enumerate(products("heldout")[:5]):
        picture = row(product)["image"]
        picture.resize((140 + 8 * number, 90)).save(folder / f"{number}a.png")
        picture.resize((60, 120)).save(folder / f"{number}b.png")
        words = product.description.split(" ")
        turns = [
            ("user", [{"type": "image"}, {"type": "text", "text": product.name}]),
            ("assistant", words[0]),
            ("user", [{"type": "text", "text": "And "}, {"type": "image"}]),
            ("assistant", product.description),
        ]
        messages = [{"role": role, "content": content} for role, content in turns]
        images = [f"{number}a.png", f"{number}b.png"]
        lines.append(json.dumps({"messages": messages, "images": images}))
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return {}


Write = Callable[[Path], dict[str, Any]]


def context_of(
    write: Write, snapshot: Path, folder: Path, out: Path, recipe: Recipe | None = None
) -> Context:
    from harness.measuring.child.job import describe, prepare

    asked = write(folder) if not folder.exists() else {}
    source = resolve(str(snapshot))
    context = build_context(
        stack=installed_stack(),
        model=source.name,
        data=str(folder),
        out=out,
        snapshot=source.snapshot,
        has_weights=source.has_weights,
        model_digest=source.digest,
        vocabulary=source.vocabulary,
        family=source.family,
        device="cpu",
        recipe=recipe or variant("reference"),
        threads=torch.get_num_threads(),
        **asked,
    )
    context = replace(describe(context), data_digest=check_data(context, snapshot))
    prepare(context)
    return context


def measured(context: Context, *rungs: str) -> tuple[dict[str, Record], Judgement]:
    leave_own_truths(context)
    records = {rung: probes.measured(context, rung) for rung in rungs}
    for record in records.values():
        write_record(record, context.out)
    return records, judged(records, context.out)


@pytest.fixture(scope="module", params=[write_products, write_conversations])
def looked(
    request: pytest.FixtureRequest, snapshot: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Context, dict[str, Record], Judgement]:
    place = tmp_path_factory.mktemp("own")
    context = context_of(request.param, snapshot, place / "data", place / "out")
    with pytest.MonkeyPatch.context() as patch:
        leave_out_large(patch, family(context.family))
        return context, *measured(context, *LOOKING)


Looked = tuple[Context, Mapping[str, Record], Judgement]


def test_every_value_of_the_own_samples_is_as_the_oracles_say(looked: Looked) -> None:
    _, _, judgement = looked
    assert not judgement.red, judgement.red
    verdicts = {item.finding: item.verdict for item in judgement.items}
    assert {finding: verdicts.get(finding) for finding in OF_A_BATCH} == dict.fromkeys(
        OF_A_BATCH, Verdict.SAME
    )
    for case in ("text.rendered.sample_0", "text.rendered.prompt_3", "ids.encoded.sample_0_0_user"):
        if case.startswith("ids") and looked[0].columns:
            case = "ids.encoded.sample_0_1_user"
        assert verdicts[case] is Verdict.SAME


def test_the_records_hold_the_users_texts_and_pictures(looked: Looked) -> None:
    context, records, _ = looked
    text = str(records["text"].find("rendered", "sample_0").value)
    assert products("heldout")[0].description in text
    assert text.count("<|image_pad|>") == (1 if context.columns else 2)
    rows = records["images"].find("tokens_by_row").value
    # 150×100 is 5×4 patches of 28 px; 140×90 5×3 and 60×120 2×4.
    assert rows[0] == (20 if context.columns else 15 + 8)
    assert {r.provenance.data_digest for r in records.values()} == {context.data_digest}
    assert context.data_digest


def test_the_truths_lie_beside_the_records(looked: Looked) -> None:
    context, _, _ = looked
    truths = read_own_truths(context.out)
    assert truths is not None
    assert truths.data_digest == context.data_digest
    assert all(each.cases for each in truths.truths)


def test_a_mistake_on_the_own_samples_is_found(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padding is trained: by the catalogue's truth this could not be told."""
    context = context_of(write_products, snapshot, tmp_path / "data", tmp_path / "out")
    monkeypatch.setattr(collate, "recipe_labels", lambda ids, tokenizer, chat: ids.clone())
    _, judgement = measured(context, "labels")
    assert {"labels.recipe.left", "labels.recipe.right"} <= {i.finding for i in judgement.red}


def test_what_has_no_truth_is_said_and_not_judged(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.measuring.child.own_truths.ORACLES", tmp_path / "nowhere")
    context = context_of(write_products, snapshot, tmp_path / "data", tmp_path / "out")
    _, judgement = measured(context, "ids")
    item = next(i for i in judgement.items if i.finding == "ids.batch_ids")
    assert item.verdict is Verdict.NOT_COMPARABLE
    assert item.reason == (
        "there is no truth for these samples: the family qwen2_vl has no oracle for samples"
    )
    assert judgement.exit_code == 0


def test_conversations_have_a_prompt_of_their_own(snapshot: Path, tmp_path: Path) -> None:
    """What the recipe's prompt contradicts itself about is not measured on them."""
    products_context = context_of(write_products, snapshot, tmp_path / "a", tmp_path / "out")
    talk = context_of(write_conversations, snapshot, tmp_path / "b", tmp_path / "out")
    assert not has_own_prompt(products_context)
    assert has_own_prompt(talk)


def test_another_picture_is_another_sample(snapshot: Path, tmp_path: Path) -> None:
    first = context_of(write_products, snapshot, tmp_path / "data", tmp_path / "one")
    shutil.copyfile(
        tmp_path / "data" / "pictures" / "train5.png", tmp_path / "data" / "pictures" / "train0.png"
    )
    asked = replace(first, out=tmp_path / "two")
    second = replace(asked, data_digest=check_data(asked, snapshot))
    assert first.provenance("x").samples != second.provenance("x").samples


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_products, write_conversations])
def test_every_higher_rung_runs_on_the_own_samples(
    write: Write, snapshot: Path, tmp_path: Path
) -> None:
    context = context_of(write, snapshot, tmp_path / "data", tmp_path / "out")
    context = replace(context, scale=replace(context.scale, max_steps=2, max_new_tokens=8))
    rungs = ("forward", "backward", "update", "trajectory", "generation", "cost")
    records, judgement = measured(context, *rungs)
    assert not judgement.red, judgement.red
    assert all(r.provenance.data_digest == context.data_digest for r in records.values())
    kept = json.loads((context.out / "work" / "generation" / "generations.json").read_text())
    effect = records["forward"].find("order_effect")
    assert effect.lack is (None if context.columns else Lack.DATA)
    heldout = products("heldout")[6 if context.columns else 4]
    assert kept["products"][0]["reference"] == heldout.description
