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
from typing import Any, NamedTuple

from harness.data.samples import (
    MODES,
    gradient,
    id_texts,
    plain_conversations,
    text_cases,
    training_conversations,
)
from harness.judging.goldens.golden import (
    ANY_FAMILY,
    Band,
    BandKind,
    Golden,
    golden_to_json,
    read_golden,
    truth_path,
    write_golden,
)
from harness.measuring.models import plain_sizes
from harness.measuring.models.qwen2_vl import CHAT, SAMPLES
from harness.measuring.probes._limits import ASKED
from harness.measuring.probes._together import ORDER
from harness.measuring.snapshots.source import STAND_IN
from harness.recipe.published import VARIANTS, Recipe, variant
from harness.records.files import json_digest
from harness.records.folders import GOLDEN
from harness.records.recipes import variant_digests
from suites.oracles import ladder, qwen2_vl, resize, template, worked_out
from suites.oracles.adapter import Adapter
from suites.truths_cost import step_truths
from suites.truths_footprint import (
    config_truths,
    reach_truths,
    recipe_lora_truths,
    start_truths,
    value_truths,
)
from suites.truths_inside import (
    LOSS,
    again_truths,
    frequency_truths,
    inside_truths,
    row_truths,
    share_truths,
)
from suites.truths_interface import interface_truths
from suites.truths_model import model_truths
from suites.truths_schedules import schedule_truths
from suites.truths_trainers import trainer_truths
from suites.truths_training import (
    dtype_truths,
    epoch_truths,
    stand_in_identities,
    training_identities,
    training_truths,
)

FAMILY = "qwen2_vl"
MARKED = "a picture's tokens are marked as one's, and no others"


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


def for_any(
    rung: str,
    metric: str,
    cases: Mapping[str, Any],
    origin: str,
    reason: str,
    band: Band | None = None,
    model: str = "any",
) -> Golden:
    """One truth of every family that has none of its own."""
    own = truth(rung, metric, cases, origin, reason, band, model)
    return replace(own, family=ANY_FAMILY)


def identities() -> Iterator[Golden]:
    """What holds whatever the family: arithmetic, definitions and the recipe's own numbers."""
    yield from inside_truths(for_any)
    yield from trainer_truths(for_any, LOSS)
    yield from again_truths(for_any)
    yield from by_recipe(lambda recipe: schedule_truths(for_any, recipe))
    yield from by_recipe(lambda recipe: share_truths(for_any, recipe))
    yield from interface_truths(for_any)
    yield from recipe_lora_truths(for_any)
    yield from reach_truths(for_any)
    yield from start_truths(for_any)
    yield from config_truths(for_any)
    yield from training_identities(for_any)
    yield from stand_in_identities(for_any)
    yield from dtype_truths(for_any)
    yield from picture_identities(for_any)
    none = {"left": 0, "right": 0}
    yield for_any("labels", "trained_pads", none, "arithmetic", "padding is never a target")
    yield for_any("ids", "mark_gap", none, "arithmetic", MARKED)
    why = "`catergory` is not `category` (contradiction 5)"
    by_hand = "read off the published post"
    yield for_any("text", "misspelt_key_raises", {"": True}, by_hand, why)


def by_recipe(make: Callable[[Recipe], Iterable[Golden]]) -> Iterator[Golden]:
    """What the oracles say for each variant of the recipe, the variants for which they say the
    same together; a truth that all five share names none: it holds for any.

    The published recipe's sentences stand where it is among those that share.
    """
    by_name = {name: {address(g): g for g in make(variant(name))} for name in VARIANTS}
    for place in dict.fromkeys(place for goldens in by_name.values() for place in goldens):
        groups: list[tuple[Golden, list[str]]] = []
        for name, goldens in by_name.items():
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
    judge = qwen2_vl.Family(folder, resize.PROCESSOR_LIMITS)
    texts = {**id_texts(recipe), **SAMPLES.texts}
    texts = {name: judge.encode(text) for name, text in texts.items()}
    words = qwen2_vl.WORDS
    yield truth("ids", "encoded", texts, words.vocabulary, words.encoded, model=model)
    conversations = training_conversations(4, recipe=recipe)
    masked = recipe.repairs.mask_prompt
    plain = plain_conversations(plain_sizes("qwen2_vl", folder), recipe)
    rows = [plain[name] for name in ORDER]
    for metric, value, origin, why in worked_out.together(judge, rows):
        yield truth("images", metric, {"": value}, origin, why, model=model)
    lora = recipe.lora
    tuned = Adapter(lora.target_modules, lora.r, lora.lora_alpha / lora.r)
    own = ladder.Own({}, {}, (), plain=plain, mask_prompt=masked, adapter=tuned)
    batch = worked_out.batch_truths(judge, conversations, mask_prompt=masked)
    inside = (worked_out.picture_truths, worked_out.forward_truths)
    for each in (*batch, *(each for truths in inside for each in truths(judge, own))):
        band = Band()
        if each.within:
            band = within(each)
        facts = (each.rung, each.metric, each.cases, each.origin, each.reason)
        golden = truth(*facts, band, model)
        # It is worked out for these conversations and says nothing about others.
        yield replace(golden, data="catalogue")


