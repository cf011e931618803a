"""What the family's oracle says of a user's own samples, written beside the records.

The oracles share no code with the harness nor with what it measures. They are loaded from where
they lie, a clone's suites or the installed package, under a name that nobody else has.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from harness.data.samples import (
    SAMPLES,
    conversations,
    own_cases,
    own_conversations,
    own_texts,
    pictures_in,
)
from harness.records.beside import OwnTruth, OwnTruths, own_truths_path, write_own_truths
from harness.records.context import Context
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
    if not (ORACLES / f"{family}.py").is_file():
        return None
    if PACKAGE not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            PACKAGE, ORACLES / "__init__.py", submodule_search_locations=[str(ORACLES)]
        )
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules[PACKAGE] = package
        spec.loader.exec_module(package)
    return importlib.import_module(f"{PACKAGE}.{family}")


def leave_own_truths(context: Context) -> None:
    """Write the truths of the samples that the rungs look at, once; nothing for the catalogue,
    whose truths are committed."""
    if not context.data_digest or own_truths_path(context.out).is_file():
        return
    write_own_truths(
        OwnTruths(
            context.data_digest, context.family, recipe_digest(context.recipe), _truths(context)
        ),
        context.out,
    )


def _truths(context: Context) -> tuple[OwnTruth, ...]:
    judge = oracle(context.family)
    if judge is None:
        why = f"the family {context.family} has no oracle for samples"
        return tuple(OwnTruth(*metric, {}, "none", why) for metric in DECIDED)
    listed = own_conversations(context, context.recipe, SAMPLES)
    sizes: dict[str, tuple[int, int]] = {}
    for name, messages in listed.items():
        shown = pictures_in(messages)
        for number, picture in enumerate(shown):
            case = name if len(shown) == 1 else f"{name}_{number}"
            sizes[case] = (picture.height, picture.width)
    own = judge.Own(
        rendered={
            name: (case.messages, case.options)
            for name, case in own_cases(context, context.recipe).items()
        },
        texts=own_texts(context, context.recipe),
        batch=conversations(context, context.recipe, SAMPLES),
        pictures=sizes,
        mask_prompt=context.recipe.repairs.mask_prompt,
    )
    return tuple(
        OwnTruth(each.rung, each.metric, each.cases, each.origin, each.reason, each.within)
        for each in judge.own_truths(context.snapshot, own)
    )
