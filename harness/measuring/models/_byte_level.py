"""A small byte-level vocabulary of the project's own, for tiny models of families that have one.

It is the recipe's stand-in's, learnt from the catalogue; a family puts its control tokens behind
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.records.files import read_json
from harness.records.folders import PACKAGE

LEARNT = ("vocab.json", "merges.txt")
STAND_INS = PACKAGE / "measuring" / "stand_in"


def learnt(folder: str) -> dict[str, Any]:
    """vocab.json (946 tokens, no control token) and merges.txt of a stand-in."""
    home = STAND_INS / folder
    return {
        "vocab.json": read_json(home / "vocab.json"),
        "merges.txt": (home / "merges.txt").read_text("utf-8"),
    }


def written(folder: str, names: Sequence[str]) -> dict[str, Any]:
    """A stand-in's other files, by name."""
    return {name: read_json(STAND_INS / folder / name) for name in names}


def tokenizer_config(
    first: int, controls: Sequence[str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """tokenizer_config.json with control tokens one after the other. first: the first one's id,
    which is the number of learnt tokens. settings: what else the file says."""
    added = {
        str(first + i): {
            "content": token,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "single_word": False,
            "special": True,
        }
        for i, token in enumerate(controls)
    }
    return {
        "add_prefix_space": False,
        "bos_token": None,
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "model_max_length": 4096,
        "split_special_tokens": False,
        "additional_special_tokens": list(controls),
        "added_tokens_decoder": added,
        **settings,
    }
