"""InternVL3: what the recipe's ladder must show of any conversations, by its reports (arXiv
2404.16821 for tiles, 2504.10479) and the numbers of its config.json. Texts are encoded as Qwen2's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from . import digest, held, internvl_model, ladder, qwen2_vl
from .architecture import Architecture
from .internvl_known import ABSENT as ABSENT
from .internvl_known import KNOWN as KNOWN
from .internvl_planted import PLANTED as PLANTED
from .ladder import Sample, Turns, Words, pictures
from .resize import bicubic

BEFORE, CONTEXT, BEHIND, FILM = "<img>", "<IMG_CONTEXT>", "</img>", "<video>"
OWN = "suites/oracles/internvl.py"
WORDS = Words(
    template=OWN,
    vocabulary="suites/oracles/bpe.py over the snapshot's vocab.json and merges.txt",
    pictures=f"{OWN} in exact fractions",
    positions="counting",
    labels="suites/oracles/labels.py",
    together="template, tiles and BPE oracles together",
    masked="pad, img, /img and IMG_CONTEXT",
    encoded="byte-level BPE by its definition",
    kept="byte-level BPE loses nothing else",
    grid="a token for each square of four patches, of every tile and of the whole picture",
    token="the same number for every tile, and for the whole picture",
    placed="one after the other, pictures' tokens like any",
    model="suites/oracles/internvl_model.py",
    lined_up="",
)
# The published tile, and the most of them.
SIDE, MOST = 448, 12
# ImageNet's, by colour.
MEAN = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
_SMALL: Mapping[str, Any] = {
    "attention_bias": True,
    "hidden_size": 1024,
    "image_size": [448, 448],
    "intermediate_size": 4096,
    "layer_norm_eps": 1e-6,
    "norm_type": "layer_norm",
    "num_attention_heads": 16,
    "num_channels": 3,
    "num_hidden_layers": 24,
    "patch_size": [14, 14],
    "use_qk_norm": False,
}
_LARGE: Mapping[str, Any] = {
    **_SMALL,
    "attention_bias": False,
    "hidden_size": 3200,
    "intermediate_size": 12800,
    "norm_type": "rms_norm",
    "num_attention_heads": 25,
    "num_hidden_layers": 45,
    "use_qk_norm": True,
}


def _size(
    vision: Mapping[str, Any], width: int, inner: int, layers: int, heads: int, keys: int
) -> Mapping[str, Any]:
    """A decoder of Qwen2.5's with 151,674 rows in its table, and a tower."""
    return {
        "downsample_ratio": 0.5,
        "text_config": {
            "hidden_size": width,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": keys,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "vocab_size": 151674,
        },
        "vision_config": vision,
    }


SIZES: Mapping[str, Mapping[str, Any]] = {
    "1b": _size(_SMALL, 896, 4864, 24, 14, 2),
    "2b": _size(_SMALL, 1536, 8960, 28, 12, 2),
    "8b": _size(_SMALL, 3584, 18944, 28, 28, 4),
    "38b": _size(_LARGE, 5120, 27648, 64, 40, 8),
}
# As public repositories read them off the headers of safetensors: the 2B's and, of a model trained
# on from it, the 8B's; of the 1B and the 38B those of InternVL2.5, whose towers and decoders are of
# the same sizes (the hub's parameter_count).
COUNTS = {"1b": 938_193_024, "2b": 2_088_957_440, "8b": 7_944_373_760, "38b": 38_388_164_992}
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "angles of another base": {"text_config": {"rope_theta": 10_000.0}},
    "positions divided": {"text_config": {"rope_scaling": {"rope_type": "linear"}}},
    "angles that grow too early": {"text_config": {"max_position_embeddings": 64}},
    "norms of another epsilon": {"text_config": {"rms_norm_eps": 1e-2}},
    "another activation in the tower": {"vision_config": {"hidden_act": "quick_gelu"}},
    "another activation in the connector": {"projector_hidden_act": "quick_gelu"},
    "fewer blocks in the tower": {"vision_config": {"num_hidden_layers": 1}},
    "an earlier block's patches": {"vision_feature_layer": -2},
    "the tower's norms of another epsilon": {"vision_config": {"layer_norm_eps": 1e-2}},
    "the tower's heads cut otherwise": {"vision_config": {"num_attention_heads": 4}},
    # Each is one size's: what it has already is no change.
    "the tower's queries and keys not normed": {"vision_config": {"use_qk_norm": False}},
    "the tower's norms centred": {"vision_config": {"norm_type": "layer_norm"}},
    "the tower's norms not centred": {"vision_config": {"norm_type": "rms_norm"}},
    "no biases in the tower's attention": {"vision_config": {"attention_bias": False}},
}
IDLE: Mapping[str, str] = {}
# transformers takes a head of which the config says nothing for a tied one since 5.
MISREAD: Mapping[str, Mapping[str, Any]] = {"a tied head": {"tie_word_embeddings": True}}


