"""Rung 2: the chat template's rendering, byte for byte."""

from __future__ import annotations

from harness.context import Context
from harness.models import family
from harness.record import Record
from harness.recorder import Recorder
from harness.samples import text_cases


def run(context: Context) -> Record:
    """Render every message shape with the processor's own template."""
    recorder = Recorder("text")
    processor = family(context.family).load_processor(context.snapshot)
    cases = text_cases()
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
    return recorder.finish(context.provenance(sorted(cases)), context.out)
