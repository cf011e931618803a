"""What the ladder must show of any conversations under Qwen2-VL: all its oracles together.

Conversations are lists of turns whose contents are lists of parts, as a chat template takes them;
of a picture only `height` and `width` are looked at.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import bpe, labels, mrope, resize, template

Turns = Sequence[Mapping[str, Any]]
SIDES = ("left", "right")
BOTH = "template, resize and BPE oracles together"
BPE = "suites/oracles/bpe.py over the snapshot's vocab.json and merges.txt"


@dataclass(frozen=True)
class Truth:
    """What a metric must be, by case. No cases: it cannot be told for these samples; `reason`
    says why. within: how far a number may be off, for one that is recorded rounded."""

    rung: str
    metric: str
    cases: Mapping[str, Any]
    origin: str
    reason: str
    within: float = 0.0


@dataclass(frozen=True)
class Own:
    """Samples of a user's own. rendered: (turns, the template's switches) by case. texts: by case.
    batch: the conversations of the fixed batch. pictures: (height, width) by case. mask_prompt:
    whether only completions are trained."""

    rendered: Mapping[str, tuple[Turns, Mapping[str, bool]]]
    texts: Mapping[str, str]
    batch: Sequence[Turns]
    pictures: Mapping[str, tuple[int, int]]
    mask_prompt: bool = False


def limits(folder: Path | None) -> tuple[int, int]:
    """The fewest and the most pixels that the snapshot's processor keeps; the published ones
    where it does not say."""
    if folder is None:
        return resize.PROCESSOR_LIMITS
    raw = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    size = raw.get("size") or {}
    low = raw.get("min_pixels") or size.get("shortest_edge")
    high = raw.get("max_pixels") or size.get("longest_edge")
    return int(low or resize.PROCESSOR_LIMITS[0]), int(high or resize.PROCESSOR_LIMITS[1])


def fetched_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) after qwen_vl_utils' own resize."""
    return resize.resized(height, width, resize.FETCH_LIMITS, least=28)


def final_size(picture: Any, kept: tuple[int, int] = resize.PROCESSOR_LIMITS) -> tuple[int, int]:
    """(height, width) of a picture after both resizes of the recipe's path."""
    return resize.resized(*fetched_size(picture.height, picture.width), kept)


def pictures(turns: Turns) -> list[Any]:
    """The pictures of a conversation, in order."""
    return [p["image"] for turn in turns for p in turn["content"] if p["type"] == "image"]


def expanded(turns: Turns, kept: tuple[int, int] = resize.PROCESSOR_LIMITS) -> str:
    """The rendered conversation with every image_pad repeated by the resize rule's count."""
    text = template.render(turns)
    for picture in pictures(turns):
        count = resize.image_tokens(*final_size(picture, kept))
        text = text.replace("<|image_pad|>", "\0" * count, 1)
    return text.replace("\0", "<|image_pad|>")


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


