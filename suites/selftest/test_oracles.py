"""Oracles share no code with what they judge, and agree with hand-worked values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from suites.oracles import (
    adapter,
    architecture,
    internvl,
    labels,
    ladder,
    qwen3_5,
    resize,
    template,
    worked_out,
)
from suites.selftest.test_imports import imported

FORBIDDEN = {"transformers", "trl", "peft", "bitsandbytes", "jinja2", "harness"}
FILES = sorted((Path(__file__).parent.parent / "oracles").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_oracles_are_independent(path: Path) -> None:
    assert not imported(path, top_level_only=False) & FORBIDDEN


def test_template_by_hand() -> None:
    messages = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a "}, {"type": "image", "image": "x"}],
        }
    ]
    assert template.render(messages, add_generation_prompt=True, add_vision_id=True) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\na Picture 1: <|vision_start|><|image_pad|><|vision_end|><|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        # 1×1: rounds to 0, area below 3,136 = 56²: scaled by 56, exactly 56×56.
        (1, 1, (56, 56)),
        # 4,000×5,000 rounds to 4,004×4,996.. area over the maximum of 12,845,056:
        # beta² = 20,000,000/12,845,056; 4000/beta = 3205.6 -> 114·28, 5000/beta = 4007.0 -> 143·28.
        (4000, 5000, (3192, 4004)),
        (27, 27, (56, 56)),
        (28, 28, (56, 56)),
        (56, 56, (56, 56)),
        # 42/28 = 1.5 rounds half to even: 2; 70/28 = 2.5: 2.
        (42, 70, (56, 56)),
        (98, 98, (112, 112)),
        # Exactly the maximum: 3,584² = 12,845,056.
        (3584, 3584, (3584, 3584)),
        # One and a half patches more: 3,599 rounds to 3,612, too large; 3599/1.00209 = 3591.5,
        # 3584/1.00209 = 3576.5.
        (3599, 3584, (3584, 3556)),
        (28, 5600, (28, 5600)),
    ],
)
def test_resize_by_hand(height: int, width: int, expected: tuple[int, int]) -> None:
    assert resize.resized(height, width, resize.PROCESSOR_LIMITS) == expected


def test_too_long_is_refused() -> None:
    with pytest.raises(resize.TooLong):
        resize.resized(28, 28 * 201, resize.PROCESSOR_LIMITS)


def test_patch_order_by_hand() -> None:
    # Every pixel's value is the number of its patch (4 rows × 4 columns), the same in R, G and B.
    number = np.arange(16).reshape(4, 4).repeat(14, axis=0).repeat(14, axis=1)
    out = resize.patches(np.stack([number] * 3, axis=-1))
    assert out.shape == (16, 1176)
    red = np.round((out[:, 0] * resize.STD[0] + resize.MEAN[0]) * 255).astype(int)
    assert red.tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]


def test_masks_by_hand() -> None:
    control = {
        "<|im_start|>": 1,
        "<|im_end|>": 2,
        "<|vision_start|>": 3,
        "<|image_pad|>": 4,
        "<|vision_end|>": 5,
    }
    ids = [0, 0, 1, 7, 9, 20, 3, 4, 4, 5, 2, 9, 1, 8, 9, 30, 31, 2, 9]
    assert labels.recipe(ids, control, pad=0) == [
        -100,
        -100,
        1,
        7,
        9,
        20,
        -100,
        -100,
        -100,
        -100,
        2,
        9,
        1,
        8,
        9,
        30,
        31,
        2,
        9,
    ]
    assert labels.completion(ids, control, 0, [1, 8]) == [-100] * 15 + [30, 31, 2, 9]
    assert labels.roles(ids, control, {"user": [7], "assistant": [8]})[5] == "user"
    assert labels.roles(ids, control, {"user": [7], "assistant": [8]})[15:17] == ["assistant"] * 2


def test_what_a_misread_config_counts_to_by_hand() -> None:
    """InternVL3 1B, whose config says nothing of its head: 151,674 rows of 896, in two bytes each,
    of which 4-bit loading leaves the head alone."""
    config = internvl.SIZES["1b"]
    whole = internvl.architecture(config)
    tied = internvl.architecture({**config, **internvl.MISREAD["a tied head"]})
    stated = {
        t.metric: t
        for t in (
            *architecture.truths({"model": whole}, "", misread={"model": {"a tied head": tied}}),
            *architecture.loaded_truths(whole, "", {"a tied head": tied}),
        )
    }
    head = 151_674 * 896
    for metric, case, lost in (
        ("parameters", "model", head),
        ("lora_total", "model", head),
        ("bytes", "model.bf16", 2 * head),
        ("bytes", "model.nf4_double", 2 * head),
        ("bytes", "model.nf4_double_prepared", 4 * head),
        ("parameter_bytes", "model.nf4_double", 2 * head),
    ):
        otherwise = stated[metric].otherwise["a tied head"]
        assert stated[metric].cases[case] - otherwise[case] == lost, metric
    parts = stated["bytes_by_component"]
    assert set(parts.cases["model.bf16"]) - set(parts.otherwise["a tied head"]["model.bf16"]) == {
        "lm_head"
    }
    gaps = stated["bytes_gap"].otherwise["a tied head"]
    assert {name: gap for name, gap in gaps.items() if gap} == {"lm_head": 2 * head}
    assert stated["inventory"].otherwise["a tied head"] != stated["inventory"].cases


def test_layers_without_a_target_by_hand() -> None:
    """Of Qwen3.5 0.8B every fourth of 24 layers is called as the recipe's targets are."""
    model = qwen3_5.architecture(qwen3_5.SIZES["0.8b"])
    (truth,) = architecture.reached_truths(model, "")
    unnamed = [i for i in range(24) if i % 4 != 3]
    assert truth.cases == {"model": []}
    assert truth.otherwise == {"layers without these names": {"model": unnamed}}


