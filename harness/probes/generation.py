"""Rung 12: base and tuned descriptions of held-out products, scored, with controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.catalogue import products
from harness.context import Context
from harness.dataset import load_rows
from harness.exchange import current, dropout_masks, put_adapter
from harness.generate import (
    Decoding,
    Generated,
    blank,
    effective_sampling,
    generate,
    generate_batch,
    shuffled,
    template_texts,
)
from harness.models import family
from harness.probes.trajectory import training_folder
from harness.recipe import Recipe
from harness.record import (
    Direction,
    Record,
    json_digest,
    read_json,
    text_digest,
    write_atomically,
    write_json,
)
from harness.recorder import Recorder
from harness.scores import bootstrap, chrf, distinct, grounding, layout, length, mean, rouge_l
from harness.train import train
from harness.train_spec import spec_for

# Descriptions have 41 to 54 tokens in the stand-in's vocabulary.
STAND_IN_TOKENS = 72
# Products per batch: the small model's steps cost the same for many; a real one fills memory.
STAND_IN_BATCH, BATCH = 56, 8
HELD_OUT = 112
ORDER_SUBSET = 56
SINGLES = 4
SAMPLING_SEEDS = (42, 43)
MODELS = ("base", "tuned")
METRICS = ("batch_gap", "prompt_leak", "sampling_is_greedy")


@dataclass(frozen=True)
class Texts:
    """All texts by job: `base`, `base.sampled`, `base.shuffled`, `base.blank`, …"""

    rows: Sequence[Mapping[str, Any]]
    attributes: Sequence[Mapping[str, str]] | None
    made: Mapping[str, Sequence[Generated]]
    template: Sequence[str]

    def of(self, job: str) -> list[str]:
        """The texts of one job."""
        return [g.text for g in self.made[job]]


def run(context: Context) -> Record:
    """Generate with base and tuned model, then score."""
    recorder = Recorder("generation")
    missing = "" if context.has_weights else f"{context.model} has no weights to generate with"
    if context.model == "random-7b":
        missing = "random-7b has random weights, whose texts mean nothing"
    if missing:
        for name in METRICS[:2]:
            recorder.not_run(name, missing)
        _configured_sampling(recorder, context)
        return recorder.finish(context.provenance(), context.out)
    if "trajectory" not in context.given:
        train(spec_for(context), training_folder(context))
    texts, facts = _generate_all(context)
    for name, value in facts.items():
        recorder.add(name, value, unit="bool" if isinstance(value, bool) else "1")
    _score(recorder, texts, context)
    _ground(recorder, texts)
    _order(recorder, texts)
    _save(texts, context)
    identity = {"rows": [r["id"] for r in texts.rows], "masks": dropout_masks()}
    return recorder.finish(context.provenance(identity), context.out)


def _configured_sampling(recorder: Recorder, context: Context) -> None:
    """What the snapshot's generation_config makes of the recipe's sampling, without weights."""
    from types import SimpleNamespace

    path = context.snapshot / "generation_config.json"
    config = read_json(path) if path.is_file() else {}
    model = SimpleNamespace(generation_config=SimpleNamespace(**config))
    found = effective_sampling(model, context.recipe)
    recorder.add("effective_sampling", found)
    recorder.add("sampling_is_greedy", found["top_k"] == 1, unit="bool", note=GREEDY_NOTE)


GREEDY_NOTE = (
    "the recipe names no top_k, so the snapshot's own applies; with top_k=1 its do_sample=True at "
    "temperature 0.8 always takes the likeliest token"
)


def _jobs(recipe: Recipe, rows: Sequence[Mapping[str, Any]], tokens: int) -> dict[str, Any]:
    """job -> (rows, recipe, decoding), the same for both models."""
    greedy = Decoding(False, tokens)
    same_order = replace(recipe, repairs=replace(recipe.repairs, same_order=True))
    jobs: dict[str, Any] = {"greedy": (rows, recipe, greedy)}
    for seed in SAMPLING_SEEDS:
        jobs[f"sampled{seed}"] = (rows, recipe, Decoding(True, tokens, seed))
    jobs["shuffled"] = (shuffled(rows), recipe, greedy)
    jobs["blank"] = (blank(rows), recipe, greedy)
    jobs["same_order"] = (rows[:ORDER_SUBSET], same_order, greedy)
    return jobs


def _generate_all(context: Context) -> tuple[Texts, dict[str, Any]]:
    """Every job with the base, then with the adapter on it; finished batches are reused."""
    from peft import PeftModel

    rows = load_rows(context.data, "heldout", limit=context.scale.heldout or HELD_OUT)
    loader = family(context.family)
    # The tutorial generates with unquantised float16 models; a CPU has no use for float16.
    dtype = "float16" if context.device.startswith("cuda") else "float32"
    model = loader.load_model(context.snapshot, device=context.device, dtype=dtype)
    processor = loader.load_processor(context.snapshot)
    wanted = context.recipe.generation.max_new_tokens
    small = context.is_stand_in or context.device == "cpu"
    tokens = context.scale.max_new_tokens or (STAND_IN_TOKENS if small else wanted)
    parts = context.work("generation") / "parts"
    exchange = current()
    taken = exchange.adapter() if exchange else None
    adapter = taken or training_folder(context) / "adapter"
    made: dict[str, Sequence[Generated]] = {}
    facts: dict[str, Any] = {"effective_sampling": effective_sampling(model, context.recipe)}
    for name in MODELS:
        digest = ""
        if name == "tuned":
            if taken is not None:
                model = put_adapter(loader.add_lora(model, context.recipe), taken).eval()
            else:
                model = PeftModel.from_pretrained(model, str(adapter)).eval()
            digest = text_digest((adapter / "adapter_model.safetensors").read_bytes())
        key = json_digest([context.stack, context.model_digest, dtype, digest])
        for job, (chosen, recipe, decoding) in _jobs(context.recipe, rows, tokens).items():
            label = f"{name}.{job}"
            made[label] = generate(
                model, processor, chosen, recipe, decoding, parts, label, key,
                batch=STAND_IN_BATCH if context.is_stand_in else BATCH,
            )  # fmt: skip
    greedy = Decoding(False, tokens)
    alone = [
        generate_batch(model, processor, [row], context.recipe, greedy)[0] for row in rows[:SINGLES]
    ]
    both = zip(alone, made["tuned.greedy"][:SINGLES], strict=True)
    facts["sampling_stream"] = sampling_stream(context.seed)
    facts["batch_gap"] = sum(one.ids != batched.ids for one, batched in both)
    facts["prompt_leak"] = _leaks(made, context.recipe)
    facts["sampling_is_greedy"] = all(
        [g.ids for g in made[f"base.sampled{seed}"]] == [g.ids for g in made["base.greedy"]]
        for seed in SAMPLING_SEEDS
    )
    attributes = None
    if context.data == "catalogue":
        attributes = [p.attributes for p in products("heldout")[: len(rows)]]
    template = template_texts(rows, load_rows(context.data, "train"))
    return Texts(rows, attributes, made, template), facts


def sampling_stream(seed: int) -> str:
    """Digest of draws from one fixed distribution: the same seed may mean other tokens."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    weights = torch.arange(1, 961, dtype=torch.float32).repeat(56, 1)
    drawn = torch.multinomial(weights, 1, generator=generator)
    return text_digest(drawn.numpy().tobytes())


