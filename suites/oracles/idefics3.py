"""SmolVLM (Idefics3): what the recipe's ladder must show of any conversations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import regex
from PIL import Image

from . import bpe, digest, held, idefics3_model, ladder, numerics
from .architecture import Architecture
from .idefics3_known import ABSENT as ABSENT
from .idefics3_known import KNOWN as KNOWN
from .idefics3_planted import PLANTED as PLANTED
from .ladder import Sample, Turns, Words, pictures

BEGIN, END, PAD, UNKNOWN = "<|im_start|>", "<end_of_utterance>", "<|im_end|>", "<|endoftext|>"
IMAGE, AROUND, WHOLE = "<image>", "<fake_token_around_image>", "<global-img>"
PLACES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
MASKED = (AROUND, IMAGE, WHOLE, *PLACES)
HEADERS = {"System:": "system", "User:": "user", "Assistant:": "assistant"}
# GPT-2's rule (Radford et al., 2019), on what is between single digits.
GPT2 = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
WORDS = Words(
    template="suites/oracles/idefics3.py by the template's behaviour",
    vocabulary="suites/oracles/bpe.py over the snapshot's vocab.json and merges.txt",
    pictures="suites/oracles/idefics3.py in exact integers",
    positions="counting",
    labels="suites/oracles/idefics3.py, turn by turn",
    together="template, tiles and BPE oracles together",
    masked="pad and the tokens for, around and between a picture's tiles",
    encoded="byte-level BPE by its definition, digits cut out first",
    kept="byte-level BPE loses nothing",
    grid="a token for each square of patches, of every tile and of the whole picture",
    token="the same number for every tile, and for the whole picture",
    placed="one after the other, from the row's first token on",
    model="suites/oracles/idefics3_model.py",
    resized="Pillow's Lanczos",
)
_SMALL: dict[str, Any] = {
    "scale_factor": 4,
    "tie_word_embeddings": False,
    "text_config": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "vocab_size": 49280,
    },
    "vision_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_channels": 3,
        "image_size": 512,
        "patch_size": 16,
        "layer_norm_eps": 1e-6,
    },
}
SIZES: Mapping[str, Mapping[str, Any]] = {
    "256m": _SMALL,
    "500m": {
        **_SMALL,
        "text_config": {
            **_SMALL["text_config"],
            "hidden_size": 960,
            "intermediate_size": 2560,
            "num_hidden_layers": 32,
            "num_attention_heads": 15,
            "num_key_value_heads": 5,
        },
    },
    "2b": {
        **_SMALL,
        "scale_factor": 3,
        "text_config": {
            **_SMALL["text_config"],
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 24,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "rope_theta": 273768.0,
            "vocab_size": 49155,
        },
        "vision_config": {
            **_SMALL["vision_config"],
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "image_size": 384,
            "patch_size": 14,
        },
    },
}
# Of the two small ones several public repositories measured them; the 2.2B's is recollected from
# its model page and was not looked up again.
COUNTS = {"256m": 256_484_928, "500m": 507_482_304, "2b": 2_246_272_880}
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "angles of another base": {"text_config": {"rope_theta": 10_000.0}},
    "norms of another epsilon": {"text_config": {"rms_norm_eps": 1e-2}},
    "another activation in the tower": {"vision_config": {"hidden_act": "quick_gelu"}},
    "fewer layers in the tower": {"vision_config": {"num_hidden_layers": 1}},
    "the tower's norms of another epsilon": {"vision_config": {"layer_norm_eps": 1e-2}},
    "the tower's heads cut otherwise": {"vision_config": {"num_attention_heads": 4}},
}
IDLE: Mapping[str, str] = {}


class Family:
    """The oracle of one snapshot. folder: its vocab.json, merges.txt, tokenizer_config.json,
    preprocessor_config.json and processor_config.json are read."""

    words = WORDS

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def lacks(self) -> str:
        """Why texts cannot be encoded."""
        if all((self.folder / name).is_file() for name in ("vocab.json", "merges.txt")):
            return ""
        return "the snapshot has no vocab.json and merges.txt to encode them with"

    @cached_property
    def constants(self) -> Mapping[str, tuple[Any, str]]:
        """The side is the library's default where the snapshot says none."""
        settings = ladder.read_json(self.folder / "tokenizer_config.json")
        return {
            "padding_side": (settings.get("padding_side", "right"), "the snapshot's own setting"),
            "pad_token": (PAD, "ends no turn here"),
            "eos_token": (END, "ends every turn"),
        }

    @cached_property
    def encoder(self) -> bpe.Encoder:
        """Of the snapshot's vocabulary."""
        return bpe.Encoder.from_folder(self.folder, words)

    @property
    def pad(self) -> int:
        """The id of padding."""
        return self.encoder.control[PAD]

    @property
    def picture(self) -> int:
        """The id that stands once per position of a picture."""
        return self.encoder.control[IMAGE]

    @cached_property
    def never(self) -> frozenset[int]:
        """Ids that no label asks for; the 2.2B spells a tile's place in letters."""
        control = self.encoder.control
        return frozenset(control[token] for token in MASKED if token in control)

    @cached_property
    def side(self) -> int:
        """Of a tile, px."""
        return int(self._settings["max_image_size"]["longest_edge"])

    @cached_property
    def longest(self) -> int:
        """The longer side that every picture gets, px."""
        return int(self._settings["size"]["longest_edge"])

    @cached_property
    def of_tile(self) -> int:
        """Positions that a tile takes."""
        return int(ladder.read_json(self.folder / "processor_config.json")["image_seq_len"])

    @cached_property
    def _settings(self) -> Mapping[str, Any]:
        return ladder.read_json(self.folder / "preprocessor_config.json")

    def render(self, turns: Turns, **switches: bool) -> str:
        """Begun once; a role's name, a colon, a space unless a picture comes first. Of parts only
        texts and pictures are written; a content that is one text has no parts."""
        pieces = [BEGIN]
        for turn in turns:
            content = [] if isinstance(turn["content"], str) else turn["content"]
            shows = bool(content) and content[0]["type"] == "image"
            pieces.append(f"{turn['role'].capitalize()}:" + ("" if shows else " "))
            for part in content:
                pieces.append({"image": IMAGE, "text": part.get("text", "")}.get(part["type"], ""))
            pieces.append(f"{END}\n")
        if switches.get("add_generation_prompt"):
            pieces.append("Assistant:")
        return "".join(pieces)

    def encode(self, text: str) -> list[int]:
        """Byte-level BPE."""
        return self.encoder.encode(text)

    def decoded(self, text: str) -> str:
        """The text itself: nothing is normalised."""
        return text

    def fetched(self, height: int, width: int) -> tuple[int, int]:
        """Nothing is resized before the processor does it."""
        return height, width

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """The longer side made `longest`; the shorter one cut to whole px, then made even."""
        return fit(height, width, self.longest)

    def undecided(self, height: int, width: int) -> bool:
        """Where the shorter side comes out whole and odd, and a quotient of quotients does not."""
        long, short = max(height, width), min(height, width)
        rounded = int(self.longest / (long / short))
        return max(rounded + rounded % 2, 1) != min(self.fit(height, width))

    def grid(self, height: int, width: int) -> list[int]:
        """Rows and columns of tiles, none of a picture as small as one; a tile's side."""
        fitted = self.fit(height, width)
        if max(fitted) <= self.side:
            return [0, 0, self.side]
        return [*(-(-length // self.side) for length in fitted), self.side]

    def tokens(self, height: int, width: int) -> int:
        """Of all tiles, and of the whole picture."""
        rows, columns, _ = self.grid(height, width)
        return (rows * columns + 1) * self.of_tile

    def rule(self, height: int, width: int) -> tuple[int, int]:
        """At the 256M's settings."""
        return fit(height, width, 2048)

    def tiles(self, picture: Any) -> Any:
        """uint8 (tiles, 3, side, side): row by row, then the whole picture."""
        rows, columns, side = self.grid(picture.height, picture.width)
        scaled = lanczos(picture.convert("RGB"), self.fit(picture.height, picture.width))
        scaled = lanczos(scaled, (max(rows, 1) * side, max(columns, 1) * side))
        shown = [
            scaled.crop((side * c, side * r, side * (c + 1), side * (r + 1)))
            for r in range(rows)
            for c in range(columns)
        ]
        shown.append(lanczos(scaled, (side, side)))
        return np.stack([np.asarray(tile).transpose(2, 0, 1) for tile in shown])

    def levels(self, picture: Any, path: Sequence[tuple[int, int]]) -> str | None:
        """Lanczos' filter by Pillow, three times."""
        return digest.of_bytes(self.tiles(picture).tobytes())

    def expanded(self, turns: Turns) -> str:
        """The rendered conversation with every picture's place written out."""
        text = self.render(turns)
        for picture in pictures(turns):
            rows, columns, _ = self.grid(picture.height, picture.width)
            text = text.replace(IMAGE, self.spelled(rows, columns), 1)
        return text.replace("\0", IMAGE)

    def spelled(self, rows: int, columns: int) -> str:
        """A picture in a text: each tile behind its place, a line for each row, an empty one before
        the whole picture."""
        tile = "\0" * self.of_tile
        whole = f"{AROUND}{WHOLE}{tile}{AROUND}"
        lines = [
            "".join(f"{AROUND}<row_{r + 1}_col_{c + 1}>{tile}" for c in range(columns)) + "\n"
            for r in range(rows)
        ]
        return "".join([*lines, "\n", whole]) if lines else whole

    def sample(self, turns: Turns) -> Sample:
        """Ids, and their places."""
        ids = self.encode(self.expanded(turns))
        return Sample(ids, [list(range(len(ids)))])

    def logits(self, turns: Turns) -> Any | None:
        """Tower, connector and decoder."""
        sample = self.sample(turns)
        if not self.weights:
            return None
        tiles = self.normalised(turns)
        return idefics3_model.forward(self.weights, self.config, sample, self.picture, tiles)

    def shown(self, turns: Turns) -> Any | None:
        """Tower and connector, tile by tile, of pictures that tiles of this side fit."""
        sides = [side for p in pictures(turns) for side in p.size]
        if not self.weights or any(side % self.side for side in sides):
            return None
        tiles = self.normalised(turns)
        return np.concatenate([idefics3_model.seen(self.weights, self.config, t) for t in tiles])

    def normalised(self, turns: Turns) -> list[Any]:
        """float64 (3, side, side) of every tile of every picture."""
        return [
            (tile.astype(np.float64) / 255.0 - 0.5) / 0.5
            for picture in pictures(turns)
            for tile in self.tiles(picture)
        ]

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """config.json."""
        return ladder.read_json(self.folder / "config.json")

    @cached_property
    def weights(self) -> Mapping[str, Any]:
        """float64 by name; none where there are none, or too many to be worked out so."""
        return numerics.weights_of(self.folder, ladder.MOST_WEIGHTS)

    def turns(self, ids: Sequence[int]) -> Iterator[tuple[str, int, int]]:
        """(role, begin, end) of every turn's own text: behind a name and a colon that stand outside
        a turn, up to its end."""
        names = [(role, self.encode(name)) for name, role in HEADERS.items()]
        i = 0
        while i < len(ids):
            role, name = next(
                ((r, n) for r, n in names if list(ids[i : i + len(n)]) == n), ("", [ids[i]])
            )
            i += len(name)
            if role:
                begin = i
                while i < len(ids) and ids[i] != self.encoder.control[END]:
                    i += 1
                yield role, begin, i

    def answer(self, ids: Sequence[int]) -> int:
        """Behind the last answer's colon."""
        return max(begin for role, begin, _ in self.turns(ids) if role == "assistant")

    def roles(self, ids: Sequence[int]) -> list[str]:
        """By turns; line breaks between tiles are the user's text."""
        out = ["control"] * len(ids)
        for role, begin, end in self.turns(ids):
            for i in range(begin, end):
                if ids[i] not in self.encoder.control.values():
                    out[i] = role
        return out


def oracle(folder: Path) -> Family:
    """The oracle of a snapshot."""
    return Family(folder)


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Every matrix, by name."""
    return idefics3_model.architecture(config)


def settings(config: Mapping[str, Any]) -> Mapping[str, held.Settings]:
    """What its modules compute with, by part."""
    text, vision = idefics3_model.text_of(config), idefics3_model.vision_of(config)
    return {"decoder": held.llama(text), "tower": held.siglip(vision)}


def words(text: str) -> list[str]:
    """What is paired byte by byte: every digit by itself, the rest by GPT-2's rule."""
    pieces = regex.split(r"(\p{N})", text)
    return [word for piece in pieces for word in GPT2.findall(piece)]


def fit(height: int, width: int, longest: int) -> tuple[int, int]:
    """(height, width), in integers."""
    short = longest * min(height, width) // max(height, width)
    short = max(short + short % 2, 1)
    return (short, longest) if width >= height else (longest, short)


def lanczos(picture: Any, size: tuple[int, int]) -> Any:
    """Rows first, then columns, as Pillow up to 12 does it. size: (height, width)."""
    height, width = size
    rows = picture.resize((width, picture.height), Image.Resampling.LANCZOS)
    return rows.resize((width, height), Image.Resampling.LANCZOS)