def test_a_row_that_counts_its_padding_by_hand() -> None:
    """Rows of three and of five tokens: padded on the left the shorter one begins at two."""
    samples = [ladder.Sample([7] * n, [[*range(n)]]) for n in (3, 5)]
    truth = worked_out.position_truth(samples, ladder.Words(*[""] * 13))
    assert truth.cases["left"] == truth.cases["right"] == ["0 1 2", "0 1 2 3 4"]
    assert truth.otherwise["padding counted"] == {"left": ["2 3 4", "0 1 2 3 4"]}


def test_an_adapters_numbers_are_those_that_its_formula_says() -> None:
    """Number by number, the checksum bit by bit."""
    start = crc32_by_bits(b"q_proj.A")
    values = adapter.numbers("q_proj", "A", 2, 3)
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            mixed = (start + 7919 * i + 104729 * j + 15485863 * i * j) * 2654435761
            eight = (mixed & 0xFFFFFFFF) >> 24
            assert value == (2 * eight - 255) / 4096
    assert not np.array_equal(values, adapter.numbers("q_proj", "B", 2, 3))
    assert not np.array_equal(values, adapter.numbers("v_proj", "A", 2, 3))
    many = adapter.numbers("x", "A", 64, 512)
    assert np.abs(many).max() <= 255 / 4096
    assert (many != 0).all()
    # Spread evenly: mean 0, variance (256^2 - 1) / 3 / 4096^2.
    assert abs(many.mean()) < 0.01 / 16
    assert many.var() == pytest.approx((256**2 - 1) / 3 / 4096**2, rel=0.02)


def crc32_by_bits(text: bytes) -> int:
    """ISO 3309: bit by bit, the reflected polynomial 0xEDB88320."""
    crc = 0xFFFFFFFF
    for byte in text:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_an_adapter_adds_what_two_small_matrices_do() -> None:
    """x (W + s B A)^T is x W^T + s (x A^T) B^T; what is no target, or no matrix, stays."""
    draw = np.random.default_rng(3)
    weights = {
        "a.q_proj.weight": draw.normal(size=(6, 4)),
        "a.q_proj.bias": draw.normal(size=6),
        "a.k_proj.weight": draw.normal(size=(6, 4)),
        "q_proj_norm.weight": draw.normal(size=6),
        "v_proj.weight": draw.normal(size=(2, 4)),
    }
    known = adapter.Adapter(("q_proj", "v_proj"), 3, 0.5)
    merged = adapter.merged(weights, known)
    same = {name for name in weights if np.array_equal(merged[name], weights[name])}
    assert same == {"a.q_proj.bias", "a.k_proj.weight", "q_proj_norm.weight"}
    x = draw.normal(size=(5, 4))
    for name in ("a.q_proj", "v_proj"):
        weight = weights[f"{name}.weight"]
        a = adapter.numbers(name, "A", 3, 4)
        b = adapter.numbers(name, "B", len(weight), 3)
        wanted = x @ weight.T + 0.5 * (x @ a.T) @ b.T
        assert np.allclose(x @ merged[f"{name}.weight"].T, wanted, rtol=1e-12)
