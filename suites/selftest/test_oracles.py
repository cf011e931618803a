"""Oracles share no code with what they judge, and agree with hand-worked values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from suites.oracles import (
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
