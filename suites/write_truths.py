"""Write golden/truth from the oracles: `python -m suites.write_truths [--real SNAPSHOT]`.

Inputs come from harness.data.samples, values from suites/oracles or from arithmetic stated here; no
library under test is called. suites/selftest/test_truths.py computes them again and compares.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data.samples import (
    MODES,
    gradient,
    id_texts,
    text_cases,
    training_conversations,
)
from harness.judging.goldens.golden import Band, BandKind, Golden, truth_path, write_golden
from harness.measuring.models.qwen2_vl import CHAT, SAMPLES
from harness.measuring.snapshots.source import STAND_IN
from harness.recipe.published import VARIANTS, Recipe, variant
from harness.records.files import text_digest
from harness.records.folders import GOLDEN
from harness.records.recipes import variant_digests
from suites.oracles import bpe, qwen2_vl, resize, template
from suites.oracles.qwen2_vl import expanded
from suites.truths_cost import step_truths
from suites.truths_inside import inside_truths, schedule_truths, share_truths
from suites.truths_interface import interface_truths
from suites.truths_model import model_truths
from suites.truths_training import training_truths

FAMILY = "qwen2_vl"


def truth(
    rung: str,
    metric: str,
    cases: Mapping[str, Any],
    origin: str,
    reason: str,
    band: Band | None = None,
    model: str = "any",
) -> Golden:
    """One truth of the family."""
    return Golden(rung, FAMILY, metric, "truth", origin, reason, dict(cases), band or Band(), model)


def by_recipe(make: Callable[[Recipe], Iterable[Golden]]) -> Iterator[Golden]:
    """What the oracles say for each variant of the recipe, the variants for which they say the
    same together; a truth that all five share names none: it holds for any.

    The published recipe's sentences stand where it is among those that share.
    """
    made = {name: {address(g): g for g in make(variant(name))} for name in VARIANTS}
    for place in dict.fromkeys(place for goldens in made.values() for place in goldens):
        groups: list[tuple[Golden, list[str]]] = []
        for name, goldens in made.items():
            golden = goldens.get(place)
            if golden is None:
                continue
            alike = next((g for g in groups if g[0].cases == golden.cases), None)
            if alike is None:
                groups.append((golden, [name]))
            else:
                alike[1].append(name)
        for golden, names in groups:
            everywhere = len(names) == len(VARIANTS)
            recipes = {} if everywhere else {n: variant_digests()[n] for n in names}
            yield replace(golden, recipes=recipes)


def address(golden: Golden) -> tuple[str, str, str]:
    """What a truth is of, whatever the recipe."""
    return golden.rung, golden.metric, golden.model


def text_truths(recipe: Recipe) -> Iterator[Golden]:
    """Rung 2."""
    rendered = {
        name: template.render(case.messages, **case.options)
        for name, case in text_cases(CHAT.numbering, recipe).items()
    }
    yield truth(
        "text", "rendered", rendered, "suites/oracles/template.py", "the template's behaviour"
    )
    # By hand (recipe.md, "Data"): the prompt's first and third line end with a space, and one
    # `<` is missing; the misspelt key of the post's sample is not the one that is looked up.
    by_hand = "read off the published post"
    why = "three lines are printed otherwise than they are rendered (contradiction 4)"
    lines = {"": 3}
    if recipe.repairs.tutorial_prompt:
        # The tutorial's fourth line is empty: there is no space for the print to lose.
        lines, why = {"": 2}, "two lines are printed otherwise than they are rendered"
    yield truth("text", "printed_sample_differences", lines, by_hand, why)
    why = "`catergory` is not `category` (contradiction 5)"
    yield truth("text", "misspelt_key_raises", {"": True}, by_hand, why)


def vocabulary_truths(folder: Path, model: str, recipe: Recipe) -> Iterator[Golden]:
    """Rungs 3, 5 and 7 under one vocabulary."""
    encoder = bpe.Encoder.from_folder(folder)
    origin = "suites/oracles/bpe.py over the snapshot's vocab.json and merges.txt"
    texts = {**id_texts(recipe), **SAMPLES.texts}
    texts = {name: encoder.encode(text) for name, text in texts.items()}
    yield truth("ids", "encoded", texts, origin, "byte-level BPE by its definition", model=model)
    conversations = training_conversations(4, recipe=recipe)
    of_batch = qwen2_vl.batch_truths(encoder, conversations, mask_prompt=recipe.repairs.mask_prompt)
    for each in of_batch:
        band = Band()
        if each.within:
            why = "recorded to six places"
            band = Band(BandKind.ABSOLUTE, each.within, why, "one token in a million")
        said = (each.rung, each.metric, each.cases, each.origin, each.reason)
        made = truth(*said, band, model)
        # It is worked out for these conversations and says nothing about others.
        yield replace(made, data="catalogue")


def id_constants(recipe: Recipe) -> Iterator[Golden]:
    """Rungs 3 to 5, what holds under every vocabulary."""
    folder = "the published tokenizer_config.json (recipe.md)"
    yield truth("ids", "padding_side", {"": "left"}, folder, "the snapshot's own setting")
    yield truth("ids", "pad_token", {"": "<|endoftext|>"}, folder, "not the eos token")
    yield truth("ids", "eos_token", {"": "<|im_end|>"}, folder, "ends every turn")
    import unicodedata

    texts = {**id_texts(recipe), **SAMPLES.texts}
    back = {name: unicodedata.normalize("NFC", text) for name, text in texts.items()}
    yield truth("ids", "round_trip", back, "NFC of the text", "byte-level BPE loses nothing else")
    none = {"left": 0, "right": 0}
    yield truth("labels", "trained_pads", none, "arithmetic", "padding is never a target")


def levels_digest(picture: Any) -> str:
    """Digest of the 0–255 levels, in patch order, of a picture of the final size."""
    flat = resize.patches(np.asarray(picture)).astype(np.float64).reshape(-1, 3, 392)
    mean, std = resize.MEAN.reshape(1, 3, 1), resize.STD.reshape(1, 3, 1)
    return text_digest(
        np.round((flat * std + mean) * 255.0).clip(0, 255).astype(np.uint8).tobytes()
    )


def bicubic(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Rows first, then columns, as Pillow up to the reference stack's 10.4 does it.

    Pillow 13 resizes columns first; each pass alone is the same, so this fixes the result.
    """
    height, width = size
    rows = picture.resize((width, picture.height), Image.Resampling.BICUBIC)
    return rows.resize((width, height), Image.Resampling.BICUBIC)


