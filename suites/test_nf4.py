"""NF4 with double quantisation: against a second implementation always, bit for bit against
bitsandbytes wherever its kernels run."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from importlib.metadata import version

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from harness.measuring import _compat
from harness.measuring._compat import nf4_kernels
from harness.measuring.instruments import nf4
from suites.oracles import nf4 as oracle

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SHAPES = ((64,), (1,), (63,), (65,), (7, 9), (33, 130), (128, 64), (1, 64 * 256 + 5), (3, 64 * 257))
KINDS = ("normal", "sparse", "zeros", "spread", "ties")


def weights(kind: str, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """float32 weights of one kind; `ties` sits exactly on the midpoints of the table."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(shape, generator=generator)
    if kind == "sparse":
        normal[torch.rand(shape, generator=generator) < 0.7] = 0
    if kind == "zeros":
        normal.zero_()
    if kind == "spread":
        normal *= 0.02 * torch.rand(shape, generator=generator).exp()
    if kind == "ties":
        middles = torch.from_numpy(oracle.MIDPOINTS)
        normal = middles[torch.randint(0, 15, shape, generator=generator)].clone()
        normal.view(-1)[:: nf4.BLOCK] = 1.0
    return normal


CODES = {
    "cuda": partial(oracle.code_of, thresholds=oracle.CUDA_THRESHOLDS),
    "cpu": oracle.code_of,
    "nearest": oracle.nearest_code,
}
# bitsandbytes 0.46 to 0.49 write code[0] = -1.0f into the map before they search it
# (quantize_cpu in csrc/cpu_ops.cpp), so that a value below -0.98945 has the code 0, not one below
# -0.98594 as in the map by its formula.
LOWEST = {"nearest": -1.0}


