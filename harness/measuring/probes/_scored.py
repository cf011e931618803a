"""Rung 12's scores: texts against descriptions, pictures and controls, base against tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.data.samples import OWN_PROMPT
from harness.errors import Lack
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.probes._generate import Generated
from harness.measuring.scores import (
    chrf,
    distinct,
    grounding,
    layout,
    length,
    mean,
    rouge_l,
)
from harness.records import bootstrap
from harness.records.context import Context
from harness.records.record import Direction

ORDER_SUBSET = 56
SAMPLING_SEEDS = (42, 43)
MODELS = ("base", "tuned")
ONE_ROW = "one held-out row has no interval; hold out at least two"
# Jobs that generate in the other order than the recipe: it has one of the two.
SAME_ORDER, IMAGE_FIRST = "same_order", "image_first"


@dataclass(frozen=True)
class Texts:
    """All texts by job: `base`, `base.sampled`, `base.shuffled`, `base.blank`, …"""

    rows: Sequence[Mapping[str, Any]]
    attributes: Sequence[Mapping[str, str]] | None
    written: Mapping[str, Sequence[Generated]]
    template: Sequence[str]

    def of(self, job: str) -> list[str]:
        """The texts of one job."""
        return [g.text for g in self.written[job]]


def add_scores(recorder: Recorder, texts: Texts, context: Context) -> None:
    """Each score per model, and tuned minus base with its interval."""
    references = [str(row["description"]) for row in texts.rows]
    cache = str(context.work("generation") / "evaluate")
    for decoding in ("greedy", f"sampled{SAMPLING_SEEDS[0]}"):
        values: dict[str, dict[str, list[float]]] = {}
        for name in MODELS:
            own = texts.of(f"{name}.{decoding}")
            values[name] = {
                "rouge_l": _metric(rouge_l, cache, own, references),
                "chrf": _metric(chrf, cache, own, references),
                "format": list(layout.build(cache).compute(data=own)["per_text"]),
                "length": list(length.build(cache).compute(data=own)["per_text"]),
            }
            for n in (1, 2):
                value = distinct.corpus(own, n)
                recorder.add(f"distinct_{n}", value, case=f"{name}.{decoding}")
            tags = mean([float(len(layout.hashtags(t))) for t in own])
            recorder.add("hashtags", tags, case=f"{name}.{decoding}", unit="per text")
            for score, per_text in values[name].items():
                unit = "words" if score == "length" else "1"
                recorder.add(
                    score,
                    mean(per_text),
                    case=f"{name}.{decoding}",
                    unit=unit,
                    direction=Direction.NONE if score == "length" else Direction.HIGHER,
                    samples=tuple(round(v, 6) for v in per_text),
                )
        for score in ("rouge_l", "chrf", "format"):
            if len(references) < bootstrap.LEAST:
                for name in ("gain", "gain_low"):
                    recorder.not_run(name, ONE_ROW, Lack.SCALE, case=f"{score}.{decoding}")
                continue
            gain = bootstrap.paired(values["tuned"][score], values["base"][score], context.seed)
            case = f"{score}.{decoding}"
            recorder.add(
                "gain",
                [gain.low, gain.mean, gain.high],
                case=case,
                note="tuned minus base: 95 % low, mean, high",
            )
            recorder.add("gain_low", gain.low, case=case, direction=Direction.HIGHER)
    for score, module in (("rouge_l", rouge_l), ("chrf", chrf)):
        value = mean(_metric(module, cache, list(texts.template), references))
        recorder.add(score, value, case="template", direction=Direction.HIGHER)


def _metric(module: Any, cache: str, predictions: list[str], references: list[str]) -> list[float]:
    result = module.build(cache).compute(predictions=predictions, references=references)
    return list(result["per_text"])


def add_grounding(recorder: Recorder, texts: Texts) -> None:
    """Attributes that only the picture shows, named rightly: models, controls, differences."""
    if texts.attributes is None:
        recorder.not_run("grounding", "only the catalogue knows what its pictures show", Lack.DATA)
        return
    shares: dict[str, dict[str, float]] = {}
    for name in MODELS:
        for job in ("greedy", "shuffled", "blank"):
            shares[f"{name}.{job}"] = grounding.shares(texts.of(f"{name}.{job}"), texts.attributes)
    shares["template"] = grounding.shares(texts.template, texts.attributes)
    for attribute, chance in grounding.chance().items():
        for label, share in shares.items():
            recorder.add(
                "grounding",
                share[attribute],
                case=f"{label}.{attribute}",
                direction=Direction.HIGHER if label.endswith("greedy") else Direction.NONE,
                note=f"chance {chance:.3f}",
            )
        base, tuned = shares["base.greedy"][attribute], shares["tuned.greedy"][attribute]
        recorder.add("grounding_kept", tuned - base, case=attribute, direction=Direction.HIGHER)
        over = tuned - shares["template"][attribute]
        recorder.add("grounding_over_template", over, case=attribute, direction=Direction.HIGHER)
        for name in MODELS:
            for control in ("shuffled", "blank"):
                recorder.add(
                    f"grounding_{control}",
                    shares[f"{name}.{control}"][attribute],
                    case=f"{name}.{attribute}",
                    direction=Direction.LOWER,
                )
    for name in MODELS:
        right = _per_product(texts.of(f"{name}.greedy"), texts)
        wrong = _per_product(texts.of(f"{name}.shuffled"), texts)
        drop = bootstrap.paired(right, wrong)
        recorder.add(
            "grounding_drop",
            [drop.low, drop.mean, drop.high],
            case=name,
            note="own picture minus another's, all attributes: 95 % low, mean, high",
        )


def _per_product(own: list[str], texts: Texts) -> list[float]:
    truths = texts.attributes or ()
    right = [grounding.hits(t, truth) for t, truth in zip(own, truths, strict=True)]
    return [mean([float(h) for h in hit.values()]) for hit in right]


def _orders(texts: Texts, model: str) -> tuple[list[str], list[str]]:
    """Texts made in training's order and in the published one, of the same products."""
    usual = texts.of(f"{model}.greedy")[:ORDER_SUBSET]
    if f"{model}.{IMAGE_FIRST}" in texts.written:
        return usual, texts.of(f"{model}.{IMAGE_FIRST}")
    return texts.of(f"{model}.{SAME_ORDER}"), usual


def add_order(recorder: Recorder, texts: Texts) -> None:
    """Contradiction 1: what generating in training's order (text, then image) changes."""
    references = [str(row["description"]) for row in texts.rows[:ORDER_SUBSET]]
    for name in MODELS:
        if any("messages" in row for row in texts.rows):
            recorder.not_run("order_effect", OWN_PROMPT, Lack.DATA, case=f"{name}.rouge_l")
            continue
        if len(references) < bootstrap.LEAST:
            recorder.not_run("order_effect", ONE_ROW, Lack.SCALE, case=f"{name}.rouge_l")
            continue
        there, here = _orders(texts, name)
        effect = bootstrap.paired(rouge_l.score(there, references), rouge_l.score(here, references))
        recorder.add(
            "order_effect",
            [effect.low, effect.mean, effect.high],
            case=f"{name}.rouge_l",
            note="text-then-image (training's order) minus image-then-text (the recipe's)",
        )
        if texts.attributes is not None:
            part = replace(texts, attributes=texts.attributes[: len(there)])
            effect = bootstrap.paired(_per_product(there, part), _per_product(here, part))
            recorder.add(
                "order_effect", [effect.low, effect.mean, effect.high], case=f"{name}.grounding"
            )