def image_truths() -> Iterator[Golden]:
    """Rung 4."""
    grids, tokens, levels, fetched_sizes = {}, {}, {}, {}
    for name, (width, height) in SAMPLES.sizes.items():
        fetched = resize.resized(height, width, resize.FETCH_LIMITS, least=28)
        fetched_sizes[name] = list(fetched)
        paths = {name: (height, width)}
        if fetched[0] * fetched[1] < 4_000_000:
            paths[f"fetched_{name}"] = fetched
        for case, size in paths.items():
            final = resize.resized(*size, resize.PROCESSOR_LIMITS)
            grids[case] = list(resize.grid(*final))
            tokens[case] = resize.image_tokens(*final)
            # Pixels are worked out for pictures that stay small; the large ones are held by
            # their grid and by the gap to Pillow's own resize.
            if final[0] * final[1] < 300_000:
                picture = gradient(width, height)
                if case != name and fetched != (height, width):
                    picture = bicubic(picture, fetched)
                if picture.size != final[::-1]:
                    picture = bicubic(picture, final)
                levels[case] = levels_digest(picture)
    origin = "suites/oracles/resize.py"
    yield truth("images", "grid", grids, origin, "the published resize rule")
    yield truth("images", "tokens", tokens, origin, "grid over merge²")
    yield truth("images", "fetched_size", fetched_sizes, origin, "qwen_vl_utils' own limits")
    yield truth("images", "levels", levels, origin, "Pillow's bicubic, then the patch order")
    why = "the published processor resizes with Pillow's bicubic filter"
    yield truth("images", "pillow_gap", dict.fromkeys(grids, 0), "arithmetic", why)
    band = Band(
        BandKind.AT_MOST,
        0.002,
        "float32: 255 levels × σ 0.28 × 2.6 × 2⁻²³ is below 0.0001",
        "a mean or σ that is off in its fifth digit",
    )
    yield truth(
        "images", "level_error", dict.fromkeys(grids, 0.0), "arithmetic", "exact inverse", band
    )
    rule = {
        name: list(resize.resized(*size, resize.PROCESSOR_LIMITS))
        for name, size in SAMPLES.rule_sizes.items()
    }
    yield truth("images", "resize_rule", rule, origin, "exact integers, no square root rounded")
    refused = {"library": True, "harness": True}
    why = "a cut picture must never reach the model"
    yield truth("images", "truncation_refused", refused, "arithmetic", why)
    yield truth(
        "images", "texts_left_alone", {"": True}, "arithmetic", "a call keeps its arguments"
    )
    refused = {"processor": True, "fetch": True}
    yield truth("images", "too_long_refused", refused, origin, "more than 200:1 is refused")
    names = [*MODES, "exif_turned"]
    why = "the picture that the user sees: turned by its EXIF, laid on white"
    yield truth("images", "decoder_gap", dict.fromkeys(names, 0), "arithmetic", why)
    yield truth("images", "row_gap", {"": 0}, "arithmetic", "each row holds its picture's tokens")


def write(goldens: Iterator[Golden], root: Path = GOLDEN) -> list[Path]:
    """Write truths to their addresses."""
    paths = []
    for golden in goldens:
        where = (golden.rung, FAMILY, golden.metric, golden.model)
        path = truth_path(*where, root, golden.recipes)
        write_golden(golden, path)
        paths.append(path)
    return paths


def all_truths(real: Path | None) -> Iterator[Golden]:
    """Every truth; those of the real vocabulary only where its snapshot is given."""
    yield from by_recipe(recipe_truths)
    if real is not None:
        yield from by_recipe(lambda recipe: vocabulary_truths(real, "real-vocabulary", recipe))
    yield from image_truths()
    yield from model_truths(truth)
    yield from inside_truths(truth)
    yield from interface_truths(truth)
    yield from training_truths(truth, STAND_IN)


def recipe_truths(recipe: Recipe) -> Iterator[Golden]:
    """What a recipe's text, labels, schedule and lengths decide."""
    yield from text_truths(recipe)
    yield from id_constants(recipe)
    yield from vocabulary_truths(STAND_IN, "stand-in", recipe)
    yield from share_truths(truth, recipe)
    yield from schedule_truths(truth, recipe)
    yield from step_truths(truth, expanded, recipe)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, default=os.environ.get("HARNESS_MODEL"))
    given = parser.parse_args().real
    for written in write(all_truths(Path(given) if given else None)):
        print(written)
