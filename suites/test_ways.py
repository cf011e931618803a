"""A named way on a trainer: the same losses and the same adapter, and nothing left when undone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version

from harness.data.dataset import load_rows
from harness.errors import BadInput, NotRunnable
from harness.measuring import _compat
from harness.measuring.lane.step import (
    accumulate,
    ahead,
    prepare,
    trained_tensors,
    without_mask,
)
from harness.measuring.models import family, of_snapshot
from harness.measuring.snapshots.loading import (
    QuantisationMode,
    load_model,
    load_processor,
    quantisation_mode,
)
from harness.measuring.snapshots.source import STAND_IN
from harness.measuring.training.collate import make_collator
from harness.measuring.training.trainer import build_trainer
from harness.measuring.ways import Applied, apply
from harness.measuring.ways.apply import lacking
from harness.measuring.ways.head import places_of
from harness.recipe.published import REFERENCE, training_messages
from harness.recipe.ways import VARIANTS, variant

# Two epochs of four samples: a cached tower meets every picture again, in another batch.
ROWS, MICRO, STEPS = 4, 2, 4
# float32 on both sides, sums in another order: see suites/test_processes.py, which derives them.
LOSS_BAND, WEIGHT_BAND = 1e-6, 2e-5
# With 4-bit weights TRL 1.16 trains bfloat16 adapters: a float32 difference of the last digit can
# turn a rounding of 2**-9 either way.
BF16_LOSS_BAND = 2**-9
PACKS = quantisation_mode("cpu") == "bitsandbytes"


def trainer_on(folder: Path, quantisation: QuantisationMode = "none") -> Any:
    """SFTTrainer on the stand-in, as `harness train` builds it; losses of every micro-batch."""

    def recording(base: Any) -> Any:
        class Recording(base):  # type: ignore[misc]
            losses: list[float]

            def training_step(self, *args: Any, **kwargs: Any) -> Any:
                loss = super().training_step(*args, **kwargs)
                self.losses.append(float(loss))
                return loss

        return Recording

    model = load_model(
        STAND_IN, quantisation=quantisation, attention=_compat.training_attention("cpu")
    )
    trainer = build_trainer(
        model,
        load_processor(STAND_IN),
        [training_messages(row) for row in load_rows("catalogue", "train", limit=ROWS)],
        REFERENCE,
        folder / "trainer",
        max_steps=STEPS,
        micro_batch=MICRO,
        accumulation=1,
        learning_rate=2e-3,
        dropout=False,
        log_folder=folder / "logs",
        trainer_class=recording,
    ).trainer
    trainer.losses = []
    return trainer


def trained(folder: Path, way: str = "", quantisation: QuantisationMode = "none") -> Any:
    trainer = trainer_on(folder, quantisation)
    if way:
        apply(trainer, way)
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], dict[str, Any]]:
    trainer = trained(tmp_path_factory.mktemp("plain"))
    return trainer.losses, trained_tensors(trainer.model)


@pytest.mark.slow
@pytest.mark.parametrize(
    "way",
    [
        "no_checkpointing",
        "selected_logits",
        "cached_vision",
        "per_image_attention",
        "fastest",
        # Compiled layers, compiled tower.
        "unpacked_kept",
    ],
)
def test_a_trainer_learns_the_same_under_a_way(
    way: str, plain: tuple[list[float], dict[str, Any]], tmp_path: Path
) -> None:
    trainer = trained(tmp_path, way)
    assert len(trainer.losses) == len(plain[0]) == STEPS
    assert trainer.losses == pytest.approx(plain[0], rel=LOSS_BAND)
    adapter = trained_tensors(trainer.model)
    assert adapter.keys() == plain[1].keys()
    for name, wanted in plain[1].items():
        assert wanted.abs().max() > 0, name
        assert (adapter[name] - wanted).abs().max() <= WEIGHT_BAND, name


@pytest.mark.slow
@pytest.mark.skipif(not PACKS, reason="NOT_RUN: this stack has no 4-bit weights on a CPU")
def test_unpacked_weights_train_the_same(tmp_path: Path) -> None:
    packed = trained(tmp_path / "packed", quantisation="bitsandbytes")
    unpacked = trained(tmp_path / "unpacked", "dequantised", quantisation="bitsandbytes")
    assert unpacked.losses == pytest.approx(packed.losses, rel=BF16_LOSS_BAND)
    mine, theirs = (trained_tensors(t.model) for t in (packed, unpacked))
    flat = [torch.cat([side[n].flatten() for n in sorted(mine)]) for side in (mine, theirs)]
    assert torch.nn.functional.cosine_similarity(flat[0], flat[1], dim=0) >= 0.999


def test_labels_places_name_what_the_mask_names() -> None:
    labels = torch.tensor([[-100, 7, -100, 9], [-100, -100, 3, -100]])
    values = torch.arange(12.0).reshape(2, 3, 2)
    assert places_of(labels).tolist() == [0, 2, 4]
    assert torch.equal(
        values.flatten(0, 1).index_select(0, places_of(labels)), values[labels[:, 1:] != -100]
    )


@pytest.mark.parametrize(
    ("side", "way"),
    [
        ("left", "unpacked_kept"),
        ("right", "unpacked_unmasked"),
        ("right", "unpacked_unmasked_cached"),
    ],
)
def test_what_is_found_ahead_changes_no_loss_and_no_gradient(side: str, way: str) -> None:
    """Positions, places of labels and grids from the host, rows of different lengths: float32.

    Two of the second micro-batch's pictures were in the first: a tower that keeps them is asked
    for the third alone.
    """
    collate = make_collator(
        load_processor(STAND_IN, padding_side=side), REFERENCE, family(of_snapshot(STAND_IN))
    )
    rows = [training_messages(row) for row in load_rows("catalogue", "train", limit=4)]
    batches = [collate(rows[:3]), collate(rows[1:])]
    assert all((batch["attention_mask"] == 0).any() for batch in batches)
    seen = []
    for name in ("published", way):
        kind = replace(variant(name), compiled=False)
        if name == way and _compat.installed("transformers") < Version("4.48"):
            with pytest.raises(NotRunnable, match="compiled on a newer release"):
                prepare(kind, load_model(STAND_IN), "cpu")
            return
        prepared = prepare(kind, load_model(STAND_IN), "cpu")
        ready = [ahead(prepared, batch) for batch in batches]
        assert all(("attention_mask" in batch) is not kind.unmasked for batch in ready)
        loss = accumulate(prepared, ready)
        seen.append((float(loss), {n: p.grad for n, p in prepared.model.named_parameters()}))
    (wanted, theirs), (loss, mine) = seen
    assert loss == pytest.approx(wanted, rel=LOSS_BAND)
    reached = [n for n, g in theirs.items() if g is not None and g.abs().max() > 0]
    assert reached
    for name in reached:
        scale = float(theirs[name].abs().max())
        assert (mine[name] - theirs[name]).abs().max() <= 1e-4 * scale, name


def test_a_mask_that_hides_something_before_a_token_stays() -> None:
    left = {"attention_mask": torch.tensor([[0, 1, 1], [1, 1, 1]]), "labels": torch.ones(2, 3)}
    right = {"attention_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]), "labels": torch.ones(2, 3)}
    assert "attention_mask" in without_mask(left)
    assert list(without_mask(right)) == ["labels"]


def state(trainer: Any) -> dict[str, Any]:
    """Everything that an instance holds: its modules', parameters' and hooks' identities too."""
    seen = {
        f"{name}:{key}": dict(value) if isinstance(value, dict) else value
        for name, module in trainer.model.named_modules()
        for key, value in vars(module).items()
    }
    return seen | {f"args:{k}": v for k, v in vars(trainer.args).items()}