def check_against_oracle(weight: torch.Tensor, kernels: nf4.Kernels) -> None:
    """Codes equal, nested codes equal but where the value is too close to a boundary to say."""
    result = nf4.quantise(weight, kernels=kernels)
    flat = weight.float().reshape(-1).numpy()
    packed, scales = oracle.quantise(flat, CODES[kernels])
    if kernels != "cpu" and not scales.all():
        return  # a block of zeros has its own test
    assert result.packed.tolist() == packed.tolist()
    codes, margins, tops, offset = oracle.nested(scales, LOWEST.get(kernels))
    assert float(result.offset) == pytest.approx(offset, rel=1e-6)
    # The mean's rounding moves every value by up to a few float32 units of the largest scale; the
    # CPU kernels' table has bins of width 2/65535.
    largest = float(scales.max())
    noise = [4e-7 * largest / max(float(top), 1e-30) for top in tops]
    bin_width = 2 / 65535 if kernels == "cpu" else 0.0
    for i, code in enumerate(codes):
        if margins[i] > noise[i // 256] + bin_width:
            assert int(result.absmax[i]) == int(code), i


@pytest.mark.parametrize("kernels", CODES)
@pytest.mark.parametrize("kind", ["normal", "sparse", "spread", "ties"])
@pytest.mark.parametrize("shape", [(64,), (65,), (7, 9), (33, 130)])
def test_codes_are_those_of_the_definition(
    shape: tuple[int, ...], kind: str, kernels: nf4.Kernels
) -> None:
    check_against_oracle(weights(kind, shape), kernels)


def test_a_worked_example() -> None:
    # absmax 2: scaled 1, 0.5, -0.25, 0, ... The nearest table values are 1 (15), 0.4407 (12),
    # -0.2844 (4), 0 (7); the rest of the block is zero.
    weight = torch.zeros(64)
    weight[:4] = torch.tensor([2.0, 1.0, -0.5, 0.0])
    result = nf4.quantise(weight)
    assert result.packed[:2].tolist() == [15 * 16 + 12, 4 * 16 + 7]
    assert result.packed[2:].unique().tolist() == [7 * 16 + 7]
    # One block: the mean is the absmax itself, so the offset carries all of it.
    assert float(result.offset) == 2.0
    assert nf4.dequantise(result)[:4].tolist() == pytest.approx(
        [2.0, 2 * 0.44070982933044434, 2 * -0.28444138169288635, 0.0]
    )


def test_the_dynamic_map_is_its_formula() -> None:
    ours = nf4.dynamic_map().double().numpy()
    assert ours.shape == (256,)
    np.testing.assert_allclose(ours, oracle.dynamic_map(), rtol=2**-22, atol=0)


def test_the_cuda_constants_are_the_decimal_literals_rounded_once() -> None:
    differing = np.flatnonzero(oracle.CUDA_THRESHOLDS != oracle.MIDPOINTS)
    assert {int(i): float(oracle.CUDA_THRESHOLDS[i]) for i in differing} == nf4.CUDA_CONSTANTS


def test_a_block_of_zeros_on_cuda_comes_back_as_something_else() -> None:
    # 0 / 0 takes the leftmost leaf, the code of -1; double quantisation then gives the block a
    # scale that is not exactly zero. Measured on an H200 with bitsandbytes 0.50.2: +4e-4.
    weight = torch.zeros(128, 64)
    weight[0] = torch.randn(64, generator=torch.Generator().manual_seed(0))
    cuda, cpu = nf4.quantise(weight), nf4.quantise(weight, kernels="cpu")
    assert cuda.packed[32:].unique().tolist() == [0]
    assert cpu.packed[32:].unique().tolist() == [7 * 16 + 7]
    assert nf4.dequantise(cuda)[1:].abs().max() > 0
    assert nf4.dequantise(cpu)[1:].abs().max() == 0


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 700),
    seed=st.integers(0, 2**31),
    kernels=st.sampled_from(["cuda", "cpu", "nearest"]),
    kind=st.sampled_from(["normal", "sparse", "spread", "ties"]),
)
# A block's scale between the two boundaries below which the nested code is 0: see LOWEST.
@example(count=646, seed=646, kernels="nearest", kind="spread")
@example(count=895, seed=895, kernels="nearest", kind="spread")
def test_properties(count: int, seed: int, kernels: nf4.Kernels, kind: str) -> None:
    weight = weights(kind, (count,), seed)
    check_against_oracle(weight, kernels)
    result = nf4.quantise(weight, kernels=kernels)
    back = nf4.dequantise(result)
    assert back.shape == weight.shape
    assert back.dtype == weight.dtype
    # Half the widest gap of the table (0.3038) times the block's scale, and the nested error.
    rows = nf4.blocks(weight, 64)
    scale = rows.abs().amax(1, keepdim=True)
    error = (nf4.blocks(back, 64) - rows).abs()
    if (scale > 0).all():
        spread = float((scale - scale.mean()).abs().max())
        assert (error <= 0.153 * scale + 0.02 * spread + 1e-6).all()


