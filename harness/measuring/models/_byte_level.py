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


def learnt_words(folder: str) -> tuple[dict[str, int], list[str]]:
    """The same as (ids, merges in order)."""
    files = learnt(folder)
    lines = files["merges.txt"].split("\n")
    return files["vocab.json"], [line for line in lines if line and not line.startswith("#")]


def doubled(
    vocabulary: Mapping[str, int], merges: Sequence[str], symbols: Sequence[str]
) -> tuple[dict[str, int], list[str]]:
    """With a token more for each of these byte symbols twice, merged last of all."""
    new = {symbol * 2: len(vocabulary) + i for i, symbol in enumerate(symbols)}
    return {**vocabulary, **new}, [*merges, *(f"{symbol} {symbol}" for symbol in symbols)]


def tokenizer_json(
    vocabulary: Mapping[str, int],
    merges: Sequence[str],
    controls: Sequence[str],
    cuts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """tokenizer.json of a byte-level vocabulary without a normaliser, its control tokens behind it.
    cuts: the steps before bytes are paired, the last of which turns text into bytes."""
    added = [{"id": len(vocabulary) + i, **_control(token)} for i, token in enumerate(controls)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": list(cuts)},
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": dict(vocabulary),
            "merges": list(merges),
        },
    }


def written(folder: str, names: Sequence[str]) -> dict[str, Any]:
    """A stand-in's other files, by name."""
    return {name: read_json(STAND_INS / folder / name) for name in names}


def tokenizer_config(
    first: int, controls: Sequence[str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """tokenizer_config.json with control tokens one after the other. first: the first one's id,
    which is the number of learnt tokens. settings: what else the file says."""
    added = {str(first + i): _control(token) for i, token in enumerate(controls)}
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


def spelled_files(
    controls: Sequence[str],
    template: str,
    settings: Mapping[str, Any],
    generation: Mapping[str, str],
    folder: str = "qwen2_vl",
) -> dict[str, Any]:
    """vocab.json, merges.txt, tokenizer_config.json, chat_template.json and generation_config.json
    by name. controls, settings: as `tokenizer_config` has them. generation: control token by the
    field that holds its id. folder: whose learnt tokens."""
    words = learnt(folder)
    first = len(words["vocab.json"])
    ids = {field: first + list(controls).index(token) for field, token in generation.items()}
    return {
        **words,
        "tokenizer_config.json": tokenizer_config(first, controls, settings),
        "chat_template.json": {"chat_template": template},
        "generation_config.json": ids,
    }


def _control(token: str) -> dict[str, Any]:
    """How an added token is cut out of a text: as it stands, before anything else."""
    flags = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False)
    return {"content": token, **flags, "special": True}
