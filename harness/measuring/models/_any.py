"""What transformers' models, configs and processors say of themselves, of whatever family.

An audit serves models that have no family here; these are the library's own conventions, each
with the releases that it was read in (transformers 4.45 to 5.23).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.errors import Lack, NotRunnable
from harness.records.components import Component

# A config's name for the id at which a picture's rows are put in: the former of most models, the
# latter of the older LLaVA-like ones.
_PICTURE_IDS = ("image_token_id", "image_token_index")
# Attributes of processors and tokenizers that hold a token which stands for or around pictures.
_AROUND_PICTURES = (
    "image_token",
    "video_token",
    "boi_token",
    "eoi_token",
    "fake_image_token",
    "global_image_token",
    "vision_start_token",
    "vision_end_token",
)
# A batch's pictures as numbers, and which of them only fill a row up, where a processor says that.
PIXELS, PIXEL_MASK = "pixel_values", "pixel_attention_mask"
# Parts of module paths that transformers gives to what sees pictures, and to what leads from
# there into the decoder; first match wins, the connector's first: some towers hold theirs.
_PARTS: tuple[tuple[Component, tuple[str, ...]], ...] = (
    (
        Component.CONNECTOR,
        ("merger", "connector", "multi_modal_projector", "embed_vision", "modality_projection"),
    ),
    (Component.PATCH_EMBEDDING, ("patch_embed", "patch_embedding", "patch_embedder")),
    (Component.TOWER, ("visual", "vision_tower", "vision_model", "image_encoder")),
)


def picture_token_id(config: Any) -> int | None:
    """The id that stands where a picture goes in; None for a model of texts alone."""
    for name in _PICTURE_IDS:
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return None


def picture_tokens(owners: Iterable[Any]) -> set[str]:
    """The tokens that stand for and around pictures, of a processor and its tokenizer."""
    named = (getattr(owner, name, None) for owner in owners for name in _AROUND_PICTURES)
    return {token for token in named if isinstance(token, str) and token}


def component_of(name: str, model: Any) -> Component:
    """What a parameter belongs to. name: as the model has it, peft's wrapper left out."""
    path = name.split(".")
    for component, parts in _PARTS:
        if any(part in parts for part in path):
            return component
    if _is_inside(name, model, model.get_output_embeddings()):
        return Component.HEAD
    if _is_inside(name, model, model.get_input_embeddings()):
        return Component.EMBEDDING
    if "norm" in path[-2] if len(path) > 1 else False:
        return Component.NORMS
    return Component.LANGUAGE


def _is_inside(name: str, model: Any, module: Any) -> bool:
    """Whether a parameter is of that module."""
    if module is None:
        return False
    paths = [path for path, other in model.named_modules() if other is module]
    return any(name.startswith(f"{path}.") for path in paths)


def decoder_path(model: Any) -> str:
    """The path of the module whose `layers` decode: of those outside the tower the one with most
    parameters. Raises NotRunnable for a model without one."""
    import torch

    sizes = {
        path: sum(p.numel() for p in module.parameters())
        for path, module in model.named_modules()
        if isinstance(getattr(module, "layers", None), torch.nn.ModuleList)
        and not _sees_pictures(path)
    }
    if not sizes:
        raise NotRunnable(
            f"{type(model).__name__} has no list of decoder layers called `layers`; its inside is "
            "not judged.",
            Lack.OTHER,
        )
    return max(sizes, key=lambda path: sizes[path])


def rotary_of(decoder: Any) -> Any:
    """What turns positions into rotations, where the decoder has one for all its layers."""
    return getattr(decoder, "rotary_emb", None)


def tower_path(model: Any) -> str:
    """The path of the module that sees pictures, the outermost; '' without one."""
    towers = [path for path, _ in model.named_modules() if _is_tower(path)]
    return min(towers, key=len, default="")


def connector_paths(model: Any) -> list[str]:
    """The paths of what leads from there into the decoder, the outermost of each."""
    connectors = [path for path, _ in model.named_modules() if path.split(".")[-1] in _PARTS[0][1]]
    return [p for p in connectors if not any(p.startswith(f"{q}.") for q in connectors)]


def _is_tower(path: str) -> bool:
    return path.split(".")[-1] in _PARTS[2][1]


def _sees_pictures(path: str) -> bool:
    named = path.split(".")
    return any(part in named for _, parts in _PARTS for part in parts)
