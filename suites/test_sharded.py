"""Two processes that hold half of the model each (FSDP, 4-bit storage) train what one trains."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from packaging.version import Version
from safetensors.torch import load_file, save_file

from harness.data.dataset import load_rows
from harness.errors import BadInput, NotRunnable
from harness.measuring import _compat
from harness.measuring._compat import releases
from harness.measuring.lane.cases import lora_cosine
from harness.measuring.models import family, parts
from harness.measuring.snapshots.loading import load_model, load_processor
from harness.measuring.snapshots.source import STAND_IN
from harness.measuring.training import capacity, sharded
from harness.measuring.training.collate import make_collator
from harness.measuring.training.processes import Crew, here
from harness.measuring.training.run import reloaded_logits
from harness.measuring.training.spec import TrainSpec
from harness.measuring.training.trainer import build_trainer
from harness.recipe.published import REFERENCE, training_messages
from harness.records.files import read_json
from suites.two_processes import launched

STEPS, ACCUMULATION = 3, 4
WAYS = ("one", "two")
LACK = _compat.lacks_sharded_four_bit()
can_shard = pytest.mark.skipif(LACK is not None, reason=f"NOT_RUN: FSDP with 4-bit storage {LACK}")
# float32 everywhere, the same micro-batches in another order: as two data-parallel processes.
LOSS_BAND, GRADIENT_BAND, WEIGHT_BAND = 1e-6, 5e-5, 2e-5
# TRL 1.x makes the adapter of a 4-bit model bfloat16, 8 significant bits: one process rounds after
# each of the 4 micro-batches it adds, by half of 2^-7 each. A micro-batch too many is a quarter.
BF16_GRADIENT_BAND = 2.0**-6
# From the second step on Adam's division makes steps out of such roundings. Found: loss 1.4e-5,
# gradients 0.9998, B's weights 0.99995.
BF16_LOSS_BAND, BF16_COSINE = 1e-4, 0.999


def spec_of(quantisation: str) -> TrainSpec:
    return TrainSpec(
        snapshot=str(STAND_IN),
        model="stand-in",
        data="catalogue",
        recipe=REFERENCE,
        device="cpu",
        quantisation=quantisation,
        dtype="float32",
        max_steps=STEPS,
        micro_batch=2,
        accumulation=ACCUMULATION,
        learning_rate=2e-3,
        family="qwen2_vl",
        threads=1,
        rows=2 * ACCUMULATION * STEPS,
        dropout=False,
    )


def trained(spec: TrainSpec, place: Path) -> dict[str, Path]:
    for count, way in enumerate(WAYS, start=1):
        done = launched(count, spec, place / way, "--use_fsdp")
        assert done.returncode == 0, done.stderr[-4000:]
    return {way: place / way for way in WAYS}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return trained(spec_of("none"), tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def four_bit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return trained(spec_of("bitsandbytes"), tmp_path_factory.mktemp("four_bit"))


def losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in read_json(folder / "run" / "run.json")["curve"]]


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(str(folder / "run" / "adapter" / "adapter_model.safetensors"))


def gradients(folder: Path, step: int, rank: int = 0) -> dict[str, torch.Tensor]:
    return load_file(str(folder / "gradients" / f"{step}-{rank}.safetensors"))


@can_shard
@pytest.mark.slow
def test_unquantised_shares_train_what_one_process_trains(plain: dict[str, Path]) -> None:
    assert losses(plain["two"]) == pytest.approx(losses(plain["one"]), rel=LOSS_BAND)
    for step in range(STEPS):
        single, double = (gradients(plain[way], step) for way in WAYS)
        assert single.keys() == double.keys()
        for name, wanted in single.items():
            gap = (double[name] - wanted).abs().max()
            assert gap <= GRADIENT_BAND * float(wanted.abs().max()), (step, name)
    for name, wanted in adapter(plain["one"]).items():
        assert (adapter(plain["two"])[name] - wanted).abs().max() <= WEIGHT_BAND, name


@can_shard
@pytest.mark.slow
def test_four_bit_shares_have_the_losses_of_one_process(four_bit: dict[str, Path]) -> None:
    one, two = losses(four_bit["one"]), losses(four_bit["two"])
    assert len(one) == STEPS
    # The first loss comes of the very same packed weights.
    assert two[0] == pytest.approx(one[0], rel=LOSS_BAND)
    # The later ones of adapters that have moved: each step takes other rows, so none has to fall.
    assert two == pytest.approx(one, rel=BF16_LOSS_BAND)
    assert all(tensor.abs().max() > 0 for tensor in adapter(four_bit["two"]).values())


@can_shard
@pytest.mark.slow
def test_four_bit_shares_have_the_gradients_of_one_process(four_bit: dict[str, Path]) -> None:
    for step in range(STEPS):
        single, first, second = (
            gradients(four_bit["one"], step),
            gradients(four_bit["two"], step),
            gradients(four_bit["two"], step, rank=1),
        )
        assert single.keys() == first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert lora_cosine(single, first, part="lora_B") >= BF16_COSINE, step
        if step:
            assert lora_cosine(single, first, part="lora_A") >= BF16_COSINE, step
            continue
        for name, wanted in single.items():
            gap = (first[name] - wanted).abs().max()
            assert gap <= BF16_GRADIENT_BAND * float(wanted.abs().max()), name


@can_shard
@pytest.mark.slow
def test_packed_bytes_are_one_processes_and_stay(four_bit: dict[str, Path]) -> None:
    """Packed into bytes by one process, into float32 by two: the digest is over the bytes."""
    runs = [read_json(four_bit[way] / "run" / "run.json") for way in WAYS]
    assert len({run[f"frozen_{when}"] for run in runs for when in ("before", "after")}) == 1
    assert (
        "Trained by 2 processes, weights sharded (FSDP2) but for a frozen head of its own, 4-bit "
        "weights packed into float32." in runs[1]["notes"]
    )


@can_shard
@pytest.mark.slow
def test_each_process_holds_half_of_the_weights_and_the_whole_head(
    four_bit: dict[str, Path],
) -> None:
    total = read_json(four_bit["one"] / "gradients" / "held-0.json")
    halves = [read_json(four_bit["two"] / "gradients" / f"held-{rank}.json") for rank in (0, 1)]
    shapes = read_json(STAND_IN / "config.json")
    head = shapes["vocab_size"] * shapes["hidden_size"] * torch.float32.itemsize
    assert sum(halves) == total + head
    # A tensor with an odd number of rows is not cut in the middle.
    assert max(halves) <= 0.51 * (total - head) + head


@can_shard
@pytest.mark.slow
def test_frozen_embeddings_are_gathered_forward_only(four_bit: dict[str, Path]) -> None:
    """Their gradient is nobody's, and whole they stand beside all that the backward pass keeps."""
    gathered = read_json(four_bit["two"] / "gradients" / "gathered-0.json")
    micro_batches = ACCUMULATION // 2
    (embeddings,) = (count for name, count in gathered.items() if "embed_tokens" in name)
    layers = {count for name, count in gathered.items() if ".layers." in name}
    assert embeddings == micro_batches
    # Recomputed layers are needed in both.
    assert layers == {2 * micro_batches}


