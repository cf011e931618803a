"""What several families' lists know of a library, each time for the same reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .ladder import Known

_CONVERTED = {
    "I;16": "16-bit greys are clipped to white",
    "LA": "transparency turns into whatever colour lies under it",
    "PA": "transparency turns into whatever colour lies under it",
    "RGBA": "transparency turns into whatever colour lies under it",
    "exif_turned": "the EXIF orientation is ignored",
}
# Of families whose pictures trainings convert by Pillow.
CONVERTED = tuple(
    Known(
        f"images.decoder_gap.{mode}",
        f"Pillow's convert('RGB'), which trainings hand pictures through: {why}; the harness "
        "decodes pictures itself.",
    )
    for mode, why in _CONVERTED.items()
)
IMAGE_URL = Known(
    "text.rendered.image_url_key",
    "The library renames a part of type image_url to image before the template sees it; the "
    "published template writes nothing for one that it does not know.",
    "transformers 5.2.0, processing_utils.py, apply_chat_template",
)
PADDING_COUNTED = Known(
    "inputs.positions.left",
    "Without position ids the decoder counts padding: a row padded left begins later than at 0. "
    "Rotations are relative, so no logit changes (forward.side_gap_same_targets).",
    "transformers 5.24.0, Qwen2Model.forward",
    otherwise="padding counted",
)


def rounded(filtered: str, *cases: str) -> Iterator[Known]:
    """Sizes at which the default processor's resize is a level off."""
    reason = (
        f"The default image processor resizes with torchvision's antialiased {filtered}, whose "
        "weights are rounded otherwise than Pillow's: some levels are one apart."
    )
    for case in cases:
        yield Known(f"images.levels.*{case}", reason, optional=True, sized=False)
        gap = a_level_apart(f"images.pillow_gap.*{case}", reason)
        yield replace(gap, optional=True)


def tower_too(attention: str) -> Iterator[Known]:
    """Of towers whose Linears are called like the decoder's. attention: the class that has them."""
    yield Known(
        "model.lora_strays.model",
        "The tower's Linears are called q_proj and v_proj like the decoder's, so the recipe's "
        "targets adapt both; give target_modules as a regular expression of the decoder's layers.",
        attention,
        "other-model",
    )
    yield Known(
        "backward.tower_ran_backward.*",
        "The recipe's targets adapt the tower too (model.lora_strays), so its blocks run backward.",
    )


# What Qwen3's processor makes of pictures, which it makes larger than Qwen2's.
_LARGER = "Small pictures are made larger here, with another largest gap."
_SQUARES_OF_32 = (
    "Scaling to the fewest pixels gives exactly whole multiples of 32 here; smart_resize "
    "multiplies by a float square root, whose last bit adds a column of image tokens (57 instead "
    "of 56)."
)
ONE_TO_49 = Known("images.resize_rule.one_to_49", _SQUARES_OF_32)


def converted_larger() -> Iterator[Known]:
    """Of families whose pictures qwen_vl_utils converts and Qwen3's processor enlarges."""
    by = "qwen_vl_utils converts with Pillow's convert('RGB')"
    for mode, end in (("LA", f". {_LARGER}"), ("PA", f". {_LARGER}"), ("I;16", "")):
        reason = f"{by}: {_CONVERTED[mode]}; the harness decodes pictures itself{end}"
        yield a_level_apart(f"images.decoder_gap.{mode}", reason)


def converted_by_the_guide() -> Iterator[Known]:
    """Of families whose publisher's guide converts pictures by Pillow."""
    by = "The publisher's guide converts with Pillow's convert('RGB')"
    for mode, why in _CONVERTED.items():
        reason = f"{by}: {why}; the harness decodes pictures itself"
        yield Known(f"images.decoder_gap.{mode}", reason)


IMAGES_AND_TEXTS = Known(
    "text.rendered.image_url_key",
    "transformers 5 turns parts of type image_url into images before the template sees them; the "
    "published template knows images and texts alone and leaves such a part out.",
    sized=False,
)
PADDING_BEFORE = Known(
    "inputs.positions.left",
    "In training the library counts a row's padding: padded left, its positions begin behind it. "
    "Rotary embeddings see differences alone, so no value changes; generation counts the tokens.",
    otherwise="padding counted",
)


def otherwise_rounded(reason: str, *cases: str, when: str = "always") -> Iterator[Known]:
    """Sizes at which the default processor rounds otherwise than Pillow on every machine."""
    for case in cases:
        yield Known(f"images.levels.{case}", reason, when=when, sized=False)
        yield replace(a_level_apart(f"images.pillow_gap.{case}", reason), when=when)


def by_micro_batch(model: str) -> Known:
    """Of models that take no number of targets. model: the class that says so."""
    return Known(
        "update.accumulation_gap",
        "The model says accepts_loss_kwargs = False, so the trainer divides no loss by the step's "
        "targets: every micro-batch is averaged by itself, and rows with few targets weigh more.",
        f"transformers 5.23, {model}.accepts_loss_kwargs",
        most=0.01,
        spread="its size depends on how unequal the micro-batches' targets are: here by a tenth",
        detectable="a weighting that is another one",
    )


def a_level_apart(finding: str, reason: str) -> Known:
    """A distance between levels, to which another CPU's kernels may add one."""
    spread = "vector kernels of torchvision may round one level apart"
    return Known(finding, reason, within=1, spread=spread, detectable="2 levels")


PADDED = (
    "Left padding makes a row's first token a target predicted from padding, whose attention has "
    "no key: eager averages over all values, the default gives zeros, so the gradients differ"
)


def padded_gradient(when: str, share: str = "") -> Known:
    """Of whatever weights. share: of eager's norm, where one is said."""
    return Known(
        "trajectory.padded_gradient",
        f"{PADDED}{share}.",
        when=when,
        optional=True,
        most=1.0,
        spread="eager adds what the default leaves out: its size depends on the model's weights",
        detectable="a gradient that explodes",
    )


def padded_gradient_of_the_stand_in(share: str) -> Known:
    """Of weights that are known: its size too. share: of eager's norm."""
    return Known(
        "trajectory.padded_gradient",
        f"{PADDED}{share}.",
        when="cpu+stand-in",
        within=0.02,
        spread="two orders of the same sums; bfloat16 weights round at 2⁻⁸",
        detectable="0.02 of eager's norm",
    )


def side_gap() -> Iterator[Known]:
    """Of a stand-in, whose size is known, and of any other model."""
    reason = (
        "padded left, a row's first token becomes a target and is predicted from padding; pad "
        "right, or mask the first real token"
    )
    yield Known(
        "forward.side_gap",
        reason,
        when="stand-in",
        share=0.01,
        spread="float32 sums in another order on another processor",
        detectable="0.01 of the value",
    )
    yield Known(
        "forward.side_gap",
        reason,
        when="other-model",
        most=1.0,
        spread="its size depends on the model's weights; one target in some hundred cannot move a "
        "mean by a nat",
        detectable="a loss that is another one",
    )
