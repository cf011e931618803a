"""What the family's oracle says of the samples and of the model at hand, beside the records.

The oracles share no code with the harness nor with what it measures. They are loaded from where
they lie, a clone's suites or the installed package, under a name that nobody else has.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from harness.data.samples import (
    SAMPLES,
    conversations,
    gradient,
    id_texts,
    own_cases,
    own_conversations,
    own_texts,
    pictures_in,
    plain_conversations,
    text_cases,
)
from harness.measuring.models import family, of_recipe, plain_sizes
from harness.recipe.published import ALL_LINEAR, Lora
from harness.records.beside import OwnTruth, OwnTruths, own_truths_path, write_own_truths
from harness.records.context import Context
from harness.records.files import read_json
from harness.records.folders import ORACLES
from harness.records.recipes import recipe_digest

PACKAGE = "harness_oracles"
# What a family's oracle decides of samples; without one it is measured and not judged.
DECIDED = (
    ("text", "rendered"),
    ("ids", "encoded"),
    ("ids", "batch_ids"),
    ("ids", "batch_mask"),
    ("images", "tokens_by_row"),
    ("labels", "recipe"),
    ("labels", "completion"),
    ("labels", "supervised"),
    ("labels", "prompt_share"),
    ("inputs", "positions"),
    ("inputs", "prefill_positions"),
)


def oracle(family: str) -> ModuleType | None:
    """The family's oracle, None where there is none."""
    return part(family) if (ORACLES / f"{family}.py").is_file() else None


def part(name: str) -> ModuleType:
    """A module of the oracles."""
    if PACKAGE not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            PACKAGE, ORACLES / "__init__.py", submodule_search_locations=[str(ORACLES)]
        )
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[PACKAGE] = package
        spec.loader.exec_module(package)
    return importlib.import_module(f"{PACKAGE}.{name}")


def leave_own_truths(context: Context) -> None:
    """Write the truths of what the rungs look at, once; nothing where all of them are committed."""
    if own_truths_path(context.out).is_file():
        return
    truths = (*_of_samples(context), *_of_config(context), *_of_costs(context))
    if truths:
        digest = recipe_digest(context.recipe)
        own = OwnTruths(context.data_digest, context.family, digest, truths)
        write_own_truths(own, context.out)


def _of_samples(context: Context) -> tuple[OwnTruth, ...]:
    """Rungs 2 to 5 and 7. Committed are those of the catalogue under two vocabularies of the
    recipe's own family."""
    own = context.family == of_recipe()[0]
    committed = own and (context.is_stand_in or context.vocabulary == "real")
    if committed and not context.data_digest:
        return ()
    judge = oracle(context.family)
    if judge is None:
        why = f"the family {context.family} has no oracle for samples"
        return tuple(OwnTruth(*metric, {}, "none", why) for metric in DECIDED)
    named = _own(context) if context.data_digest else _catalogue(context)
    ladder = part("ladder")
    plain = plain_conversations(plain_sizes(context.family, context.snapshot), context.recipe)
    own = ladder.Own(
        plain=plain,
        batch=conversations(context, context.recipe, SAMPLES),
        mask_prompt=context.recipe.repairs.mask_prompt,
        adapter=_adapter(context.recipe.lora),
        **named,
    )
    asked = judge.oracle(context.snapshot)
    worked_out = part("worked_out")
    return _stated((*worked_out.truths(asked, own), *worked_out.constant_truths(asked)))


def _adapter(lora: Lora) -> Any:
    """A recipe's LoRA as an oracle is asked about it; None where its targets name no Linears."""
    if lora.target_modules == ALL_LINEAR:
        return None
    return part("adapter").Adapter(lora.target_modules, lora.r, lora.lora_alpha / lora.r)


def _own(context: Context) -> dict[str, Any]:
    """The user's own samples, as an oracle is asked about them."""
    sizes: dict[str, tuple[int, int]] = {}
    for name, messages in own_conversations(context, context.recipe, SAMPLES).items():
        shown = pictures_in(messages)
        for number, picture in enumerate(shown):
            case = name if len(shown) == 1 else f"{name}_{number}"
            sizes[case] = (picture.height, picture.width)
    cases = own_cases(context, context.recipe)
    return {
        "rendered": {name: (case.messages, case.options) for name, case in cases.items()},
        "texts": own_texts(context, context.recipe),
        "pictures": sizes,
    }


def _catalogue(context: Context) -> dict[str, Any]:
    """The message shapes, texts and pictures that every family is tried with, and its own."""
    loader = family(context.family)
    cases = text_cases(loader.CHAT.numbering, context.recipe)
    return {
        "rendered": {name: (case.messages, case.options) for name, case in cases.items()},
        "texts": {**id_texts(context.recipe), **loader.SAMPLES.texts},
        "direct": {name: gradient(*size) for name, size in loader.SAMPLES.sizes.items()},
        "rules": loader.SAMPLES.rule_sizes,
    }


def _of_config(context: Context) -> tuple[OwnTruth, ...]:
    """Rung 6: what the config counts to, of the model at hand and, for a family whose truths are
    not committed, of its published sizes. The recipe's stand-in's are committed."""
    judge = oracle(context.family)
    own = context.family == of_recipe()[0]
    if (own and context.is_stand_in) or judge is None:
        return ()
    origin = f"suites/oracles/{context.family}.py"
    config = read_json(context.snapshot / "config.json")
    models = {"model": judge.architecture(config)}
    if not own:
        models |= {size: judge.architecture(config) for size, config in judge.SIZES.items()}
    counts = part("architecture")
    # What a library takes for said where the config is silent.
    misread = {
        fault: judge.architecture({**config, **taken})
        for fault, taken in getattr(judge, "MISREAD", {}).items()
        if not set(taken) & set(config)
    }
    loaded = counts.loaded_truths(models["model"], origin, misread) if context.has_weights else ()
    numbers = part("held").truth(judge.settings(config), origin) if context.has_weights else ()
    counted = counts.truths(models, origin, misread={"model": misread})
    return _stated((*counted, *counts.reached_truths(models["model"], origin), *loaded, *numbers))


def _of_costs(context: Context) -> tuple[OwnTruth, ...]:
    """Rungs 11 and 13: what a step over the first rows takes. Those of the recipe's stand-in over
    the catalogue are committed."""
    judge = oracle(context.family)
    committed = context.family == of_recipe()[0] and context.is_stand_in
    if judge is None or not context.has_weights or (committed and not context.data_digest):
        return ()
    recipe, costs = context.recipe, part("costs")
    config = read_json(context.snapshot / "config.json")
    rows = conversations(context, recipe, recipe.training.per_device_train_batch_size)
    stated = costs.truths(
        judge,
        judge.oracle(context.snapshot),
        config,
        rows,
        mask_prompt=recipe.repairs.mask_prompt,
        widened=not context.device.startswith("cuda"),
    )
    adapter = costs.adapter_truth(judge.architecture(config), f"suites/oracles/{context.family}.py")
    return _stated((*stated, *(() if committed else (adapter,))))


def _stated(truths: Any) -> tuple[OwnTruth, ...]:
    return tuple(
        OwnTruth(t.rung, t.metric, t.cases, t.origin, t.reason, t.within, t.otherwise, t.required)
        for t in truths
    )