@can_shard
@pytest.mark.slow
def test_the_adapter_is_whole_and_loads_back(four_bit: dict[str, Path], tmp_path: Path) -> None:
    one, two = (adapter(four_bit[way]) for way in WAYS)
    assert {n: t.shape for n, t in one.items()} == {n: t.shape for n, t in two.items()}
    assert lora_cosine(one, two, part="lora_B") >= BF16_COSINE
    assert [p.name for p in four_bit["two"].rglob("*.safetensors") if "adapter" in p.name] == [
        "adapter_model.safetensors"
    ]
    folder = four_bit["two"] / "run"
    kept = load_file(str(folder / "final_logits.safetensors"))["logits"]
    run = read_json(folder / "run.json")
    again = reloaded_logits(spec_of("bitsandbytes"), folder, run["dtypes"])
    # One process and bytes against two and float32: float32 rounding of logits of about 20.
    assert (again - kept).abs().max() <= 1e-4
    # The base without it is elsewhere, so that this comparison can fail.
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (tmp_path / "adapter").mkdir(exist_ok=True)
        shutil.copy(folder / "adapter" / name, tmp_path / "adapter" / name)
    blank = {name: torch.zeros_like(tensor) for name, tensor in two.items()}
    save_file(blank, str(tmp_path / "adapter" / "adapter_model.safetensors"))
    base = reloaded_logits(spec_of("bitsandbytes"), tmp_path, run["dtypes"])
    assert (base - kept).abs().max() > 0.1


