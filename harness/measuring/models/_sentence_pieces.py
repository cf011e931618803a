"""A small vocabulary of the project's own in the manner of SentencePiece's BPE: characters are
paired, a space is `▁`, what is no known character is spelled in bytes.

Its pairs are the stand-in's (`_byte_level.py`), read as characters; a family puts its control
tokens before and behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from harness.measuring.models._byte_level import learnt

SPACE = "▁"
# Runs of spaces are pieces of their own, paired before anything else.
RUNS = (SPACE * 2, SPACE * 4)


@dataclass(frozen=True)
class Vocabulary:
    """pieces: id by piece, control tokens included. merges: pairs in the order of their rank.
    added: what is cut out of a text before anything is paired, id by token; special: those of
    them that are no text."""

    pieces: Mapping[str, int]
    merges: Sequence[tuple[str, str]]
    added: Mapping[str, int]
    special: frozenset[str]

    def tokenizer(self, begin: str, unknown: str) -> dict[str, Any]:
        """tokenizer.json. begin: the token put before a text, '' for none."""
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {"id": token_id, **self._spelled(token)} for token, token_id in self.added.items()
            ],
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"String": " "},
                "behavior": "MergedWithPrevious",
                "invert": False,
            },
            "post_processor": self._beginning(begin) if begin else None,
            "decoder": {
                "type": "Sequence",
                "decoders": [
                    {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                    {"type": "ByteFallback"},
                    {"type": "Fuse"},
                ],
            },
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": unknown,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": True,
                "byte_fallback": True,
                "ignore_merges": False,
                "vocab": dict(self.pieces),
                "merges": [list(pair) for pair in self.merges],
            },
        }

    def decoder(self) -> dict[str, Any]:
        """tokenizer_config.json's `added_tokens_decoder`."""
        return {str(token_id): self._spelled(token) for token, token_id in self.added.items()}

    def _beginning(self, token: str) -> dict[str, Any]:
        one, other = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
        first = {"SpecialToken": {"id": token, "type_id": 0}}
        return {
            "type": "TemplateProcessing",
            "single": [first, one],
            "pair": [first, one, other],
            "special_tokens": {
                token: {"id": token, "ids": [self.pieces[token]], "tokens": [token]}
            },
        }

    def _spelled(self, token: str) -> dict[str, Any]:
        return {
            "content": token,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "single_word": False,
            "special": token in self.special,
        }


def vocabulary(
    first: Sequence[str], ordinary: Sequence[str], last: Sequence[str], folder: str = "qwen2_vl"
) -> Vocabulary:
    """first, last: control tokens before and behind all pieces. ordinary: added tokens that are
    plain text, behind the first. folder: whose pairs."""
    characters, pairs = _paired(folder)
    runs = [(piece[: len(piece) // 2],) * 2 for piece in RUNS]
    merges = [*runs, *pairs]
    listed = [
        *first,
        *ordinary,
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *characters,
        *(a + b for a, b in merges),
        *last,
    ]
    pieces = dict(zip(dict.fromkeys(listed), count()))
    special = frozenset({*first, *last})
    added = {token: pieces[token] for token in (*first, *ordinary, *last)}
    return Vocabulary(pieces, merges, added, special)


def _paired(folder: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Characters, and the pairs of whole characters among a byte-level vocabulary's merges."""
    lines = learnt(folder)["merges.txt"].splitlines()[1:]
    known = {*map(chr, range(33, 127)), "\n", SPACE}
    characters = set(known)
    pairs = []
    for line in lines:
        pair = tuple(_characters(half) for half in line.split(" "))
        if all(half in known for half in pair):
            pairs.append((pair[0], pair[1]))
            known.add("".join(pair))
        elif len(whole := _characters(line.replace(" ", ""))) == 1:
            characters.add(whole)
            known.add(whole)
    return sorted(characters), pairs


def _characters(symbols: str) -> str:
    """What byte-level symbols spell, '' where that is no whole character."""
    try:
        return bytes(_BYTES[symbol] for symbol in symbols).decode().replace(" ", SPACE)
    except UnicodeDecodeError:
        return ""


def _byte_of_symbol() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte, turned round."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return {chr(byte if byte in printable else next(spare)): byte for byte in range(256)}


_BYTES = _byte_of_symbol()