@pytest.mark.parametrize(
    "quantisation",
    ["none", *(["bitsandbytes"] if PACKS else [])],
)
def test_undone_nothing_is_left(quantisation: QuantisationMode, tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, quantisation)
    weights = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    before = state(trainer)
    with apply(trainer, "fastest") as applied:
        during = state(trainer)
        parts = {change.part for change in applied.changes}
        assert not applied.is_undone
    assert parts >= {"tower", "checkpointing"}
    assert ("weights" in parts) is (quantisation == "bitsandbytes")
    assert ("head" in parts) is not _compat.has_fused_head(_compat.core(trainer.model))
    assert any(during.get(k) is not v for k, v in before.items() if not isinstance(v, dict))
    after = state(trainer)
    assert after.keys() == before.keys()
    for key, value in before.items():
        if isinstance(value, dict):
            assert list(after[key]) == list(value), key
            assert all(after[key][k] is v for k, v in value.items()), key
        else:
            assert after[key] is value or after[key] == value, key
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, weights[name]), name
    assert applied.is_undone


def test_losses_after_undoing_are_bit_for_bit_those_without(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path)
    rows = [training_messages(row) for row in load_rows("catalogue", "train", limit=2)]
    batch = make_collator(load_processor(STAND_IN), REFERENCE, family("qwen2_vl"))(rows)

    def loss() -> float:
        return float(trainer.model(**batch, use_cache=False).loss.detach())

    before = loss()
    with apply(trainer, "fastest"):
        assert loss() == pytest.approx(before, rel=LOSS_BAND)
    assert loss() == before


def test_it_says_what_it_changed(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path)
    applied = apply(trainer, "frozen_tower")
    assert [(c.part, c.after) for c in applied.changes] == [("tower", "forward only")]
    assert str(applied).startswith("frozen_tower:\ntower: Qwen2VisionTransformerPretrainedModel")
    assert applied.to_json()["changes"][0]["count"] == 1
    applied.undo()
    assert apply(trainer, "recipe").changes == ()


@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        ("leanest_by_row", "leanest_by_row cannot be put on: splitting a micro-batch is the tr"),
        ("length_grouping", "it deals other samples into a batch, which is another training"),
        ("no_upcast", "it rounds more than the recipe and its losses differ"),
        ("liger_loss", "liger-kernel's kernels run on a GPU only"),
    ],
)
def test_what_cannot_be_put_on_says_why(way: str, sentence: str, tmp_path: Path) -> None:
    model = load_model(STAND_IN)
    before = dict(vars(model))
    with pytest.raises(NotRunnable) as refused:
        apply(model, way)
    assert sentence in str(refused.value)
    assert str(refused.value).count(". ") == 0
    assert vars(model) == before


def test_what_is_not_the_models_alone_is_refused_for_it() -> None:
    model = load_model(STAND_IN)
    for kind in VARIANTS.values():
        if not kind.is_the_models:
            assert lacking(kind, model, None), kind.name


def test_a_second_way_and_another_target_are_refused() -> None:
    model = load_model(STAND_IN)
    first = apply(model, "frozen_tower")
    assert isinstance(first, Applied)
    with pytest.raises(BadInput, match="The model is under the way 'frozen_tower'; undo that"):
        apply(model, "cached_vision")
    first.undo()
    apply(model, "cached_vision").undo()
    with pytest.raises(BadInput, match="There is no variant 'fasterest'; choose from"):
        apply(model, "fasterest")
    with pytest.raises(BadInput, match="put on a model or a trainer, not on str"):
        apply("model", "fastest")