@pytest.mark.slow
@pytest.mark.skipif(LACK is None, reason="NOT_RUN: this stack can shard")
def test_libraries_that_cannot_shard_say_so(tmp_path: Path) -> None:
    done = launched(2, spec_of("none"), tmp_path / "old", "--use_fsdp")
    assert done.returncode != 0
    errors = {line for line in done.stderr.splitlines() if line.startswith("error: ")}
    assert errors == {f"error: FSDP with 4-bit storage {LACK}; train data parallel (--multi_gpu)."}


def test_too_old_an_accelerate_is_not_runnable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "installed", lambda package: Version("1.14.0"))
    with pytest.raises(NotRunnable, match=r"accelerate 1\.15\.0 or newer, here is 1\.14\.0"):
        sharded.take_over({})


@can_shard
def test_what_the_launcher_may_not_ask_is_one_sentence() -> None:
    with pytest.raises(BadInput, match="Leave --fsdp_offload_params out of the launch"):
        sharded.take_over({"FSDP_OFFLOAD_PARAMS": "true"})
    with pytest.raises(BadInput, match="--fsdp_activation_checkpointing"):
        sharded.take_over({"FSDP_ACTIVATION_CHECKPOINTING": "true"})
    launcher = {"FSDP_OFFLOAD_PARAMS": "false", "FSDP_VERSION": "1"}
    sharded.take_over(launcher)
    assert launcher["FSDP_VERSION"] == "2"


def test_the_crew_knows_that_it_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(sharded.ASKED, raising=False)
    assert here() == Crew(1, 2, 1, shares=False)
    monkeypatch.setenv(sharded.ASKED, "true")
    assert here() == Crew(1, 2, 1, shares=True)
    # One process has nobody to share with.
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not here().shares


@can_shard
@pytest.mark.parametrize("mixed", [True, False])
def test_autocast_is_as_in_one_process(mixed: bool, tmp_path: Path) -> None:
    """With FSDP2 accelerate itself would leave it out."""
    from accelerate.state import AcceleratorState

    spec = spec_of("none")
    snapshot = Path(spec.snapshot)
    rows = [training_messages(row) for row in load_rows(spec.data, "train", limit=2)]
    processor = load_processor(snapshot)
    AcceleratorState._reset_state(True)
    try:
        trainer = build_trainer(
            load_model(snapshot),
            processor,
            rows,
            REFERENCE,
            tmp_path / "trainer",
            max_steps=1,
            micro_batch=2,
            log_folder=tmp_path / "logs",
            bf16=mixed,
        ).trainer
        sharded.shard(trainer)
        seen = []
        layer = parts(trainer.model).layers[0].mlp.up_proj
        layer.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
        batch = make_collator(processor, REFERENCE, family(spec.family))(rows)
        loss = trainer.model(**batch).loss
    finally:
        AcceleratorState._reset_state(True)
    assert seen == [torch.bfloat16 if mixed else torch.float32]
    assert loss.dtype == torch.float32


def test_four_bit_values_are_packed_into_float32_where_they_are_shared() -> None:
    assert Crew(0, 2, 0, shares=True).storage() == "float32"
    assert Crew(0, 2, 0).storage() == Crew().storage() == "uint8"


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.cuda,
                pytest.mark.skipif(
                    not torch.cuda.is_available(), reason="NOT_RUN: needs a CUDA device"
                ),
            ],
        ),
    ],
)
def test_packed_bytes_of_any_pattern_survive_the_copy_that_gathers_them(device: str) -> None:
    """NaNs are where a copy in floating point may differ: all upper halves, four lower ones."""
    upper = torch.arange(2**16, dtype=torch.int64)
    patterns = torch.cat([(upper << 16) | lower for lower in (0, 1, 0x8000, 0xFFFF)])
    packed = patterns.to(torch.int32).to(device).view(getattr(torch, Crew(0, 2, 0, True).storage()))
    gathered = torch.zeros_like(packed)
    torch._foreach_copy_([gathered], [packed])
    assert torch.equal(gathered.view(torch.int32), packed.view(torch.int32))


def test_a_shared_model_needs_its_share_of_each_card() -> None:
    alone, shared = (capacity.training_bytes(spec_of("none"), shares) for shares in (1, 2))
    assert shared["weights"] == alone["weights"] // 2
    assert shared["logits"] == alone["logits"]
