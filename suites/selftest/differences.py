"""Differences that fit the register's entries, for its tests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pytest

from harness.judging.compare.pairs import Pair, Side
from harness.judging.compare.predicates import Predicate
from harness.judging.compare.register import Change, at_work, read_register
from harness.judging.compare.register import explanation as explained_by
from harness.records.record import Status, Verdict
from harness.records.typed import Json

REGISTER = read_register()
BY_NAME = {change.name: change for change in REGISTER}


def pair(metric: str = "forward.loss", old: Json = 1.0, new: Json = 2.0, **changes: object) -> Pair:
    rung, name = metric.split(".", 1)
    gap = None
    if isinstance(old, float) and isinstance(new, float):
        gap = abs(new - old)
    result = Pair(
        metric,
        rung,
        name,
        "",
        Verdict.CHANGED,
        Side(Status.OK, old, "measured"),
        Side(Status.OK, new, "measured"),
        gap=gap,
    )
    return replace(result, **changes)  # type: ignore[arg-type]


def explanation(
    difference: Pair,
    changes: Iterable[Change],
    old: Mapping[str, str],
    new: Mapping[str, str],
    family: str = "",
    among: Sequence[Pair] = (),
) -> tuple[Change, ...]:
    """What explains a difference of a comparison in which these others moved, too."""
    pairs = (difference, *among)
    return explained_by(difference, at_work(changes, pairs, old, new, family))


def causes(known: Change) -> tuple[Pair, ...]:
    """A change's own findings, moved as it says."""
    return tuple(
        of(predicate, predicate.metric, a_case(predicate.case))
        for predicate in known.when
        if predicate.metric in known.cause
    )


def change(*when: Predicate, library: str = "torch") -> Change:
    return Change("x", "t", library, "1.9", "2.0", "r", "cost", "e", "a", "v", when)


def explains(wish: Change, difference: Pair, old: str = "1.9", new: str = "2.0") -> bool:
    return bool(explanation(difference, [wish], {"torch": old}, {"torch": new}))


def of(predicate: Predicate, metric: str, case: str) -> Pair:
    """A difference that fits a committed predicate."""
    side_ok = Side(Status.OK, 1.0, "measured")
    least = predicate.least or 0.0
    most = predicate.most if predicate.most is not None else max(1.0, 2 * least)
    size = (least + most) / 2 or 1e-9
    if predicate.relative:
        # A relative distance is taken of the larger side.
        old, new = (1.0 - size, 1.0) if predicate.sign >= 0 else (1.0, 1.0 - size)
    else:
        old, new = (0.0, size) if predicate.sign >= 0 else (size, 0.0)
    difference = replace(
        pair(metric, old, new),
        case=case,
        verdict=Verdict(predicate.verdict or "CHANGED"),
        standing=predicate.standing,
        gap=abs(new - old),
    )
    if predicate.not_run:
        unrun = {predicate.not_run: Side(Status.NOT_RUN)}
        return replace(difference, verdict=Verdict.NOT_RUN, gap=None, **unrun)  # type: ignore[arg-type]
    if predicate.broken:
        error = a_case(predicate.error)
        failed = Side(Status.BROKEN, error=f"TypeError: {error} (x.py:1)")
        old, new = real_values(predicate)
        whole = {"old": replace(side_ok, value=old), "new": replace(side_ok, value=new)}
        sides = {**(whole if predicate.old or predicate.new else {"old": side_ok, "new": side_ok})}
        sides[predicate.broken] = failed
        return replace(difference, verdict=Verdict.BROKEN, broken=predicate.broken, **sides)
    if predicate.old or predicate.new:
        sides = real_values(predicate)
        return replace(
            difference,
            old=replace(side_ok, value=sides[0]),
            new=replace(side_ok, value=sides[1]),
            gap=None,
        )
    if predicate.line:
        text = re.sub(r"\\(.)", r"\1", predicate.line.split("|")[0]).replace("[a-z_]+", "field")
        text = text.strip("^$(").replace(".not", "x not").replace(".right", "xright")
        lines: dict[str, list[Json]] = {"added": [], "removed": []}
        lines[predicate.side or "added"] = [text]
        return replace(
            difference,
            old=replace(side_ok, value=lines["removed"]),
            new=replace(side_ok, value=lines["added"]),
            gap=None,
        )
    return difference