def within(truth: ladder.Truth) -> Band:
    """How far off a number may be."""
    why, least = "recorded to six places", "one token in a million"
    if truth.rung in ("inputs", "forward"):
        why, least = "float32 against float64, a few layers", "any part of the model left out"
        if truth.metric == "tuned_loss":
            least = "any LoRA module left out"
    return Band(BandKind.ABSOLUTE, truth.within, why, least)


def id_constants(recipe: Recipe) -> Iterator[Golden]:
    """Rungs 3 to 5, what holds under every vocabulary."""
    folder = "the published tokenizer_config.json (recipe.md)"
    for metric, (value, why) in qwen2_vl.Family.constants.items():
        yield truth("ids", metric, {"": value}, folder, why)
    import unicodedata

    texts = {**id_texts(recipe), **SAMPLES.texts}
    back = {name: unicodedata.normalize("NFC", text) for name, text in texts.items()}
    yield truth("ids", "round_trip", back, "NFC of the text", "byte-level BPE loses nothing else")
    none = {"left": 0, "right": 0}
    yield truth("labels", "trained_pads", none, "arithmetic", "padding is never a target")
    yield truth("ids", "mark_gap", none, "arithmetic", MARKED)


class Size(NamedTuple):
    """Of a picture none of whose pixels a truth says."""

    width: int
    height: int


def _picture(width: int, height: int) -> Any:
    """Drawn where its pixels are worked out: the four largest take as long as all the others'."""
    return gradient(width, height) if width * height < ladder.LARGE else Size(width, height)


def image_truths() -> Iterator[Golden]:
    """Rung 4."""
    judge = qwen2_vl.Family(STAND_IN, resize.PROCESSOR_LIMITS)
    pictures = {name: _picture(*size) for name, size in SAMPLES.sizes.items()}
    own = ladder.Own({}, {}, (), direct=pictures, rules=SAMPLES.rule_sizes)
    bounds = {
        "level_error": Band(
            BandKind.AT_MOST,
            0.002,
            "float32: 255 levels × σ 0.28 × 2.6 × 2⁻²³ is below 0.0001",
            "a mean or σ that is off in its fifth digit",
        )
    }
    for each in worked_out.direct_truths(judge, own):
        facts = (each.rung, each.metric, each.cases, each.origin, each.reason)
        yield truth(*facts, bounds.get(each.metric))
    refused = {"processor": True, "fetch": True}
    yield truth(
        "images", "too_long_refused", refused, qwen2_vl.WORDS.pictures, "more than 200:1 is refused"
    )
    ways = ("path", "file_url", "data_uri", "web")
    opened = {f"{way}_{mode}": 0 for way in ways for mode in ("rgb", "rgba")}
    why = "a picture that is named has the pixels of the opened one"
    yield truth("images", "opened_gap", opened, "arithmetic", why)
    why = "a batch holds the pixels of its rows, whatever stands beside them"
    yield truth("images", "mixed_pixels", {"": 0.0}, "arithmetic", why)
    yield from limit_truths()
    yield from picture_identities(truth)


