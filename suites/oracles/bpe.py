"""Byte-level BPE from vocab.json and merges.txt alone, by the published algorithm."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import regex

# The published pre-tokenisation rule of the Qwen2 family.
SPLIT = regex.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def qwen_words(text: str) -> list[str]:
    """Of the text in NFC, as the Qwen2 family does it."""
    return SPLIT.findall(unicodedata.normalize("NFC", text))


def byte_alphabet() -> dict[int, str]:
    """GPT-2's printable stand-in for each of the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in printable}
    spare = 256
    for b in range(256):
        if b not in table:
            table[b] = chr(spare)
            spare += 1
    return table


class Encoder:
    """encode(text) -> ids; control tokens are matched first, longest first.

    words: cuts what is between them into the pieces whose bytes are paired.
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        merges: list[str],
        control: dict[str, int],
        words: Callable[[str], list[str]] = qwen_words,
    ):
        self.words = words
        self.vocabulary = vocabulary
        self.ranks = {tuple(m.split(" ")): i for i, m in enumerate(merges)}
        self.control = control
        self.bytes = byte_alphabet()
        self._words: dict[str, list[int]] = {}

    @classmethod
    def from_folder(cls, folder: Path, words: Callable[[str], list[str]] = qwen_words) -> Encoder:
        """Read vocab.json, merges.txt and the control tokens of tokenizer_config.json."""
        vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
        merges = [line for line in lines if line and not line.startswith("#version")]
        added = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        control = {e["content"]: int(i) for i, e in added["added_tokens_decoder"].items()}
        return cls(vocabulary, merges, control, words)

    @cached_property
    def _control_split(self) -> regex.Pattern[str]:
        words = sorted(self.control, key=len, reverse=True)
        return regex.compile("(" + "|".join(map(regex.escape, words)) + ")")

    def encode(self, text: str) -> list[int]:
        """Token ids of a text that may hold control tokens."""
        ids: list[int] = []
        for piece in self._control_split.split(text):
            if piece in self.control:
                ids.append(self.control[piece])
            elif piece:
                for word in self.words(piece):
                    ids += self._word(word)
        return ids

    def _word(self, word: str) -> list[int]:
        if word not in self._words:
            symbols = [self.bytes[b] for b in word.encode("utf-8")]
            while len(symbols) > 1:
                pairs = list(pairwise(symbols))
                best = min(pairs, key=lambda p: self.ranks.get(p, len(self.ranks)))
                if best not in self.ranks:
                    break
                symbols = self._merge(symbols, best)
            self._words[word] = [self.vocabulary[s] for s in symbols]
        return self._words[word]

    @staticmethod
    def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
        merged: list[str] = []
        i = 0
        while i < len(symbols):
            if i + 1 < len(symbols) and (symbols[i], symbols[i + 1]) == pair:
                merged.append(symbols[i] + symbols[i + 1])
                i += 2
            else:
                merged.append(symbols[i])
                i += 1
        return merged
