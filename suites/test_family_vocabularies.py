"""A vocabulary in vocab.json and merges.txt alone, without tokenizer.json: what a family's
tokenizer makes of it, against the oracle that reads the two files itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.measuring.child.own_truths import oracle
from harness.measuring.models import families, family, lacks_release
from harness.measuring.snapshots import tiny

TEXT = "The Kestrel Studio is a red, round mug."
IN_TWO_FILES = [
    name
    for name in families()
    if "merges.txt" in family(name).files(next(iter(family(name).PUBLISHED.values())).config)
]
# Qwen3_5Tokenizer names the two files among its arguments, by which the library takes them for
# read, and reads neither: no id for any text, and no error. Read and tried in transformers 5.2.0
# (its first release), 5.3.0, 5.5.0, 5.10.1 and 5.24.0. Rung 3 compares the same ids, so a snapshot
# without tokenizer.json is red there.
EMPTY = ("qwen3_5",)


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_TWO_FILES)
def test_two_files_are_a_vocabulary_but_where_they_are_known_to_be_lost(
    name: str, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    lack = lacks_release(name)
    if lack:
        pytest.skip(f"NOT_RUN: {lack}")
    folder, judge_of = tmp_path / "snapshot", oracle(name)
    assert judge_of is not None
    shutil.copytree(
        tiny.snapshot(tiny.PREFIX + name), folder, ignore=shutil.ignore_patterns("tokenizer.json")
    )
    ids = AutoTokenizer.from_pretrained(str(folder)).encode(TEXT, add_special_tokens=False)
    wanted = judge_of.oracle(folder).encode(TEXT)
    assert len(wanted) > len(TEXT.split())
    assert ids == ([] if name in EMPTY else wanted)