@pytest.mark.parametrize("count", [1, 63, 64, 65, 16384, 16385, 128 * 344])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bytes_held(count: int, dtype: torch.dtype) -> None:
    assert nf4.quantise(torch.ones(count, dtype=dtype)).nbytes == (
        -(-count // 2) + -(-count // 64) + 4 * -(-count // 16384) + 4 + 64 + 1024
    )


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        nf4.quantise(torch.arange(64))


class Toy(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.LayerNorm(64))
        self.lm_head = torch.nn.Linear(64, 8, bias=False)
        self.lm_head_extra = torch.nn.Linear(64, 8)


def test_emulation_leaves_skipped_modules_norms_and_biases() -> None:
    torch.manual_seed(0)
    model = Toy()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert nf4.emulate_(model, ("lm_head",)) == 2
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    # A name that only starts like a skipped one is quantised.
    assert changed == {"body.0.weight", "lm_head_extra.weight"}
    expected = nf4.dequantise(nf4.quantise(before["body.0.weight"]))
    assert torch.equal(model.body[0].weight, expected)


def bitsandbytes_state(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    import bitsandbytes.functional as functional

    packed, state = functional.quantize_4bit(
        weight, quant_type="nf4", compress_statistics=True, blocksize=64
    )
    return {
        "packed": packed.reshape(-1),
        "absmax": state.absmax.reshape(-1),
        "nested_absmax": state.state2.absmax,
        "offset": state.offset,
        "table": state.code,
        "nested_table": state.state2.code,
        "dequantised": functional.dequantize_4bit(packed, state).reshape(weight.shape),
    }


def same_bits(weight: torch.Tensor, kernels: nf4.Kernels) -> None:
    """Everything equal to the last bit, but for float16 ties on a CPU.

    bitsandbytes 0.50.2 rounds a float32 product that lies exactly between two float16 values to
    the even one on an AMD EPYC and away from zero on an Intel Xeon with avx512_fp16 (26 of a
    million weights): where both are equally near, either is right.
    """
    ours = nf4.quantise(weight, kernels=kernels)
    # From 0.47 to 0.48 a 16-bit weight comes back through a table of its own dtype.
    rounded = kernels == "nearest" and weight.dtype is not torch.float32
    for name, theirs in bitsandbytes_state(weight).items():
        if name == "dequantised" and rounded:
            continue
        mine = nf4.dequantise(ours) if name == "dequantised" else getattr(ours, name)
        assert mine.dtype == theirs.dtype, name
        if name == "dequantised" and weight.dtype is torch.float16 and kernels == "cpu":
            exact = nf4.dequantise(replace(ours, dtype=torch.float32)).double()
            assert torch.equal((mine.double() - exact).abs(), (theirs.double() - exact).abs())
        else:
            assert torch.equal(mine, theirs), f"{name} differs"


needs_cpu_kernels = pytest.mark.skipif(
    Version(version("bitsandbytes")) < Version("0.46.0"),
    reason="NOT_RUN: bitsandbytes before 0.46 has no CPU kernels; the numpy oracle judges instead",
)


@needs_cpu_kernels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_bit_for_bit_against_bitsandbytes_on_cpu(
    shape: tuple[int, ...], kind: str, dtype: torch.dtype
) -> None:
    kernels = nf4_kernels("cpu")
    whole = math.prod(shape) % nf4.BLOCK == 0
    if kernels == "nearest" and (not whole or shape == (64,) or kind in {"zeros", "ties"}):
        pytest.skip("NOT_RUN: bitsandbytes before 0.50 refuses it or dies of it on a CPU")
    same_bits(weights(kind, shape).to(dtype), kernels)


@needs_cpu_kernels
@pytest.mark.skipif(
    Version(version("bitsandbytes")) < Version("0.50.0"),
    reason="NOT_RUN: bitsandbytes before 0.50 takes whole blocks only on a CPU",
)
@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 3000),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from(DTYPES),
    kind=st.sampled_from(KINDS),
    scale=st.sampled_from([1e-4, 1.0, 100.0]),
)
def test_any_weight_bit_for_bit_on_cpu(
    count: int, seed: int, dtype: torch.dtype, kind: str, scale: float
) -> None:
    same_bits((weights(kind, (count,), seed) * scale).to(dtype), "cpu")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT_RUN: needs a CUDA device")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_bit_for_bit_against_bitsandbytes_on_cuda(
    shape: tuple[int, ...], kind: str, dtype: torch.dtype
) -> None:
    same_bits(weights(kind, shape).to(dtype).cuda(), "cuda")


@pytest.mark.skipif(
    not _compat.quantises_on_cpu(), reason="NOT_RUN: this stack has no 4-bit weights on a CPU"
)
def test_what_inferred_can_train_afterwards() -> None:
    """On a CPU with bfloat16 units the weight would be repacked, and the gradient gone."""
    import bitsandbytes

    linear = bitsandbytes.nn.Linear4bit(64, 64, bias=False, compute_dtype=torch.bfloat16)
    linear = linear.to("cpu").requires_grad_(False)
    _compat.keep_4_bit_trainable(linear)
    rows = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        inferred = linear.eval()(rows)
    asked = rows.clone().requires_grad_()
    trained = linear.train()(asked)
    trained.sum().backward()
    assert torch.equal(trained, inferred)
    assert asked.grad is not None
    assert asked.grad.abs().min() > 0
