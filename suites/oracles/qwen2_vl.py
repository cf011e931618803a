"""Qwen2-VL: what the recipe's ladder must show of any conversations, all its oracles together."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from . import (
    bpe,
    digest,
    flops,
    footprint,
    held,
    labels,
    ladder,
    mrope,
    numerics,
    qwen2_vl_forward,
    resize,
    template,
)
from .architecture import Architecture
from .ladder import Sample, Turns, Words, pictures

MASKED = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
WORDS = Words(
    template="suites/oracles/template.py",
    vocabulary="suites/oracles/bpe.py over the snapshot's vocab.json and merges.txt",
    pictures="suites/oracles/resize.py",
    positions="suites/oracles/mrope.py",
    labels="suites/oracles/labels.py",
    together="template, resize and BPE oracles together",
    masked="pad, vision_start, vision_end and image_pad",
    encoded="byte-level BPE by its definition",
    kept="byte-level BPE loses nothing else",
    grid="grid over merge²",
    token="one per 28×28 px",
    placed="M-RoPE positions by their definition",
    model="suites/oracles/qwen2_vl.py",
)
# Config numbers of the published sizes, and what the publisher's own checkpoints count.
SIZES = footprint.SIZES
COUNTS = {"7b": 8_291_375_616, "2b": 2_208_985_600}
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "frequencies given to other axes": {
        "rope_scaling": {"type": "mrope", "mrope_section": [6, 6, 4]}
    },
    "angles of another base": {"rope_theta": 10_000.0},
    "norms of another epsilon": {"rms_norm_eps": 1e-2},
    "another activation in the tower": {"vision_config": {"hidden_act": "gelu"}},
    # Of the tied 2B: a head that nothing was loaded into.
    "a head of its own": {"tie_word_embeddings": False},
    "fewer blocks in the tower": {"vision_config": {"depth": 1}},
}
IDLE: Mapping[str, str] = {}
# Pixels of larger pictures are not worked out one by one.
SMALL = 300_000


class Family:
    """The oracle of one snapshot. folder: its vocab.json, merges.txt, tokenizer_config.json and
    preprocessor_config.json are read."""

    words = WORDS
    cut = resize.Cut()
    constants: Mapping[str, tuple[Any, str]] = {
        "padding_side": ("left", "the snapshot's own setting"),
        "pad_token": ("<|endoftext|>", "not the eos token"),
        "eos_token": ("<|im_end|>", "ends every turn"),
    }

    def __init__(self, folder: Path, limits: tuple[int, int] | None = None) -> None:
        self.folder = folder
        self.limits = limits or kept_pixels(folder, self.cut.limits)

    @property
    def lacks(self) -> str:
        """Why texts cannot be encoded."""
        if all((self.folder / name).is_file() for name in ("vocab.json", "merges.txt")):
            return ""
        return "the snapshot has no vocab.json and merges.txt to encode them with"

    @cached_property
    def encoder(self) -> bpe.Encoder:
        """Of the snapshot's vocabulary."""
        return bpe.Encoder.from_folder(self.folder)

    @property
    def pad(self) -> int:
        """The id of padding."""
        return self.encoder.control["<|endoftext|>"]

    @property
    def picture(self) -> int:
        """The id that stands once per position of a picture."""
        return self.encoder.control["<|image_pad|>"]

    @property
    def never(self) -> frozenset[int]:
        """Ids that no label asks for."""
        return frozenset(self.encoder.control[token] for token in MASKED)

    def render(self, turns: Turns, **switches: bool) -> str:
        """By the template's behaviour."""
        return template.render(turns, **switches)

    def encode(self, text: str) -> list[int]:
        """Byte-level BPE."""
        return self.encoder.encode(text)

    def decoded(self, text: str) -> str:
        """NFC of the text."""
        return unicodedata.normalize("NFC", text)

    def fetched(self, height: int, width: int) -> tuple[int, int]:
        """After qwen_vl_utils' own resize."""
        return self.cut.fetched(height, width)

    def final(self, height: int, width: int) -> tuple[int, int]:
        """After the processor's resize."""
        return resize.resized(height, width, self.limits, factor=self.cut.factor)

    def undecided(self, height: int, width: int) -> bool:
        """On either resize."""
        factor = self.cut.factor
        return resize.on_the_edge(
            height, width, self.cut.fetch_limits, factor
        ) or resize.on_the_edge(*self.fetched(height, width), self.limits, factor)

    def grid(self, height: int, width: int) -> list[int]:
        """(time, rows, columns) in patches."""
        return list(resize.grid(*self.final(height, width), self.cut.patch))

    def tokens(self, height: int, width: int) -> int:
        """One per merged block of patches."""
        return resize.image_tokens(*self.final(height, width), self.cut.factor)

    def rule(self, height: int, width: int) -> tuple[int, int]:
        """Under the published limits."""
        return resize.resized(height, width, self.cut.limits, factor=self.cut.factor)

    def levels(self, picture: Any, path: Sequence[tuple[int, int]]) -> str | None:
        """Pillow's bicubic, then the patch order."""
        final = self.final(*(path[-1] if path else (picture.height, picture.width)))
        if final[0] * final[1] >= SMALL:
            return None
        for size in (*path, final):
            if picture.size != size[::-1]:
                picture = resize.bicubic(picture, size)
        return digest.of_bytes(self.cut.levels(np.asarray(picture)).tobytes())

    def expanded(self, turns: Turns) -> str:
        """The rendered conversation with every image_pad repeated by the resize rule's count."""
        text = self.render(turns)
        for picture in pictures(turns):
            count = self.tokens(*self.fetched(picture.height, picture.width))
            text = text.replace("<|image_pad|>", "\0" * count, 1)
        return text.replace("\0", "<|image_pad|>")

    def sample(self, turns: Turns) -> Sample:
        """Ids, and M-RoPE's three axes."""
        ids = self.encode(self.expanded(turns))
        grids = [self.merged(picture) for picture in pictures(turns)]
        return Sample(ids, mrope.positions(ids, self.picture, grids))

    def logits(self, turns: Turns) -> Any | None:
        """Decoder and tower by their publication and the config's numbers."""
        sample = self.sample(turns)
        return self.forward(sample, self.patches(turns)) if self.weights else None

    def shown(self, turns: Turns) -> Any | None:
        """What the tower makes of them."""
        if not self.weights:
            return None
        return np.concatenate([self.towered(*each) for each in self.patches(turns)])

    def patches(self, turns: Turns) -> list[tuple[Any, tuple[int, int, int]]]:
        """Of every picture its normalised patches in the processor's order, and (frames, rows,
        columns) after merging."""
        return [
            (self.cut.patches(self.final_picture(p)).astype(np.float64), self.merged(p))
            for p in pictures(turns)
        ]

    def towered(self, patches: Any, merged: tuple[int, int, int]) -> Any:
        """float64 (tokens, width) of one picture."""
        vision = self.config["vision_config"]
        return qwen2_vl_forward.tower(self.weights, vision, patches, merged)

    def forward(self, sample: Sample, patches: Sequence[tuple[Any, tuple[int, int, int]]]) -> Any:
        """float64 (tokens, vocabulary)."""
        return qwen2_vl_forward.forward(self.weights, self.config, sample, self.picture, patches)

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """config.json."""
        return ladder.read_json(self.folder / "config.json")

    @cached_property
    def weights(self) -> Mapping[str, Any]:
        """float64 by name; none where there are none, or too many to be worked out so."""
        return numerics.weights_of(self.folder, ladder.MOST_WEIGHTS)

    def final_picture(self, picture: Any) -> Any:
        """uint8 (height, width, 3) of a picture that neither resize changes."""
        size = picture.height, picture.width
        assert self.final(*self.fetched(*size)) == size
        return np.asarray(picture.convert("RGB"))

    def merged(self, picture: Any) -> tuple[int, int, int]:
        """Frames, rows and columns of its tokens."""
        frames, rows, columns = self.grid(*self.fetched(picture.height, picture.width))
        return frames, rows // resize.MERGE, columns // resize.MERGE

    def answer(self, ids: Sequence[int]) -> int:
        """After the last assistant header and the one token that holds its line break."""
        return labels.answer_start(ids, self.encode("<|im_start|>assistant"))

    def roles(self, ids: Sequence[int]) -> list[str]:
        """By turns."""
        names = {role: self.encode(role) for role in ladder.ROLES}
        return labels.roles(ids, self.encoder.control, names)


