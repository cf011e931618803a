"""What counts as the same answer: the comparison's bands, an error's type and its words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.judging.bisect.question import Kind, Question, State, answer, state_of
from harness.judging.bisect.search import Answer
from harness.judging.goldens.golden import Band, BandKind
from harness.records.failure import Failure, Mismatch
from harness.records.record import Metric, Provenance, Record, Status
from harness.records.typed import Json

RELATIVE = Band(BandKind.RELATIVE, 0.1)
ABSOLUTE = Band(BandKind.ABSOLUTE, 0.25)


@pytest.mark.parametrize(
    ("band", "good", "here", "same"),
    [
        (None, 1.0, 1.0000001, False),
        (Band(), 1.0, 1.0000001, False),
        # Of the larger of the two, as a comparison takes it: 0.1 × 1.11 > 0.11.
        (RELATIVE, 1.0, 1.11, True),
        (RELATIVE, 1.11, 1.0, True),
        (RELATIVE, 1.0, 1.12, False),
        (ABSOLUTE, [1.0, 2.0], [1.25, 1.75], True),
        (ABSOLUTE, [1.0, 2.0], [1.25, 2.5], False),
        (ABSOLUTE, [1.0, 2.0], [1.0], False),
        # A bound says nothing of two sides.
        (Band(BandKind.AT_MOST, 1.0), 1.0, 1.5, False),
        (ABSOLUTE, "text", "text", True),
        (ABSOLUTE, "text", "texts", False),
    ],
)
def test_a_value_is_the_good_one_by_the_rule_of_a_comparison(
    band: Band | None, good: Json, here: Json, same: bool
) -> None:
    question = Question("forward.loss", band)
    verdict = answer(
        question, State(Kind.VALUE, here), State(Kind.VALUE, good), State(Kind.VALUE, "other")
    )
    assert verdict.answer is (Answer.GOOD if same else Answer.BAD)


def test_a_tensor_is_compared_by_its_numbers_where_its_band_has_room(tmp_path: Path) -> None:
    """Of forward.logits a last digit is no other answer; its digest is."""

    def shown(name: str, offset: float, band: Band | None) -> State:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        save_file({"logits": np.full((2, 3), 1.0 + offset)}, folder / "forward.safetensors")
        value: Json = {"digest": name, "shape": [2, 3], "dtype": "float64", "key": "logits"}
        place = Provenance(
            "reference", "stand-in", "catalogue", "cpu-x", "r", "s", family="qwen2_vl"
        )
        record = Record("forward", place, (Metric("forward", "logits", value=value),))
        return state_of(Question("forward.logits", band), {"forward": record}, folder)

    for band, near in ((ABSOLUTE, Answer.GOOD), (None, Answer.BAD)):
        question = Question("forward.logits", band)
        good, last = shown("a", 0.0, band), shown("b", 0.1, band)
        moved = shown("c", 0.5, band)
        assert answer(question, last, good, moved).answer is near
        assert answer(question, moved, good, moved).answer is Answer.BAD


def failed(message: str, *around: Mismatch) -> State:
    """The state of a release whose probe breaks with these words."""
    failure = Failure("TypeError", message, "x.py:1", around)
    broken = Metric("interface", "probe", status=Status.BROKEN, failure=failure)
    place = Provenance("reference", "stand-in", "catalogue", "cpu-x", "r", "s", family="qwen2_vl")
    return state_of(Question("interface.x"), {"interface": Record("interface", place, (broken,))})


def test_what_does_not_fit_there_is_said_and_makes_no_other_error() -> None:
    """It differs by release, and so would every error."""
    around = Mismatch("trl", "0.11.1", "peft", "0.9.0", "<1,>=0.10")
    one, other = failed("no field 'x'", around), failed("no field 'x'")
    assert one.text == f"TypeError: {around.sentence} no field 'x'"
    assert answer(Question("interface.x"), one, State(Kind.VALUE, 1), other).answer is Answer.BAD


GONE = "cannot import name 'AutoModelForVision2Seq' from 'transformers' ({}/__init__.py)"


@pytest.mark.parametrize(
    ("bad", "here"),
    [
        (GONE.format("/tmp/layers/4f/ab12"), GONE.format("/home/me/.cache/v/environments/x-1/lib")),
        (GONE.format("environment/lib/python3.11/site-packages"), GONE.format("/a b/c")),
        (
            "undefined symbol in libcudart.so.12 of torch 2.4.0+cu121",
            "undefined symbol in libcudart.so.11.0 of torch 2.6.0",
        ),
        (
            "<Model object at 0x7f12ab34> has no step (line 12)",
            "<Model object at 0x55aa> has no step (line 7)",
        ),
        (
            "Expected at least v4.45.0.dev0, found 5.0.0rc1",
            "Expected at least v4.57.6, found 5.2.0",
        ),
        ("step is -1, not 1e-05", "step is 0.5, not 2.5"),
        ("cannot open 'config.json'", "cannot open 'preprocessor_config.json'"),
        (
            "CUDA out of memory. Tried to allocate 20.00 MiB",
            "CUDA out of memory. Tried to allocate 1.25 GiB",
        ),
    ],
)
def test_an_error_is_the_same_whatever_release_and_folder_it_names(bad: str, here: str) -> None:
    verdict = answer(Question("interface.x"), failed(here), State(Kind.VALUE, "PASS"), failed(bad))
    assert verdict.answer is Answer.BAD


@pytest.mark.parametrize(
    ("bad", "here"),
    [
        (
            "SFTTrainer.__init__() got an unexpected keyword argument 'tokenizer'",
            "unsupported operand type(s) for |: 'type' and 'NoneType'",
        ),
        (
            "SFTTrainer.__init__() got an unexpected keyword argument 'tokenizer'",
            "SFTTrainer.__init__() got an unexpected keyword argument 'dataset_text_field'",
        ),
        ("cannot import name 'X' from 'torch'", "undefined symbol in libfoo.so"),
        ("expected float16", "expected float32"),
        (GONE.format("/a"), GONE.format("/a").replace("Vision2Seq", "ImageTextToText")),
    ],
)
def test_another_error_of_the_same_type_decides_nothing(bad: str, here: str) -> None:
    verdict = answer(Question("interface.x"), failed(here), State(Kind.VALUE, "PASS"), failed(bad))
    assert (verdict.answer, verdict.reason) == (Answer.SKIP, f"TypeError: {here}")