def _leaks(made: Mapping[str, Sequence[Generated]], recipe: Recipe) -> int:
    """Texts that hold the prompt or a control token: trimming or skipping went wrong."""
    marks = (recipe.system_message, "##PRODUCT NAME##", "<|")
    return sum(any(m in g.text for m in marks) for texts in made.values() for g in texts)


def _score(recorder: Recorder, texts: Texts, context: Context) -> None:
    """Each score per model, and tuned minus base with its interval."""
    references = [str(row["description"]) for row in texts.rows]
    cache = str(context.work("generation") / "evaluate")
    for decoding in ("greedy", f"sampled{SAMPLING_SEEDS[0]}"):
        values: dict[str, dict[str, list[float]]] = {}
        for name in MODELS:
            made = texts.of(f"{name}.{decoding}")
            values[name] = {
                "rouge_l": _metric(rouge_l, cache, made, references),
                "chrf": _metric(chrf, cache, made, references),
                "format": list(layout.build(cache).compute(data=made)["per_text"]),
                "length": list(length.build(cache).compute(data=made)["per_text"]),
            }
            for n in (1, 2):
                value = distinct.corpus(made, n)
                recorder.add(f"distinct_{n}", value, case=f"{name}.{decoding}")
            tags = mean([float(len(layout.hashtags(t))) for t in made])
            recorder.add("hashtags", tags, case=f"{name}.{decoding}", unit="per text")
            for score, per_text in values[name].items():
                unit = "words" if score == "length" else "1"
                recorder.add(
                    score, mean(per_text), case=f"{name}.{decoding}", unit=unit,
                    direction=Direction.NONE if score == "length" else Direction.HIGHER,
                    samples=tuple(round(v, 6) for v in per_text),
                )  # fmt: skip
        for score in ("rouge_l", "chrf", "format"):
            found = bootstrap.paired(values["tuned"][score], values["base"][score], context.seed)
            case = f"{score}.{decoding}"
            recorder.add(
                "gain", [found.low, found.mean, found.high], case=case,
                note="tuned minus base: 95 % low, mean, high",
            )  # fmt: skip
            recorder.add("gain_low", found.low, case=case, direction=Direction.HIGHER)
    for score, module in (("rouge_l", rouge_l), ("chrf", chrf)):
        value = mean(_metric(module, cache, list(texts.template), references))
        recorder.add(score, value, case="template", direction=Direction.HIGHER)