def oracle(folder: Path) -> Family:
    """The oracle of a snapshot."""
    return Family(folder)


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Every matrix, by canonical name."""
    return footprint.architecture(config)


def settings(config: Mapping[str, Any]) -> Mapping[str, held.Settings]:
    """What its modules compute with, by part."""
    vision = footprint.vision_numbers(config)
    # An activation of the config is the decoder's: the tower's is said nowhere.
    tower = held.merging(vision, vision["embed_dim"], "quick_gelu")
    return {"decoder": held.llama(config), "tower": tower}


def step_flops(
    config: Mapping[str, Any], batch: int, length: int, patches: Sequence[int]
) -> tuple[Mapping[str, int], int, Mapping[str, Mapping[str, int]]]:
    """By mode, those of rotary angles, and what known faults make of all."""
    right = flops.step(config, batch, length, patches)
    across, again = flops.across(config, patches), flops.tower_again(config, patches)
    checkpointed = {"step_checkpointed": right["step_checkpointed"] + again}
    return (
        right,
        flops.rotary(config, batch, length),
        {
            "pictures attend to all": {mode: work + across for mode, work in right.items()},
            "the tower runs backward": {**right, **checkpointed},
        },
    )


def useful_flops(
    config: Mapping[str, Any], tokens: int, trained: int, patches: Sequence[int]
) -> int:
    """Work that a step cannot do without."""
    return flops.useful(config, tokens, trained, patches)


def kept_pixels(folder: Path, published: tuple[int, int]) -> tuple[int, int]:
    """The fewest and the most pixels that the snapshot's processor keeps; the published ones
    where it does not say."""
    raw = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    size = raw.get("size") or {}
    low = raw.get("min_pixels") or size.get("shortest_edge")
    high = raw.get("max_pixels") or size.get("longest_edge")
    return int(low or published[0]), int(high or published[1])
