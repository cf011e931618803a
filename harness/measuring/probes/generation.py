"""Rung 12: base and tuned descriptions of held-out products, scored, with controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.data.catalogue import products
from harness.data.dataset import rows_of
from harness.errors import Lack
from harness.measuring.instruments.exchange import current, dropout_masks, put_adapter
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import Chat, of
from harness.measuring.probes._drawn import KEPT, decoded, drawn_gap, greedy_gap, kept_gap
from harness.measuring.probes._ending import ended
from harness.measuring.probes._generate import (
    Decoding,
    Generated,
    blank,
    effective_sampling,
    generate,
    generate_batch,
    leaves_at_a_tie,
    shuffled,
    template_texts,
)
from harness.measuring.probes._scored import (
    IMAGE_FIRST,
    MODELS,
    ORDER_SUBSET,
    SAME_ORDER,
    SAMPLING_SEEDS,
    Texts,
    add_grounding,
    add_order,
    add_scores,
)
from harness.measuring.probes._tempered import temperature_gap
from harness.measuring.probes.trajectory import training_folder
from harness.measuring.snapshots import loading, tiny
from harness.measuring.training import adapter as lora
from harness.measuring.training.run import train
from harness.measuring.training.spec import spec_for
from harness.recipe.published import Recipe
from harness.records.beside import Generations, ProductTexts, write_generations
from harness.records.context import Context
from harness.records.files import json_digest, read_json, text_digest, write_atomically
from harness.records.record import Record

# Descriptions have 41 to 54 tokens in the stand-in's vocabulary.
STAND_IN_TOKENS = 72
# Products per batch: the small model's steps cost the same for many; a real one fills memory.
STAND_IN_BATCH, BATCH = 56, 8
HELD_OUT = 112
# Random weights describe nothing: a few words of a few products show whether rows, controls and
# sampling are as they should be.
RANDOM_PRODUCTS, RANDOM_TOKENS = 8, 16
SINGLES = 4
METRICS = ("batch_gap", "prompt_leak", "sampling_is_greedy")


def run(context: Context) -> Record:
    """Generate with base and tuned model, then score."""
    recorder = Recorder("generation")
    missing = "" if context.has_weights else f"{context.model} has no weights to generate with"
    if context.model == "random-7b":
        missing = "random-7b has random weights, whose texts mean nothing"
    if missing:
        for name in METRICS[:2]:
            recorder.not_run(name, missing, Lack.WEIGHTS)
        _configured_sampling(recorder, context)
        return recorder.finish(context.provenance(), context.out)
    if "trajectory" not in context.given:
        train(spec_for(context), training_folder(context))
    texts, facts = _generate_all(context)
    for name, value in facts.items():
        metric, _, case = name.partition(".")
        unit = {bool: "bool", str: "text"}.get(type(value), "1")
        recorder.add(metric, value, case=case or None, unit=unit)
    add_scores(recorder, texts, context)
    add_grounding(recorder, texts)
    add_order(recorder, texts)
    _save(texts, context)
    identity = {"rows": [r["id"] for r in texts.rows], "masks": dropout_masks()}
    return recorder.finish(context.provenance(identity), context.out)


def _configured_sampling(recorder: Recorder, context: Context) -> None:
    """What the snapshot's generation_config makes of the recipe's sampling, without weights."""
    from types import SimpleNamespace

    path = context.snapshot / "generation_config.json"
    config = read_json(path) if path.is_file() else {}
    model = SimpleNamespace(generation_config=SimpleNamespace(**config))
    sampling = effective_sampling(model, context.recipe)
    recorder.add("effective_sampling", sampling)
    recorder.add("sampling_is_greedy", sampling["top_k"] == 1, unit="bool", note=GREEDY_NOTE)


GREEDY_NOTE = (
    "the recipe names no top_k, so the snapshot's own applies; with top_k=1 its do_sample=True at "
    "temperature 0.8 always takes the likeliest token"
)


def _jobs(recipe: Recipe, rows: Sequence[Mapping[str, Any]], tokens: int) -> dict[str, Any]:
    """job -> (rows, recipe, decoding), the same for both models.

    The last one, of some rows, has the other order of image and text than the recipe.
    """
    greedy = Decoding(False, tokens)
    mended = recipe.repairs.same_order
    other = replace(recipe, repairs=replace(recipe.repairs, same_order=not mended))
    jobs: dict[str, Any] = {"greedy": (rows, recipe, greedy)}
    for seed in SAMPLING_SEEDS:
        jobs[f"sampled{seed}"] = (rows, recipe, Decoding(True, tokens, seed))
    jobs["shuffled"] = (shuffled(rows), recipe, greedy)
    jobs["blank"] = (blank(rows), recipe, greedy)
    jobs[IMAGE_FIRST if mended else SAME_ORDER] = (rows[:ORDER_SUBSET], other, greedy)
    return jobs


def _scale(context: Context) -> tuple[int, int]:
    """How many products are described, in how many tokens at most."""
    if context.model.startswith(tiny.PREFIX):
        return RANDOM_PRODUCTS, RANDOM_TOKENS
    if context.is_stand_in or context.device == "cpu":
        return HELD_OUT, STAND_IN_TOKENS
    return HELD_OUT, context.recipe.generation.max_new_tokens


def _generate_all(context: Context) -> tuple[Texts, dict[str, Any]]:
    """Every job with the base, then with the adapter on it; finished batches are reused."""
    from peft import PeftModel

    many, most = _scale(context)
    rows = rows_of(context, "heldout", limit=context.scale.heldout or many)
    # The tutorial generates with unquantised float16 models; a CPU has no use for float16.
    dtype = "float16" if context.device.startswith("cuda") else "float32"
    model = loading.load_model(context.snapshot, device=context.device, dtype=dtype)
    processor = loading.load_processor(context.snapshot)
    tokens = context.scale.max_new_tokens or most
    parts = context.work("generation") / "parts"
    exchange = current()
    taken = exchange.adapter() if exchange else None
    adapter = taken or training_folder(context) / "adapter"
    written: dict[str, Sequence[Generated]] = {}
    facts: dict[str, Any] = {"effective_sampling": effective_sampling(model, context.recipe)}
    for name in MODELS:
        digest = ""
        if name == "tuned":
            if taken is not None:
                model = put_adapter(lora.add_lora(model, context.recipe), taken).eval()
            else:
                model = PeftModel.from_pretrained(model, str(adapter)).eval()
            digest = text_digest((adapter / "adapter_model.safetensors").read_bytes())
        key = json_digest([context.stack, context.model_digest, dtype, digest])
        for job, (chosen, recipe, decoding) in _jobs(context.recipe, rows, tokens).items():
            label = f"{name}.{job}"
            written[label] = generate(
                model,
                processor,
                chosen,
                recipe,
                decoding,
                parts,
                label,
                key,
                batch=STAND_IN_BATCH if context.is_stand_in else BATCH,
            )
    greedy = Decoding(False, tokens)
    alone = [
        generate_batch(model, processor, [row], context.recipe, greedy)[0] for row in rows[:SINGLES]
    ]
    both = zip(rows[:SINGLES], alone, written["tuned.greedy"][:SINGLES], strict=True)
    facts["sampling_stream"] = sampling_stream(context.seed)
    facts["batch_gap"] = sum(
        one.ids != batched.ids
        and not leaves_at_a_tie(model, processor, row, context.recipe, greedy, batched)
        for row, one, batched in both
    )
    facts["ended_after"] = ended(model, processor, rows, context.recipe)
    facts["temperature_gap"] = temperature_gap(model, processor, rows, context.recipe)
    facts["greedy_gap"] = greedy_gap(model, processor, rows, context.recipe)
    facts["drawn_gap"] = drawn_gap(model, processor, rows, context.recipe, context.seed)
    for way in KEPT:
        facts[".".join(("kept_gap", way))] = kept_gap(model, processor, rows, context.recipe, way)
    facts["decoded"] = decoded(processor, of(model).CHAT.turn_end)
    facts["prompt_leak"] = sum(
        leaks(generated, processor.tokenizer, of(model).CHAT)
        for texts in written.values()
        for generated in texts
    )
    # One token to draw from is the likeliest, though of equal ones (in 16 bits not rare) it may be
    # another than greedy decoding takes.
    facts["sampling_is_greedy"] = facts["effective_sampling"]["top_k"] == 1 or all(
        [g.ids for g in written[f"base.sampled{seed}"]] == [g.ids for g in written["base.greedy"]]
        for seed in SAMPLING_SEEDS
    )
    attributes = None
    if context.data == "catalogue":
        attributes = [p.attributes for p in products("heldout")[: len(rows)]]
    template = template_texts(rows, rows_of(context, "train"))
    return Texts(rows, attributes, written, template), facts


def sampling_stream(seed: int) -> str:
    """Digest of draws from one fixed distribution: the same seed may mean other tokens."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    weights = torch.arange(1, 961, dtype=torch.float32).repeat(56, 1)
    drawn = torch.multinomial(weights, 1, generator=generator)
    return text_digest(drawn.numpy().tobytes())


