"""SentencePiece's BPE with bytes for what it does not know (Kudo and Richardson, arXiv 1808.06226),
from tokenizer.json's vocabulary, pairs and added tokens alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import regex

SPACE = "▁"


class Encoder:
    """encode(text) -> ids. Added tokens are cut out first, of those that begin at one place the
    longest; the text between two is paired as a whole, its spaces too."""

    def __init__(
        self, pieces: Mapping[str, int], merges: list[tuple[str, str]], added: Mapping[str, int]
    ):
        self.pieces = pieces
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.added = added

    @classmethod
    def from_folder(cls, folder: Path) -> Encoder:
        """Pairs are spelled as lists, or with a space between them."""
        raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        listed = [m.split(" ") if isinstance(m, str) else m for m in raw["model"]["merges"]]
        merges = [(first, second) for first, second in listed]
        added = {token["content"]: int(token["id"]) for token in raw["added_tokens"]}
        return cls(raw["model"]["vocab"], merges, added)

    @cached_property
    def _cut(self) -> regex.Pattern[str]:
        words = sorted(self.added, key=len, reverse=True)
        return regex.compile("(" + "|".join(map(regex.escape, words)) + ")")

    def encode(self, text: str) -> list[int]:
        """Ids of a text that may hold control tokens. No begin token is put before it."""
        ids: list[int] = []
        for part in self._cut.split(text):
            if part in self.added:
                ids.append(self.added[part])
            elif part:
                ids += self._paired(part.replace(" ", SPACE))
        return ids

    def _paired(self, text: str) -> list[int]:
        symbols: list[str] = []
        for character in text:
            if character in self.pieces:
                symbols.append(character)
            else:
                symbols += [f"<0x{byte:02X}>" for byte in character.encode()]
        while True:
            ranked = [
                (self.ranks[pair], at)
                for at, pair in enumerate(pairwise(symbols))
                if pair in self.ranks
            ]
            if not ranked:
                return [self.pieces[symbol] for symbol in symbols]
            _, at = min(ranked)
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
