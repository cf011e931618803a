"""What several families' lists know of a library, each time for the same reason."""

from __future__ import annotations

from collections.abc import Iterator

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
    spread = "vector kernels of torchvision may round one level apart"
    for case in cases:
        yield Known(f"images.levels.*{case}", reason, optional=True, sized=False)
        yield Known(f"images.pillow_gap.*{case}", reason, optional=True, within=1.0, spread=spread)


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