def leaks(generated: Generated, tokenizer: Any, chat: Chat) -> bool:
    """Whether a text holds the end of its prompt, what begins the answer's turn, or a control token
    of its own ids that was to be skipped. By ids: a model may write words of its prompt itself, so
    that where a word begins a turn a picture's token stands for the prompt."""
    begins = chat.header("assistant") if chat.turn_start else chat.image
    opening = tuple(tokenizer.encode(begins, add_special_tokens=False))
    ids, length = generated.ids, len(opening)
    if any(ids[at : at + length] == opening for at in range(len(ids) - length + 1)):
        return True
    shown = [token for token in chat.controls if token in generated.text]
    return any(tokenizer.convert_tokens_to_ids(token) in ids for token in shown)


def _save(texts: Texts, context: Context) -> Path:
    """`generations.json` and the pictures, for the report."""
    import io

    folder = context.work("generation")
    products = []
    for i, row in enumerate(texts.rows):
        buffer = io.BytesIO()
        row["image"].save(buffer, "PNG")
        picture = folder / "images" / f"{row['id']}.png"
        write_atomically(picture, buffer.getvalue())
        written = {
            name: {
                label.split(".")[1]: generated[i].text
                for label, generated in texts.written.items()
                if label.startswith(f"{name}.") and i < len(generated)
            }
            for name in MODELS
        }
        products.append(
            ProductTexts(
                id=row["id"],
                name=row["Product Name"],
                category=row["Category"],
                reference=row["description"],
                attributes=None if texts.attributes is None else dict(texts.attributes[i]),
                image=f"images/{picture.name}",
                template=texts.template[i],
                base=written["base"],
                tuned=written["tuned"],
            )
        )
    return write_generations(Generations(tuple(products)), context.out)
