"""The truths of samples, worked out from what a family's oracle says of one."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .adapter import Adapter, merged
from .ladder import (
    IGNORED,
    LARGE,
    PLAIN,
    ROLES,
    SIDES,
    Oracle,
    Own,
    Sample,
    Truth,
    Turns,
    Words,
    grids,
    pictures,
)
from .numerics import cross_entropy

# Of a batch: what no truth can be given for where a resized side hangs on a float's last bit.
OF_A_BATCH = (
    ("ids", "batch_ids"),
    ("ids", "batch_mask"),
    ("labels", "recipe"),
    ("labels", "completion"),
    ("labels", "supervised"),
    ("labels", "prompt_share"),
    ("inputs", "positions"),
    ("inputs", "prefill_positions"),
    ("images", "tokens_by_row"),
)

# Of the plain conversations, those of a picture, of none and of two, in that order in one batch.
TOGETHER = ("one", "none", "two")


def truths(oracle: Oracle, own: Own) -> Iterator[Truth]:
    """Rungs 2 to 5, and the positions of rung 7."""
    words = oracle.words
    rendered = {
        case: oracle.render(turns, **switches) for case, (turns, switches) in own.rendered.items()
    }
    yield Truth("text", "rendered", rendered, words.template, "the template's behaviour")
    yield from _path_truths(oracle, own)
    yield from direct_truths(oracle, own)
    if oracle.lacks:
        yield from (
            Truth(*metric, {}, words.vocabulary, oracle.lacks)
            for metric in (("ids", "encoded"), *OF_A_BATCH)
        )
        return
    encoded = {case: oracle.encode(text) for case, text in own.texts.items()}
    yield Truth("ids", "encoded", encoded, words.vocabulary, words.encoded)
    back = {case: oracle.decoded(text) for case, text in own.texts.items()}
    yield Truth("ids", "round_trip", back, "NFC of the text", words.kept)
    if any(oracle.undecided(p.height, p.width) for turns in own.batch for p in pictures(turns)):
        why = "a float's last bit decides the resized side of one of its pictures"
        yield from (Truth(*metric, {}, words.together, why) for metric in OF_A_BATCH)
        return
    yield from batch_truths(oracle, own.batch, mask_prompt=own.mask_prompt)
    if own.plain:
        rows = [own.plain[name] for name in TOGETHER]
        for metric, value, origin, why in together(oracle, rows):
            yield Truth("images", metric, {"": value}, origin, why)
        yield from picture_truths(oracle, own)
        yield from forward_truths(oracle, own)


def picture_truths(oracle: Oracle, own: Own) -> Iterator[Truth]:
    """Rung 7: what pictures become before they enter the decoder, by no code of the libraries'."""
    if not oracle.weights:
        return
    shown = {case: oracle.shown(turns) for case, turns in own.plain.items() if pictures(turns)}
    cases = {case: round(projection(each), 9) for case, each in shown.items() if each is not None}
    if not cases:
        return
    why = "tower and connector by their publication, in float64, from the same weights"
    yield Truth("inputs", "image_features", cases, oracle.words.model, why, within=PLAIN)


def projection(shown: Any) -> float:
    """Of float64 (tokens, width) on sin(1 + 0.7 token + 1.3 channel), by the root of their number:
    no two places weigh the same, so that order shows too."""
    tokens, width = shown.shape
    wave = np.sin(1 + 0.7 * np.arange(tokens)[:, None] + 1.3 * np.arange(width))
    return float((shown * wave).sum() / (tokens * width) ** 0.5)


def constant_truths(oracle: Oracle) -> Iterator[Truth]:
    """Rung 3, what the snapshot itself says."""
    for metric, (value, why) in oracle.constants.items():
        yield Truth("ids", metric, {"": value}, "the published tokenizer_config.json", why)


def padded(rows: list[list[int]], pad: int, side: str) -> tuple[list[list[int]], list[list[int]]]:
    """(ids, attention mask) padded to the longest row on that side."""
    longest = max(map(len, rows))
    ids, mask = [], []
    for row in rows:
        gap = longest - len(row)
        left, right = (gap, 0) if side == "left" else (0, gap)
        ids.append([pad] * left + row + [pad] * right)
        mask.append([0] * left + [1] * len(row) + [0] * right)
    return ids, mask