class Family(qwen2_vl.Family):
    """The oracle of one snapshot. folder: its vocab.json, merges.txt, tokenizer_config.json,
    preprocessor_config.json and processor_config.json are read."""

    words = WORDS
    constants: Mapping[str, tuple[Any, str]] = {
        "padding_side": ("right", "the snapshot says none, and the tokenizer's own is right"),
        "pad_token": ("<|endoftext|>", "not the eos token"),
        "eos_token": ("<|im_end|>", "ends every turn"),
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def picture(self) -> int:
        """The id that stands once per position of a picture."""
        return self.encoder.control[CONTEXT]

    @property
    def never(self) -> frozenset[int]:
        """Ids that no label asks for."""
        return frozenset(self.encoder.control[token] for token in (BEFORE, CONTEXT, BEHIND))

    @cached_property
    def _settings(self) -> Mapping[str, Any]:
        return ladder.read_json(self.folder / "preprocessor_config.json")

    @cached_property
    def side(self) -> int:
        """Of a tile, px."""
        return int(self._settings["size"]["height"])

    @cached_property
    def of_tile(self) -> int:
        """Positions that a tile takes."""
        return int(ladder.read_json(self.folder / "processor_config.json")["image_seq_length"])

    def render(self, turns: Turns, **switches: bool) -> str:
        """A role and its line; parts as they are, of which those that are no text, picture or film
        are left out; a line break behind a picture and a film."""
        shown = {"image": f"{CONTEXT}\n", "video": f"{FILM}\n"}
        out = ""
        for turn in turns:
            content = turn["content"]
            if not isinstance(content, str):
                content = "".join(
                    part["text"] if part["type"] == "text" else shown.get(part["type"], "")
                    for part in content
                )
            out += f"<|im_start|>{turn['role']}\n{content}<|im_end|>\n"
        return out + ("<|im_start|>assistant\n" if switches.get("add_generation_prompt") else "")

    def fetched(self, height: int, width: int) -> tuple[int, int]:
        """Nothing is resized before the processor does it."""
        return height, width

    def arrangement(self, height: int, width: int, divide: Divide = Fraction) -> tuple[int, int]:
        """Rows and columns under the snapshot's own limits."""
        least, most = self._settings["min_patches"], self._settings["max_patches"]
        return arrangement(height, width, self.side, (least, most), divide)

    def undecided(self, height: int, width: int) -> bool:
        """Where the rule in doubles is not the rule in fractions."""
        in_doubles = self.arrangement(height, width, lambda one, other: one / other)
        return in_doubles != self.arrangement(height, width)

    def grid(self, height: int, width: int) -> list[int]:
        """Tiles, one of them the whole picture where it is cut; their side."""
        rows, columns = self.arrangement(height, width)
        return [rows * columns + (rows * columns > 1), self.side]

    def tokens(self, height: int, width: int) -> int:
        """Of all tiles."""
        return self.grid(height, width)[0] * self.of_tile

    def rule(self, height: int, width: int) -> tuple[int, int]:
        """What the tiles cover, at most twelve of the published size."""
        rows, columns = arrangement(height, width, SIDE, (1, MOST))
        return rows * SIDE, columns * SIDE

    def tiles(self, picture: Any) -> Any:
        """uint8 (tiles, 3, side, side): row by row, then the whole picture."""
        rows, columns = self.arrangement(picture.height, picture.width)
        side, whole = self.side, picture.convert("RGB")
        scaled = bicubic(whole, (rows * side, columns * side))
        shown = [
            scaled.crop((side * c, side * r, side * (c + 1), side * (r + 1)))
            for r in range(rows)
            for c in range(columns)
        ]
        if len(shown) > 1:
            shown.append(bicubic(whole, (side, side)))
        return np.stack([np.asarray(tile).transpose(2, 0, 1) for tile in shown])

    def levels(self, picture: Any, path: Sequence[tuple[int, int]]) -> str | None:
        """Pillow's bicubic filter."""
        return digest.of_bytes(self.tiles(picture).tobytes())

    def expanded(self, turns: Turns) -> str:
        """The rendered conversation with every picture's tokens written out."""
        text = self.render(turns)
        for picture in pictures(turns):
            inside = "\0" * self.tokens(picture.height, picture.width)
            text = text.replace(CONTEXT, f"{BEFORE}{inside}{BEHIND}", 1)
        return text.replace("\0", CONTEXT)

    def sample(self, turns: Turns) -> Sample:
        """Ids, and their places."""
        ids = self.encode(self.expanded(turns))
        return Sample(ids, [list(range(len(ids)))])

    def logits(self, turns: Turns) -> Any | None:
        """Tower, connector and decoder."""
        if not self.weights:
            return None
        sample, tiles = self.sample(turns), self.normalised(turns)
        return internvl_model.forward(self.weights, self.config, sample, self.picture, tiles)

    def shown(self, turns: Turns) -> Any | None:
        """Tower and connector, tile by tile."""
        if not self.weights:
            return None
        tiles = self.normalised(turns)
        return np.concatenate([internvl_model.seen(self.weights, self.config, t) for t in tiles])

    def normalised(self, turns: Turns) -> list[Any]:
        """float64 (3, side, side) of every tile of every picture."""
        return [
            (tile.astype(np.float64) / 255.0 - MEAN) / STD
            for picture in pictures(turns)
            for tile in self.tiles(picture)
        ]


def oracle(folder: Path) -> Family:
    """The oracle of a snapshot."""
    return Family(folder)


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Every matrix, by canonical name."""
    return internvl_model.architecture(config)


def settings(config: Mapping[str, Any]) -> Mapping[str, held.Settings]:
    """What its modules compute with, by part."""
    vision = config["vision_config"]
    tower = dict(held.siglip(vision, "gelu"))
    if vision.get("use_qk_norm"):
        tower["epsilon"] = sorted({*tower["epsilon"], internvl_model.EPSILON})
    connector = {
        "epsilon": [internvl_model.CONNECTOR_EPSILON],
        "activation": [config.get("projector_hidden_act", "gelu")],
    }
    decoder = held.llama(config["text_config"])
    return {"decoder": decoder, "tower": tower, "connector": connector}


Divide = Callable[[int, int], Any]


def arrangement(
    height: int, width: int, side: int, limits: tuple[int, int], divide: Divide = Fraction
) -> tuple[int, int]:
    """Rows and columns of tiles. Of all with as many tiles as the limits allow that whose
    proportions come nearest to the picture's; of several as near the one with most tiles that the
    picture fills by more than half, and without such a one that with fewest."""
    least, most = limits
    possible = [
        (rows, columns)
        for rows in range(1, most + 1)
        for columns in range(1, most // rows + 1)
        if rows * columns >= least
    ]
    ratio = divide(width, height)
    gaps = {grid: abs(ratio - divide(grid[1], grid[0])) for grid in possible}
    nearest = sorted(
        (grid for grid in possible if gaps[grid] == min(gaps.values())),
        key=lambda grid: grid[0] * grid[1],
    )
    filled = [g for g in nearest[1:] if 2 * height * width > side * side * g[0] * g[1]]
    return filled[-1] if filled else nearest[0]
