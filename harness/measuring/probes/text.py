"""Rung 2: the chat template's rendering, byte for byte."""

from __future__ import annotations

from harness.data.samples import own_cases, text_cases
from harness.measuring.instruments.recorder import Recorder
from harness.measuring.models import family
from harness.measuring.snapshots import loading
from harness.recipe.published import MISPRINTED, Recipe
from harness.records.context import Context
from harness.records.record import Record


def run(context: Context) -> Record:
    """Render every message shape, and the user's own samples, with the processor's template."""
    recorder = Recorder("text")
    processor = loading.load_processor(context.snapshot)
    cases = text_cases(family(context.family).CHAT.numbering, context.recipe)
    cases |= own_cases(context, context.recipe)
    for name, case in cases.items():
        text, failed = recorder.attempt(
            "rendered",
            lambda case=case: processor.apply_chat_template(  # type: ignore[misc]
                case.messages, tokenize=False, **case.options
            ),
            case=name,
        )
        if failed is None:
            recorder.add("rendered", text, case=name, unit="text")
    _contradictions(
        recorder,
        str(processor.apply_chat_template(cases["printed_sample"].messages, tokenize=False)),
        context.recipe,
    )
    return recorder.finish(context.provenance(sorted(cases)), context.out)


def _contradictions(recorder: Recorder, rendered: str, recipe: Recipe) -> None:
    """Contradictions 4 and 5: how far the print is from the truth, what the misspelt key does."""
    differing = sum(a != b for a, b in zip(rendered.split("\n"), printed(rendered), strict=True))
    recorder.add(
        "printed_sample_differences",
        differing,
        unit="lines",
        note="lines of the true rendering that the post prints otherwise",
    )
    misspelt = {"product_name": "n", "catergory": "c"}
    try:
        recipe.prompt.format(product_name=misspelt["product_name"], category=misspelt["category"])
        raised = False
    except KeyError:
        raised = True
    recorder.add("misspelt_key_raises", raised)


def printed(rendered: str) -> list[str]:
    """The rendering as the post prints it: trailing spaces lost, one header misprinted."""
    lines = [line.rstrip(" ") for line in rendered.split("\n")]
    return [line.replace(*MISPRINTED) for line in lines]