def recipe_labels(oracle: Oracle, ids: Sequence[int]) -> list[int]:
    """The recipe's collator: padding and what surrounds and stands for pictures is masked."""
    hidden = {oracle.pad, *oracle.never}
    return [IGNORED if token in hidden else token for token in ids]


def completion_labels(oracle: Oracle, ids: Sequence[int]) -> list[int]:
    """And nothing before the last answer's own text is trained."""
    start = oracle.answer(ids)
    return [IGNORED] * start + recipe_labels(oracle, ids)[start:]


def spelled(axes: Sequence[Sequence[int]]) -> str:
    """As the record spells them, the axes apart."""
    return " | ".join(" ".join(map(str, axis)) for axis in axes)


def batch_truths(
    oracle: Oracle, conversations: Sequence[Turns], *, mask_prompt: bool
) -> Iterator[Truth]:
    """Rungs 3, 4, 5 and 7 of one batch."""
    words = oracle.words
    samples = [oracle.sample(turns) for turns in conversations]
    rows = [sample.ids for sample in samples]
    trained = completion_labels if mask_prompt else recipe_labels
    ids, masks, recipes, completions = {}, {}, {}, {}
    for side in SIDES:
        ids[side], masks[side] = padded(rows, oracle.pad, side)
        recipes[side] = [trained(oracle, row) for row in ids[side]]
        completions[side] = [completion_labels(oracle, row) for row in ids[side]]
    yield Truth("ids", "batch_ids", ids, words.together, "what the recipe's batch must hold")
    yield Truth("ids", "batch_mask", masks, words.together, "1 exactly on real tokens")
    why = f"{words.masked} are masked, nothing else"
    after = "nothing before the end of the assistant header is trained"
    yield Truth("labels", "recipe", recipes, words.labels, f"and {after}" if mask_prompt else why)
    yield Truth("labels", "completion", completions, words.labels, after)
    placed = position_truth(samples, words)
    yield placed
    prefill = {"left": placed.cases["left"]}
    yield Truth("inputs", "prefill_positions", prefill, words.positions, words.placed)
    counts: dict[str, int] = dict.fromkeys((*ROLES, "control"), 0)
    for row in rows:
        for role, label in zip(oracle.roles(row), trained(oracle, row), strict=True):
            counts[role] += label != IGNORED
    yield Truth("labels", "supervised", counts, words.labels, "tokens by role")
    prompt = sum(counts.values()) - counts["assistant"]
    share = {"": round(prompt / sum(counts.values()), 12)}
    why = "trained tokens that are not the description (contradiction 6), of all"
    yield Truth("labels", "prompt_share", share, words.labels, why, within=1e-6)
    tokens = {"": [row.count(oracle.picture) for row in rows]}
    yield Truth("images", "tokens_by_row", tokens, words.together, words.token)


def together(
    oracle: Oracle, conversations: Sequence[Turns]
) -> Iterator[tuple[str, list[Any], str, str]]:
    """Rung 4, rows of unlike pictures in one batch: metric, value, origin and reason."""
    words = oracle.words
    tokens = [oracle.sample(turns).ids.count(oracle.picture) for turns in conversations]
    yield "mixed_tokens", tokens, words.together, words.token
    if not words.lined_up:
        return
    shown = [
        [oracle.fetched(picture.height, picture.width) for picture in pictures(turns)]
        for turns in conversations
    ]
    placed = [grid for sizes in shown for grid in grids(oracle, sizes)]
    yield "mixed_grids", placed, words.pictures, words.lined_up


def position_truth(samples: Sequence[Sample], words: Words) -> Truth:
    """Rung 7: where each row's tokens stand, on whichever side it is padded; and where a decoder
    puts them that is given no positions and counts a row's padding too."""
    rows = [spelled(sample.positions) for sample in samples]
    longest = max(len(sample.ids) for sample in samples)
    late = [
        spelled([[at + longest - len(sample.ids) for at in axis] for axis in sample.positions])
        for sample in samples
    ]
    counted = {"padding counted": {"left": late}}
    both = dict.fromkeys(SIDES, rows)
    return Truth("inputs", "positions", both, words.positions, words.placed, otherwise=counted)