def limit_truths() -> Iterator[Golden]:
    """Rung 4, pictures that a processor is told to keep small, or large."""
    limits = SAMPLES.limits
    assert limits is not None
    width, height = limits.picture
    low, high = resize.PROCESSOR_LIMITS
    small = resize.resized(height, width, (low, limits.most))
    large = resize.resized(height, width, (limits.fewest, high))
    as_it_is = resize.resized(height, width, resize.PROCESSOR_LIMITS)
    ways = {
        "most_when_loaded": small,
        "fewest_when_loaded": large,
        "most_afterwards": small,
        "most_without_snapshot": small,
    }
    called = {
        "most_in_call": small,
        "fewest_in_call": large,
        "most_in_images_kwargs": small,
        "size_in_call": resize.resized(height, width, (limits.most, limits.most)),
    }
    ways |= called
    origin = "suites/oracles/resize.py"
    why = "the published resize rule within the limit that was given"
    grids = {way: [*resize.grid(*size)] for way, size in ways.items()}
    yield truth("images", "limited_grid", grids, origin, why)
    why = "what one processor is told is no other's business"
    beside = {way: [*resize.grid(*as_it_is)] for way in ways}
    yield truth("images", "grid_beside", beside, origin, why)
    tokens = {way: resize.image_tokens(*size) for way, size in called.items()}
    why = "one image token for each square of four patches of the grid that comes out"
    yield truth("images", "limited_tokens", tokens, origin, why)
    floor = resize.FACTOR
    asked = {
        "most_in_message": (resize.FETCH_LIMITS[0], limits.most),
        "fewest_in_message": (limits.fewest, resize.FETCH_LIMITS[1]),
        "none_in_message": resize.FETCH_LIMITS,
    }
    sizes = {
        way: [*resize.resized(height, width, within, least=floor)] for way, within in asked.items()
    }
    sizes["size_in_message"] = [*resize.resized(*ASKED, resize.FETCH_LIMITS, least=floor)]
    why = "the published resize rule within the limit that stands in the message"
    yield truth("images", "limited_size", sizes, origin, why)


def picture_identities(truth: Callable[..., Golden]) -> Iterator[Golden]:
    """Rung 4, what is asked of every processor."""
    refused = {"library": True, "harness": True}
    why = "a cut picture must never reach the model"
    yield truth("images", "truncation_refused", refused, "arithmetic", why)
    yield truth(
        "images", "texts_left_alone", {"": True}, "arithmetic", "a call keeps its arguments"
    )
    names = [*MODES, "exif_turned"]
    why = "the picture that the user sees: turned by its EXIF, laid on white"
    yield truth("images", "decoder_gap", dict.fromkeys(names, 0), "arithmetic", why)
    yield truth("images", "row_gap", {"": 0}, "arithmetic", "each row holds its picture's tokens")


def write(goldens: Iterator[Golden], root: Path = GOLDEN) -> list[Path]:
    """Write truths to their addresses; one that says the same in another order is left as it is."""
    paths = []
    for golden in goldens:
        where = (golden.rung, golden.family, golden.metric, golden.model)
        path = truth_path(*where, root, golden.recipes)
        if not is_said(golden, path):
            write_golden(golden, path)
        paths.append(path)
    return paths


def is_said(golden: Golden, path: Path) -> bool:
    """Whether the file there says the same, its cases in whatever order."""
    return path.is_file() and json_digest(golden_to_json(read_golden(path))) == json_digest(
        golden_to_json(golden)
    )


def all_truths(real: Path | None) -> Iterator[Golden]:
    """Every truth; those of the real vocabulary only where its snapshot is given."""
    yield from by_recipe(recipe_truths)
    if real is not None:
        yield from by_recipe(lambda recipe: vocabulary_truths(real, "real-vocabulary", recipe))
    yield from image_truths()
    yield from model_truths(truth)
    yield from value_truths(truth)
    yield from start_truths(truth)
    yield from inside_truths(truth)
    yield from trainer_truths(truth, LOSS)
    yield from frequency_truths(truth)
    yield from row_truths(truth)
    yield from interface_truths(truth)
    yield from training_truths(truth, STAND_IN)
    yield from identities()


def recipe_truths(recipe: Recipe) -> Iterator[Golden]:
    """What a recipe's text, labels, schedule and lengths decide."""
    yield from text_truths(recipe)
    yield from id_constants(recipe)
    yield from vocabulary_truths(STAND_IN, "stand-in", recipe)
    yield from share_truths(truth, recipe)
    yield from schedule_truths(truth, recipe)
    judge = qwen2_vl.Family(STAND_IN, resize.PROCESSOR_LIMITS)
    yield from step_truths(truth, judge.expanded, recipe)
    yield from epoch_truths(truth, judge, recipe)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, default=os.environ.get("HARNESS_MODEL"))
    given = parser.parse_args().real
    for written in write(all_truths(Path(given) if given else None)):
        print(written)
