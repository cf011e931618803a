"""Gemma 4: what the recipe's ladder must show of any conversations, all its oracles together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np

from . import digest, gemma3, ladder, resize
from .gemma4_architecture import COUNTS as COUNTS
from .gemma4_architecture import SIZES as SIZES
from .gemma4_architecture import architecture as architecture
from .gemma4_architecture import settings as settings
from .gemma4_forward import forward, seen
from .gemma4_known import ABSENT as ABSENT
from .gemma4_known import KNOWN as KNOWN
from .ladder import Sample, Turns, pictures

OWN = "suites/oracles/gemma4.py"
WORDS = replace(
    gemma3.WORDS,
    template=OWN,
    pictures=OWN,
    positions=OWN,
    labels=OWN,
    together=OWN,
    masked="pad, <|image>, <image|> and <|image|>",
    grid="rows and columns of patches",
    token="one per square of patches that are averaged",
    model="suites/oracles/gemma4_forward.py",
)
# Published: px of a patch, patches of a token's square, tokens of a picture at most.
PATCH, POOL, MOST = 16, 3, 280
FULL, WINDOWS = "full_attention", "sliding_attention"
ROPE: Mapping[str, Mapping[str, Any]] = {
    FULL: {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "rope_type": "proportional"},
    WINDOWS: {"rope_theta": 1e4, "rope_type": "default"},
}
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "windows ignored": {"text_config": {"sliding_window": 4096}},
    "windows one token shorter": {"text_config": {"sliding_window": 39}},
    "heads turned whole": {
        "text_config": {
            "rope_parameters": {**ROPE, FULL: {**ROPE[FULL], "partial_rotary_factor": 1.0}}
        }
    },
    "windows with the other layers' angles": {
        "text_config": {"rope_parameters": {**ROPE, WINDOWS: {**ROPE[WINDOWS], "rope_theta": 1e6}}}
    },
    "pictures that see one way": {"text_config": {"use_bidirectional_attention": None}},
    "logits without a limit": {"text_config": {"final_logit_softcapping": None}},
    "norms of another epsilon": {"text_config": {"rms_norm_eps": 1e-2}},
    "another activation": {"text_config": {"hidden_activation": "silu"}},
    "another activation in the tower": {"vision_config": {"hidden_activation": "silu"}},
    "norms of another epsilon in the tower": {"vision_config": {"rms_norm_eps": 1e-2}},
    "Linears that do not clip": {"vision_config": {"use_clipped_linears": False}},
    "a tower that is not standardised": {"vision_config": {"standardize": False}},
    "fewer blocks in the tower": {"vision_config": {"num_hidden_layers": 1}},
    "a head of its own": {"tie_word_embeddings": False},
}


def _as_it_came(module: Any) -> None:
    module.forward = lambda x: x


def _without_norms_of_heads(model: Any) -> None:
    for layer in model.model.language_model.layers:
        _as_it_came(layer.self_attn.q_norm)
        if hasattr(layer.self_attn, "k_norm"):
            _as_it_came(layer.self_attn.k_norm)


def _without_norms_of_values(model: Any) -> None:
    for layer in model.model.language_model.layers:
        if hasattr(layer.self_attn, "v_norm"):
            _as_it_came(layer.self_attn.v_norm)


def _layers_unscaled(model: Any) -> None:
    for layer in model.model.language_model.layers:
        layer.layer_scalar.fill_(1.0)


def _tables_of_other_layers(model: Any) -> None:
    table = model.model.language_model.embed_tokens_per_layer.weight
    table.data = table.data.flip(-1)


def _keys_of_another_layer(model: Any) -> None:
    layers = model.model.language_model.layers
    # The first with windows hands on what the second would.
    layers[0].self_attn.k_proj.weight.data.neg_()


def _places_exchanged(model: Any) -> None:
    tower = model.model.vision_tower
    inner = tower.patch_embedder.forward
    tower.patch_embedder.forward = lambda pixels, places, padding: inner(
        pixels, places.flip(-1), padding
    )


# Parts that no number of the config leaves out: what is done to a loaded model.
PLANTED: Mapping[str, Callable[[Any], None]] = {
    "norms of queries and keys left out": _without_norms_of_heads,
    "norms of values left out": _without_norms_of_values,
    "layers that are not scaled": _layers_unscaled,
    "tables of other layers": _tables_of_other_layers,
    "other keys handed on": _keys_of_another_layer,
    "rows and columns of patches exchanged": _places_exchanged,
}
IDLE: Mapping[str, str] = {}


class Family(gemma3.Family):
    """The oracle of one snapshot. folder: its tokenizer.json and processor_config.json are read."""

    words = WORDS
    start, end = "<|turn>", "<turn|>"
    before, soft, behind = "<|image>", "<|image|>", "<image|>"
    names: Mapping[str, str] = {"system": "system", "user": "user", "assistant": "model"}
    constants: Mapping[str, tuple[Any, str]] = {
        "padding_side": ("left", "the snapshot's own setting"),
        "pad_token": ("<pad>", "not the eos token"),
        "eos_token": ("<eos>", "ends a document; a turn ends with <turn|>"),
        "begin_tokens": (1, "the template writes it, and the tokenizer adds none"),
    }

    @property
    def controls(self) -> frozenset[int]:
        """Ids of no role's text."""
        return super().controls | {
            self.encoder.added[token] for token in ("<|video|>", "<|audio|>")
        }

    def render(self, turns: Turns, *, add_generation_prompt: bool = False) -> str:
        """The begin token; a turn for every message; texts without white space around them, nothing
        between parts. Pictures are what transformers' processor makes of their links too."""
        out = gemma3.BEGIN
        for turn in turns:
            content = turn["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            out += f"{self.start}{self.names[turn['role']]}\n"
            for part in parts:
                if part["type"] == "text":
                    out += part["text"].strip()
                elif part["type"] in {"image", "video", "audio"}:
                    out += f"<|{part['type']}|>"
            out += f"{self.end}\n"
        return out + (f"{self.start}model\n" if add_generation_prompt else "")

    @cached_property
    def most(self) -> int:
        """Tokens that a picture may take."""
        raw = ladder.read_json(self.folder / "processor_config.json")
        return int(raw["image_processor"]["max_soft_tokens"])

    def undecided(self, height: int, width: int) -> bool:
        """Where a side becomes whole squares exactly after a root."""
        ideal = (_square(side, height * width, self.most) for side in (height, width))
        exact = (s.denominator == 1 and isqrt(s.numerator) ** 2 == s.numerator for s in ideal)
        return any(exact) and filled(height, width, self.most) != (height, width)

    def grid(self, height: int, width: int) -> list[int]:
        """Rows and columns of patches."""
        return [side // PATCH for side in filled(height, width, self.most)]

    def tokens(self, height: int, width: int) -> int:
        """Squares of patches."""
        rows, columns = self.grid(height, width)
        return rows * columns // POOL**2

    def rule(self, height: int, width: int) -> tuple[int, int]:
        """Under the published budget."""
        return filled(height, width, MOST)

    def levels(self, picture: Any, path: Sequence[tuple[int, int]]) -> str | None:
        """Pillow's bicubic; patch by patch, rows of pixels, colours last."""
        size = filled(picture.height, picture.width, self.most)
        if picture.size != size[::-1]:
            picture = resize.bicubic(picture, size)
        rows, columns = (side // PATCH for side in size)
        tiles = np.asarray(picture).reshape(rows, PATCH, columns, PATCH, 3)
        return digest.of_bytes(np.ascontiguousarray(tiles.transpose(0, 2, 1, 3, 4)).tobytes())

    def sample(self, turns: Turns) -> Sample:
        """Ids, and one axis."""
        text = self.render(turns)
        for picture in pictures(turns):
            count = self.tokens(picture.height, picture.width)
            whole = f"{self.before}{chr(0) * count}{self.behind}"
            text = text.replace(self.soft, whole, 1)
        ids = self.encode(text.replace(chr(0), self.soft))
        return Sample(ids, [list(range(len(ids)))])

    def fits(self, height: int, width: int) -> bool:
        """Whether a picture is as large as the budget makes it."""
        return filled(height, width, self.most) == (height, width)

    def forward(self, sample: Sample, arrays: Sequence[Any]) -> Any:
        """float64 (tokens, vocabulary)."""
        return forward(self.weights, self.config, sample, self.picture, arrays)

    def seen(self, picture: Any) -> Any:
        """float64 (tokens, width) of one picture."""
        return seen(self.weights, self.config, picture)


def oracle(folder: Path) -> Family:
    """The oracle of a snapshot."""
    return Family(folder)


def _square(side: int, area: int, most: int) -> Fraction:
    """Squared, in squares of patches: a side of a picture scaled to fill the budget."""
    budget = most * POOL**2 * PATCH**2
    return Fraction(side * side * budget, area * (POOL * PATCH) ** 2)


def filled(height: int, width: int, most: int) -> tuple[int, int]:
    """(height, width) in px: scaled by one factor to the budget's area, both sides cut to whole
    squares of patches. A side that none is left of gets one; the other is then as many squares as
    the picture is long by wide, at most the budget."""
    unit = POOL * PATCH
    squares = []
    for side in (height, width):
        ideal = _square(side, height * width, most)
        squares.append(isqrt(ideal.numerator // ideal.denominator))
    rows, columns = squares
    if not rows:
        rows, columns = 1, min(width // height, most)
    elif not columns:
        rows, columns = min(height // width, most), 1
    return rows * unit, columns * unit