def _metric(module: Any, cache: str, made: list[str], references: list[str]) -> list[float]:
    result = module.build(cache).compute(predictions=made, references=references)
    return list(result["per_text"])


def _ground(recorder: Recorder, texts: Texts) -> None:
    """Attributes that only the picture shows, named rightly: models, controls, differences."""
    if texts.attributes is None:
        recorder.not_run("grounding", "only the catalogue knows what its pictures show")
        return
    shares: dict[str, dict[str, float]] = {}
    for name in MODELS:
        for job in ("greedy", "shuffled", "blank"):
            shares[f"{name}.{job}"] = grounding.shares(texts.of(f"{name}.{job}"), texts.attributes)
    shares["template"] = grounding.shares(texts.template, texts.attributes)
    for attribute, chance in grounding.chance().items():
        for label, share in shares.items():
            recorder.add(
                "grounding", share[attribute], case=f"{label}.{attribute}",
                direction=Direction.HIGHER if label.endswith("greedy") else Direction.NONE,
                note=f"chance {chance:.3f}",
            )  # fmt: skip
        base, tuned = shares["base.greedy"][attribute], shares["tuned.greedy"][attribute]
        recorder.add("grounding_kept", tuned - base, case=attribute, direction=Direction.HIGHER)
        over = tuned - shares["template"][attribute]
        recorder.add("grounding_over_template", over, case=attribute, direction=Direction.HIGHER)
        for name in MODELS:
            for control in ("shuffled", "blank"):
                recorder.add(
                    f"grounding_{control}", shares[f"{name}.{control}"][attribute],
                    case=f"{name}.{attribute}", direction=Direction.LOWER,
                )  # fmt: skip
    for name in MODELS:
        right = _per_product(texts.of(f"{name}.greedy"), texts)
        wrong = _per_product(texts.of(f"{name}.shuffled"), texts)
        drop = bootstrap.paired(right, wrong)
        recorder.add(
            "grounding_drop", [drop.low, drop.mean, drop.high], case=name,
            note="own picture minus another's, all attributes: 95 % low, mean, high",
        )  # fmt: skip


def _per_product(made: list[str], texts: Texts) -> list[float]:
    truths = texts.attributes or ()
    found = [grounding.hits(t, truth) for t, truth in zip(made, truths, strict=True)]
    return [mean([float(h) for h in hit.values()]) for hit in found]


def _order(recorder: Recorder, texts: Texts) -> None:
    """Contradiction 1: what generating in training's order (text, then image) changes."""
    references = [str(row["description"]) for row in texts.rows[:ORDER_SUBSET]]
    for name in MODELS:
        there = texts.of(f"{name}.same_order")
        here = texts.of(f"{name}.greedy")[: len(there)]
        found = bootstrap.paired(rouge_l.score(there, references), rouge_l.score(here, references))
        recorder.add(
            "order_effect", [found.low, found.mean, found.high], case=f"{name}.rouge_l",
            note="text-then-image (training's order) minus image-then-text (the recipe's)",
        )  # fmt: skip
        if texts.attributes is not None:
            part = replace(texts, attributes=texts.attributes[: len(there)])
            found = bootstrap.paired(_per_product(there, part), _per_product(here, part))
            recorder.add(
                "order_effect", [found.low, found.mean, found.high], case=f"{name}.grounding"
            )


def _save(texts: Texts, context: Context) -> Path:
    """`generations.json` and the pictures, for the report."""
    import io

    folder = context.work("generation")
    items = []
    for i, row in enumerate(texts.rows):
        buffer = io.BytesIO()
        row["image"].save(buffer, "PNG")
        picture = folder / "images" / f"{row['id']}.png"
        write_atomically(picture, buffer.getvalue())
        items.append(
            {
                "id": row["id"],
                "name": row["Product Name"],
                "category": row["Category"],
                "reference": row["description"],
                "attributes": None if texts.attributes is None else dict(texts.attributes[i]),
                "image": f"images/{picture.name}",
                "template": texts.template[i],
                **{
                    name: {
                        label.split(".")[1]: made[i].text
                        for label, made in texts.made.items()
                        if label.startswith(f"{name}.") and i < len(made)
                    }
                    for name in MODELS
                },
            }
        )
    path = folder / "generations.json"
    write_json(path, {"schema": 1, "products": items})
    return path