def batch_truths(
    encoder: bpe.Encoder,
    conversations: Sequence[Turns],
    *,
    mask_prompt: bool,
    kept: tuple[int, int] = resize.PROCESSOR_LIMITS,
) -> Iterator[Truth]:
    """Rungs 3, 4, 5 and 7 of one batch. kept: the processor's limits in pixels."""
    pad, control = encoder.control["<|endoftext|>"], encoder.control
    rows = [encoder.encode(expanded(turns, kept)) for turns in conversations]
    header = encoder.encode("<|im_start|>assistant")
    ids, masks, recipes, completions = {}, {}, {}, {}
    for side in SIDES:
        ids[side], masks[side] = padded(rows, pad, side)
        recipes[side] = [labels.recipe(row, control, pad) for row in ids[side]]
        completions[side] = [labels.completion(r, control, pad, header) for r in ids[side]]
    yield Truth("ids", "batch_ids", ids, BOTH, "what the recipe's batch must hold")
    yield Truth("ids", "batch_mask", masks, BOTH, "1 exactly on real tokens")
    origin = "suites/oracles/labels.py"
    why = "pad, vision_start, vision_end and image_pad are masked, nothing else"
    trained = recipes
    if mask_prompt:
        trained, why = completions, "and nothing before the end of the assistant header is trained"
    yield Truth("labels", "recipe", trained, origin, why)
    why = "nothing before the end of the assistant header is trained"
    yield Truth("labels", "completion", completions, origin, why)
    image = control["<|image_pad|>"]
    positions = []
    for row, turns in zip(rows, conversations, strict=True):
        sizes = [final_size(picture, kept) for picture in pictures(turns)]
        grids = [(1, height // 28, width // 28) for height, width in sizes]
        positions.append(mrope.spelled(mrope.positions(row, image, grids)))
    origin_mrope, why = "suites/oracles/mrope.py", "M-RoPE positions by their definition"
    yield Truth("inputs", "positions", dict.fromkeys(SIDES, positions), origin_mrope, why)
    yield Truth("inputs", "prefill_positions", {"left": positions}, origin_mrope, why)
    names = {role: encoder.encode(role) for role in ("system", "user", "assistant")}
    counts: dict[str, int] = dict.fromkeys((*names, "control"), 0)
    for row in rows:
        targets = labels.recipe(row, control, pad)
        if mask_prompt:
            targets = labels.completion(row, control, pad, header)
        for role, label in zip(labels.roles(row, control, names), targets, strict=True):
            counts[role] += label != labels.IGNORED
    yield Truth("labels", "supervised", counts, origin, "tokens by role")
    prompt = sum(counts.values()) - counts["assistant"]
    share = {"": round(prompt / sum(counts.values()), 12)}
    why = "trained tokens that are not the description (contradiction 6), of all"
    yield Truth("labels", "prompt_share", share, origin, why, within=1e-6)
    tokens = {"": [row.count(image) for row in rows]}
    yield Truth("images", "tokens_by_row", tokens, BOTH, "one per 28×28 px")


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


def own_truths(folder: Path, own: Own) -> Iterator[Truth]:
    """What rungs 2 to 5 and 7 must show of a user's own samples. folder: the snapshot, whose
    vocab.json, merges.txt, tokenizer_config.json and preprocessor_config.json are read."""
    kept = limits(folder)
    rendered = {
        case: template.render(turns, **switches) for case, (turns, switches) in own.rendered.items()
    }
    yield Truth(
        "text", "rendered", rendered, "suites/oracles/template.py", "the template's behaviour"
    )
    yield from _picture_truths(own, kept)
    if not all((folder / name).is_file() for name in ("vocab.json", "merges.txt")):
        why = "the snapshot has no vocab.json and merges.txt to encode them with"
        yield from (Truth(*metric, {}, BPE, why) for metric in (("ids", "encoded"), *OF_A_BATCH))
        return
    encoder = bpe.Encoder.from_folder(folder)
    encoded = {case: encoder.encode(text) for case, text in own.texts.items()}
    yield Truth("ids", "encoded", encoded, BPE, "byte-level BPE by its definition")
    back = {case: unicodedata.normalize("NFC", text) for case, text in own.texts.items()}
    yield Truth("ids", "round_trip", back, "NFC of the text", "byte-level BPE loses nothing else")
    sizes = {(p.height, p.width) for turns in own.batch for p in pictures(turns)}
    if any(_on_the_edge(size, kept) for size in sizes):
        why = "a float's last bit decides the resized side of one of its pictures"
        yield from (Truth(*metric, {}, BOTH, why) for metric in OF_A_BATCH)
        return
    yield from batch_truths(encoder, own.batch, mask_prompt=own.mask_prompt, kept=kept)


def _on_the_edge(size: tuple[int, int], kept: tuple[int, int]) -> bool:
    return resize.on_the_edge(*size, resize.FETCH_LIMITS) or resize.on_the_edge(
        *fetched_size(*size), kept
    )


def _picture_truths(own: Own, kept: tuple[int, int]) -> Iterator[Truth]:
    """Rung 4: a picture fetched, then processed."""
    sizes = {case: size for case, size in own.pictures.items() if not _on_the_edge(size, kept)}
    fetched = {case: fetched_size(*size) for case, size in sizes.items()}
    final = {f"fetched_{case}": resize.resized(*size, kept) for case, size in fetched.items()}
    origin = "suites/oracles/resize.py"
    why = "qwen_vl_utils' own limits"
    listed = {case: list(size) for case, size in fetched.items()}
    yield Truth("images", "fetched_size", listed, origin, why)
    grids = {case: list(resize.grid(*size)) for case, size in final.items()}
    yield Truth("images", "grid", grids, origin, "the published resize rule")
    tokens = {case: resize.image_tokens(*size) for case, size in final.items()}
    yield Truth("images", "tokens", tokens, origin, "grid over merge²")