def forward_truths(oracle: Oracle, own: Own) -> Iterator[Truth]:
    """Rung 8: the model's own loss, unadapted, by a forward pass that shares no code with it; and
    that of rows without pictures with an adapter, so that one that is lost is missed."""
    if not oracle.weights:
        return
    losses = _losses(oracle, own, own.plain)
    cases = {f"{side}_{case}": loss for side in SIDES for case, loss in losses.items()}
    why = "the forward pass by its publication, in float64, from the same weights"
    yield Truth("forward", "plain_loss", cases, oracle.words.model, why, within=PLAIN)
    if own.adapter is None:
        return
    texts = {case: turns for case, turns in own.plain.items() if not pictures(turns)}
    losses = _losses(_with(oracle, own.adapter), own, texts)
    cases = {f"right_{case}": loss for case, loss in losses.items()}
    why = f"{why}, and an adapter of numbers that suites/oracles/adapter.py writes down"
    yield Truth("forward", "tuned_loss", cases, oracle.words.model, why, within=PLAIN)


def _losses(oracle: Oracle, own: Own, rows: Mapping[str, Turns]) -> dict[str, float]:
    losses: dict[str, float] = {}
    for case, turns in rows.items():
        labels = completion_labels if own.mask_prompt else recipe_labels
        trained = labels(oracle, oracle.sample(turns).ids)
        losses[case] = round(cross_entropy(oracle.logits(turns), trained, IGNORED), 9)
    return losses


def _with(oracle: Oracle, adapter: Adapter) -> Oracle:
    """The same oracle of a model with an adapter merged into it."""
    other = copy.copy(oracle)
    # Where it keeps what it has read.
    vars(other)["weights"] = merged(oracle.weights, adapter)
    return other


def _path_truths(oracle: Oracle, own: Own) -> Iterator[Truth]:
    """Rung 4: pictures on the recipe's path, fetched and then processed."""
    if not own.pictures:
        return
    sizes = {case: s for case, s in own.pictures.items() if not oracle.undecided(*s)}
    yield from _counted(oracle, {}, {case: oracle.fetched(*s) for case, s in sizes.items()})


def _counted(
    oracle: Oracle, direct: Mapping[str, tuple[int, int]], fetched: Mapping[str, tuple[int, int]]
) -> Iterator[Truth]:
    """What the processor counts of sizes that it is given as they are, and after the fetch."""
    origin = oracle.words.pictures
    seen = {**direct, **{f"fetched_{case}": size for case, size in fetched.items()}}
    why = "qwen_vl_utils' own limits"
    listed = {case: list(size) for case, size in fetched.items()}
    yield Truth("images", "fetched_size", listed, origin, why)
    counted = {case: oracle.grid(*size) for case, size in seen.items()}
    yield Truth("images", "grid", counted, origin, "the published resize rule")
    tokens = {case: oracle.tokens(*size) for case, size in seen.items()}
    yield Truth("images", "tokens", tokens, origin, oracle.words.grid)


def direct_truths(oracle: Oracle, own: Own) -> Iterator[Truth]:
    """Rung 4: the family's critical sizes, on both ways to the processor."""
    if not own.direct:
        return
    origin = oracle.words.pictures
    sizes = {c: (p.height, p.width) for c, p in own.direct.items()}
    fetched = {case: oracle.fetched(*size) for case, size in sizes.items()}
    levels = {}
    for case, picture in own.direct.items():
        height, width = fetched[case]
        levels[case] = oracle.levels(picture, ())
        if height * width < LARGE:
            levels[f"fetched_{case}"] = oracle.levels(picture, (fetched[case],))
    small = {case: size for case, size in fetched.items() if f"fetched_{case}" in levels}
    for each in _counted(oracle, sizes, small):
        if each.metric == "fetched_size":
            listed = {case: list(size) for case, size in fetched.items()}
            yield Truth("images", "fetched_size", listed, origin, each.reason)
        else:
            yield each
    known = {case: digest for case, digest in levels.items() if digest is not None}
    filtered = oracle.words.resized
    yield Truth("images", "levels", known, origin, f"{filtered}, then the patch order")
    none = dict.fromkeys(levels, 0)
    why = f"the published processor resizes with {filtered} filter"
    yield Truth("images", "pillow_gap", none, "arithmetic", why)
    errors = dict.fromkeys(levels, 0.0)
    yield Truth("images", "level_error", errors, "arithmetic", "exact inverse", within=0.002)
    if own.rules:
        ruled = {case: list(oracle.rule(*size)) for case, size in own.rules.items()}
        yield Truth(
            "images", "resize_rule", ruled, origin, "exact integers, no square root rounded"
        )