# What was measured, where a pattern alone does not say it.
MEASURED: dict[str, tuple[Json, Json]] = {
    "update.rows_of_steps": ([4, 3], [4, 1, 4, 1]),
    "inputs.positions": (
        ["0 1 2 3 | 0 1 2 3 | 0 1 2 3", "0 1 2 | 0 1 2 | 0 1 2"],
        ["0 1 1 2 | 0 1 1 2 | 0 1 2 3", "0 1 2 | 0 1 2 | 0 1 2"],
    ),
    # A picture of two tokens behind two of text, its time by arithmetic: 2, and twice that.
    "inputs.prefill_positions": (
        ["0 1 2 2 4 | 0 1 2 2 4 | 0 1 2 3 4"],
        ["0 1 4 4 4 | 0 1 2 2 4 | 0 1 2 3 4"],
    ),
    "model.bytes_by_component": tuple(
        {
            **{"vision": 136704, "patch_embed": 75392, "merger": 42240, "embed_tokens": 131072},
            **{"language": 147968, "norms": 640, **head},
        }
        for head in ({"lm_head": 131072}, {})
    ),  # type: ignore[dict-item]
    "trajectory.merged_names": (
        [],
        ["image_newline", "language_model.model.embed_tokens.weight", "model.image_newline"],
    ),
    "images.contradiction": ([168, 252], "refused: AssertionError"),
    "trajectory.trained_dtypes": (["float32"], ["bfloat16"]),
    "trajectory.optimizer_dtypes": (["float32"], ["bfloat16", "float32"]),
    "text.rendered": ("user\nPicture 1: <|image_pad|>\n", "user\n<|image_pad|>\n"),
    "text.rendered.image_url_key": (
        "<|im_start|>User: ?<end_of_utterance>\n",
        "<|im_start|>User:<image>?<end_of_utterance>\n",
    ),
    "ids.encoded.before_digits": (
        [64, 946, 16, 947, 17, 13],
        [64, 220, 220, 16, 198, 198, 17, 13],
    ),
    "images.grid.1x1|fetched_1x1": ([2, 4, 64], [4, 4, 64]),
    "images.grid.flat|fetched_flat": ([1, 1, 56, 2000, 3], [1, 1, 56, 3, 2000]),
    "images.limited_grid": ([1, 34, 46], [1, 12, 18]),
    "images.limited_grid.fewest_when_loaded": ([1, 34, 46], [1, 44, 58]),
    "images.limited_tokens": (391, 54),
    "images.grid_beside": ([1, 12, 18], [1, 34, 46]),
    "generation.effective_sampling": tuple(
        {"do_sample": True, "temperature": 0.8, "top_p": 1.0, "top_k": k, "repetition_penalty": r}
        for k, r in ((50, 1.0), (None, None))
    ),  # type: ignore[dict-item]
}


def real_values(predicate: Predicate) -> tuple[Json, Json]:
    """Two values that a predicate's patterns of whole values match."""
    named = MEASURED.get(f"{predicate.metric}.{predicate.case}", MEASURED.get(predicate.metric))
    if named is not None:
        # What is there again was missing before.
        pattern, place = (predicate.old, 0) if predicate.old else (predicate.new, 1)
        fits = [bool(re.fullmatch(pattern, spelled(value))) for value in named]
        return (named[1], named[0]) if fits[1 - place] and not fits[place] else named
    plain: dict[str, tuple[Json, Json]] = {
        "true": (True, True),
        "false": (False, False),
        "[0-9a-f]{16}": ("0033eea5896bce67", "d958f96e779081fd"),
    }
    old, new = predicate.old, predicate.new
    return plain.get(old, (old, old))[0], plain.get(new, (new, new))[1]


def spelled(value: Json) -> str:
    """As a predicate's patterns read it."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


CASES = [
    pytest.param(change, predicate, id=f"{change.name}-{i}")
    for change in REGISTER
    for i, predicate in enumerate(change.when)
]


def a_case(pattern: str) -> str:
    """A text that a pattern of the register matches in full: of alternatives the first."""
    plain = re.sub(r"(?<!\\)\(([^|)]*)[^)]*\)", r"\1", pattern).split("|")[0]
    return plain.replace("\\.", "\0").replace(".*", "x").replace("\0", ".")
