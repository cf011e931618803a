"""LLaVA-OneVision: what the recipe's ladder must show of any conversations, and its forward pass in
float64, by its report (arXiv 2408.03326), SigLIP's (arXiv 2303.15343), Qwen2's (arXiv 2407.10671)
and the numbers of its config.json. Texts are encoded as Qwen2's.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from . import digest, footprint, held, ladder, numerics, qwen2_vl, qwen2_vl_forward, siglip
from .architecture import Architecture, Shape
from .known import CONVERTED, IMAGE_URL, PADDING_COUNTED, rounded, tower_too
from .ladder import Known, Sample, Turns, Words, pictures
from .planted import Plant, set_to
from .resize import bicubic, centred

OWN, IMAGE = "suites/oracles/llava_onevision.py", "<image>"
WORDS = Words(
    template=OWN,
    vocabulary="suites/oracles/bpe.py over the snapshot's vocab.json and merges.txt",
    pictures=f"{OWN} in exact fractions",
    positions="counting",
    labels="suites/oracles/labels.py",
    together="template, tiles and BPE oracles together",
    masked="pad and image",
    encoded="byte-level BPE by its definition",
    kept="byte-level BPE loses nothing else",
    grid="a tile's patches, those of all tiles without margins, and one for each of their lines",
    token="a tile's patches, those of all tiles without margins, and one for each of their lines",
    placed="one after the other, pictures' tokens like any",
    model=OWN,
)
# The published tile, the most along a side, as many tiles' patches as are kept, and how many times
# as many along a side are let through before any is left out.
SIDE, ALONG, KEPT, SLACK = 384, 6, 9, Fraction(11, 10)
# Mean and deviation of every colour, and their level on the ground of a square.
MIDDLE, GROUND = 0.5, 127


def _size(
    rows: int, width: int, inner: int, layers: int, heads: int, keys: int, *, tied: bool
) -> Mapping[str, Any]:
    """SigLIP's 26 of 27 blocks, and a decoder with as many rows in its table."""
    return {
        "tie_word_embeddings": tied,
        "text_config": {
            "hidden_size": width,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": keys,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "vocab_size": rows,
        },
        "vision_config": {
            "hidden_size": 1152,
            "image_size": SIDE,
            "intermediate_size": 4304,
            "layer_norm_eps": 1e-6,
            "num_attention_heads": 16,
            "num_hidden_layers": 26,
            "patch_size": 14,
        },
    }


SIZES: Mapping[str, Mapping[str, Any]] = {
    "0.5b": _size(151936, 896, 4864, 24, 14, 2, tied=True),
    "7b": _size(152064, 3584, 18944, 28, 28, 4, tied=False),
}
# By arithmetic from the numbers above alone (a copy of the 7B's config.json lies beside
# mgoin/llava-onevision-qwen2-7b-ov-hf-bnb-full-4bit): no page was found that has all digits. What
# the hub rounds agrees: the publisher's own 0.5B at 75670c7 is a file of 1.79 GB in bfloat16, and a
# 7B trained on (zixianma/llava_ov_7b_tune_vision_293k-seq_len_8192-lr_1e-5-ep_2) has 8.03B.
COUNTS = {"0.5b": 893_618_208, "7b": 8_030_348_832}
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "angles of another base": {"text_config": {"rope_theta": 10_000.0}},
    "norms of another epsilon": {"text_config": {"rms_norm_eps": 1e-2}},
    "another activation in the tower": {"vision_config": {"hidden_act": "quick_gelu"}},
    "another activation in the connector": {"projector_hidden_act": "quick_gelu"},
    "fewer blocks in the tower": {"vision_config": {"num_hidden_layers": 1}},
    "an earlier block's patches": {"vision_feature_layer": -2},
    "the tower's norms of another epsilon": {"vision_config": {"layer_norm_eps": 1e-2}},
    "the tower's heads cut otherwise": {"vision_config": {"num_attention_heads": 4}},
    "fewer patches kept than the processor counts": {"vision_aspect_ratio": "anyres_max_4"},
    # Of the tied 0.5B: a head that nothing was loaded into.
    "a head of its own": {
        "tie_word_embeddings": False,
        "text_config": {"tie_word_embeddings": False},
    },
}
_CEIL = (
    "Into its tiles a picture is scaled so that no side exceeds them, the other rounded up; in "
    "doubles 225 · (336 / 300) is a bit more than 252, so a picture of 4:3 gets a line of pixels "
    "more than its proportions have and is laid elsewhere."
)
_CEILED = "transformers 5.24.0, image_processing_utils.get_patch_output_size"
KNOWN: Mapping[str, Sequence[Known]] = {
    "latest": (
        IMAGE_URL,
        *CONVERTED,
        *rounded("bicubic", "5000x4000", "flat", "slim"),
        *(Known(f"images.levels.*{c}", _CEIL, _CEILED, sized=False) for c in ("photo", "portrait")),
        *(Known(f"images.pillow_gap.*{c}", _CEIL, _CEILED) for c in ("photo", "portrait")),
        *tower_too("transformers 5.24.0, SiglipAttention"),
        PADDING_COUNTED,
    ),
}
ABSENT: Mapping[str, Mapping[str, str]] = {
    "latest": {
        "images.pillow_gap.maximum_plus_one": "pictures become tiles of one side: no such size",
        "images.resize_rule.square_3621": "pictures become tiles of one side: no root is rounded",
        "images.resize_rule.one_to_four": "pictures become tiles of one side: no root is rounded",
        "generation.sampling_is_greedy": "the published generation_config.json sets no top_k",
    },
}
_NORM = (
    "what leaves the tower is its last block's, before the norm behind it (vision_feature_layer)"
)
IDLE: Mapping[str, str] = {
    f"model.vision_tower.post_layernorm.{name}": _NORM for name in ("weight", "bias")
}
TEXT, VISION, CONNECTOR = "language_model", "vision_tower.vision_model", "multi_modal_projector"
HEAD, LINE = "language_model.lm_head", "image_newline"


class Family(qwen2_vl.Family):
    """The oracle of one snapshot. folder: its vocab.json, merges.txt, tokenizer_config.json and
    preprocessor_config.json are read."""

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
        return self.encoder.control[IMAGE]

    @property
    def never(self) -> frozenset[int]:
        """Ids that no label asks for."""
        return frozenset({self.picture})

    @cached_property
    def side(self) -> int:
        """Of a tile, px."""
        settings = ladder.read_json(self.folder / "preprocessor_config.json")
        return int(settings["size"]["height"])

    @property
    def each(self) -> int:
        """Patches along a tile's side."""
        return int(self.side // self.config["vision_config"]["patch_size"])

    def render(self, turns: Turns, **switches: bool) -> str:
        """A role and a space; of the turn's parts first pictures, then films, then every text
        behind a line break. A content that is one text has no parts."""
        out = ""
        for turn in turns:
            parts = [] if isinstance(turn["content"], str) else turn["content"]
            kinds = [part["type"] for part in parts]
            texts = "".join("\n" + part["text"] for part in parts if part["type"] == "text")
            shown = IMAGE * kinds.count("image") + "<video>" * kinds.count("video")
            out += f"<|im_start|>{turn['role']} {shown}{texts}<|im_end|>"
        return out + ("<|im_start|>assistant\n" if switches.get("add_generation_prompt") else "")

    def fetched(self, height: int, width: int) -> tuple[int, int]:
        """Nothing is resized before the processor does it."""
        return height, width

    def undecided(self, height: int, width: int) -> bool:
        """Where the choice in doubles is not the choice in fractions."""
        in_doubles = arrangement(height, width, self.side, lambda one, other: one / other)
        return in_doubles != arrangement(height, width, self.side)

    def grid(self, height: int, width: int) -> list[int]:
        """Rows and columns of tiles, their side, and the picture's own height and width."""
        return [*arrangement(height, width, self.side), self.side, height, width]

    def row_grids(self, sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
        """Neither rows nor columns of several: each becomes one square."""
        if len(sizes) == 1:
            return [self.grid(*sizes[0])]
        return [[0, 0, self.side, *size] for size in sizes]

    def tokens(self, height: int, width: int) -> int:
        """Of a row's only picture: the whole, and lines with their ends."""
        lines, places = kept(*self.inner(height, width), self.each)
        return self.each**2 + lines * (places + 1)

    def inner(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches without the margins: as many are cut off on either side."""
        rows, columns = (self.each * n for n in arrangement(height, width, self.side))
        if Fraction(width, height) > Fraction(columns, rows):
            return rows - (rows - math.floor(Fraction(height * columns, width))) // 2 * 2, columns
        return rows, columns - (columns - math.floor(Fraction(width * rows, height))) // 2 * 2

    def rule(self, height: int, width: int) -> tuple[int, int]:
        """What the tiles of the published size cover."""
        rows, columns = arrangement(height, width, SIDE)
        return rows * SIDE, columns * SIDE

    def tiles(self, picture: Any) -> Any:
        """uint8 (tiles, 3, side, side): the whole, then row by row as large as the tiles hold it,
        in the middle of black."""
        side, whole = self.side, picture.convert("RGB")
        rows, columns = arrangement(whole.height, whole.width, side)
        scale = min(Fraction(columns * side, whole.width), Fraction(rows * side, whole.height))
        size = math.ceil(whole.height * scale), math.ceil(whole.width * scale)
        spread = centred(bicubic(whole, size), (rows * side, columns * side), 0)
        cut = [
            spread[r * side : (r + 1) * side, c * side : (c + 1) * side]
            for r in range(rows)
            for c in range(columns)
        ]
        shown = [np.asarray(bicubic(whole, (side, side))), *cut]
        return np.stack(shown).transpose(0, 3, 1, 2)

    def squared(self, picture: Any) -> Any:
        """uint8 (1, 3, side, side): one of a row's several, on a square of its longer side."""
        whole = picture.convert("RGB")
        ground = centred(whole, (max(whole.size), max(whole.size)), GROUND)
        square = bicubic(Image.fromarray(ground), (self.side, self.side))
        return np.asarray(square).transpose(2, 0, 1)[None]

    def levels(self, picture: Any, path: Sequence[tuple[int, int]]) -> str | None:
        """Pillow's bicubic filter."""
        return digest.of_bytes(self.tiles(picture).tobytes())

    def expanded(self, turns: Turns) -> str:
        """The rendered conversation with every picture's tokens written out."""
        text, shown = self.render(turns), pictures(turns)
        for picture in shown:
            alone = self.tokens(picture.height, picture.width)
            text = text.replace(IMAGE, "\0" * (alone if len(shown) == 1 else self.each**2 + 1), 1)
        return text.replace("\0", IMAGE)

    def sample(self, turns: Turns) -> Sample:
        """Ids, and their places."""
        ids = self.encode(self.expanded(turns))
        return Sample(ids, [list(range(len(ids)))])

    def logits(self, turns: Turns) -> Any | None:
        """Tower, connector, lines, and Qwen2's decoder."""
        if not self.weights:
            return None
        sample = self.sample(turns)
        text, ids = self.config["text_config"], np.asarray(sample.ids)
        hidden = self.weights[f"{TEXT}.model.embed_tokens.weight"][ids]
        if pictures(turns):
            hidden[ids == self.picture] = self.shown(turns)
        width = text["hidden_size"] // text["num_attention_heads"]
        steps = numerics.frequencies(width, text["rope_theta"])
        angles = np.asarray(sample.positions[0], np.float64)[:, None] * steps
        for i in range(text["num_hidden_layers"]):
            at = f"{TEXT}.model.layers.{i}"
            hidden = qwen2_vl_forward.layer(self.weights, at, text, hidden, angles)
        norm = self.weights[f"{TEXT}.model.norm.weight"]
        hidden = numerics.rms_norm(hidden, norm, text["rms_norm_eps"])
        tied = self.config.get("tie_word_embeddings")
        return (
            hidden
            @ self.weights[f"{TEXT}.model.embed_tokens.weight" if tied else f"{HEAD}.weight"].T
        )

    def shown(self, turns: Turns) -> Any | None:
        """A picture alone is cut into tiles, several are not."""
        if not self.weights:
            return None
        several = pictures(turns)
        each = self.lines if len(several) == 1 else self.line
        return np.concatenate([each(picture) for picture in several])

    def line(self, picture: Any) -> Any:
        """(tokens, width) of one on a square: its patches, and one end."""
        return np.concatenate([self.seen(self.squared(picture))[0], self.weights[LINE][None]])

    def lines(self, picture: Any) -> Any:
        """(tokens, width): the whole, then lines of all tiles' patches, each ended."""
        seen, size = self.seen(self.tiles(picture)), (picture.height, picture.width)
        rows, columns = arrangement(*size, self.side)
        each, width = self.each, seen.shape[-1]
        spread = seen[1:].reshape(rows, columns, each, each, width).transpose(0, 2, 1, 3, 4)
        spread = spread.reshape(rows * each, columns * each, width)
        inner = self.inner(*size)
        above, beside = ((n - m) // 2 for n, m in zip(spread.shape, inner, strict=False))
        cut = spread[above : above + inner[0], beside : beside + inner[1]]
        high, wide = kept(*inner, each)
        if (high, wide) != inner:
            cut = np.einsum(
                "ir,jc,rcw->ijw",
                numerics.between(inner[0], high),
                numerics.between(inner[1], wide),
                cut,
            )
        ends = np.broadcast_to(self.weights[LINE], (high, 1, width))
        ended = np.concatenate([cut, ends], axis=1).reshape(-1, width)
        return np.concatenate([seen[0], ended])

    def seen(self, tiles: Any) -> Any:
        """float64 (tiles, patches, width of the decoder): every patch sees those of its tile. The
        norm behind the tower's blocks is left out."""
        weights, vision = self.weights, self.config["vision_config"]
        places, out = weights[f"{VISION}.embeddings.position_embedding.weight"], []
        for tile in (tiles / 255.0 - MIDDLE) / MIDDLE:
            hidden = siglip.embedded(weights, VISION, tile) + places
            x = siglip.blocks(weights, VISION, vision, hidden)
            x = numerics.gelu(numerics.linear(x, weights, f"{CONNECTOR}.linear_1"))
            out.append(numerics.linear(x, weights, f"{CONNECTOR}.linear_2"))
        return np.stack(out)


def oracle(folder: Path) -> Family:
    """The oracle of a snapshot."""
    return Family(folder)


Divide = Callable[[int, int], Any]


def arrangement(height: int, width: int, side: int, divide: Divide = Fraction) -> tuple[int, int]:
    """Rows and columns of tiles. Scaled to each arrangement the picture shows so many pixels, never
    more than its own; the one with most is chosen, of those the one that wastes least."""
    best, most = (0, 0), (-1, 0)
    for rows in range(1, ALONG + 1):
        for columns in range(1, ALONG + 1):
            scale = min(divide(side * columns, width), divide(side * rows, height))
            shown = min(int(width * scale) * int(height * scale), width * height)
            if (shown, -rows * columns) > most:
                best, most = (rows, columns), (shown, -rows * columns)
    return best


def kept(rows: int, columns: int, each: int) -> tuple[int, int]:
    """Rows and columns of patches after interpolation, each: along a tile's side. Both are divided
    by how many times as many there are along a side as nine tiles have, and rounded down."""
    most = KEPT * each**2
    if rows * columns <= SLACK**2 * most:
        return rows, columns
    return math.isqrt(rows * most // columns), math.isqrt(columns * most // rows)


def linears(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every Linear's (out, in), by canonical name."""
    text, vision = config["text_config"], config["vision_config"]
    width = text["hidden_size"]
    shapes = {f"{TEXT}.{n}": shape for n, shape in footprint.decoder_linears(text).items()}
    shapes |= siglip.linears(vision, VISION)
    shapes[f"{CONNECTOR}.linear_1"] = (width, vision["hidden_size"])
    shapes[f"{CONNECTOR}.linear_2"] = (width, width)
    return {**shapes, HEAD: (text["vocab_size"], width)}


def parameters(config: Mapping[str, Any]) -> dict[str, Shape]:
    """Every parameter's shape. All Linears that see pictures have biases, the decoder's queries,
    keys and values too."""
    text, vision = config["text_config"], config["vision_config"]
    width = text["hidden_size"]
    shapes: dict[str, Shape] = {
        LINE: (width,),
        f"{TEXT}.model.embed_tokens.weight": (text["vocab_size"], width),
        f"{TEXT}.model.norm.weight": (width,),
        **siglip.rest(vision, VISION),
    }
    for name, shape in linears(config).items():
        shapes[f"{name}.weight"] = shape
        if not name.startswith(TEXT) or name.endswith(("q_proj", "k_proj", "v_proj")):
            shapes[f"{name}.bias"] = shape[:1]
    for i in range(text["num_hidden_layers"]):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{TEXT}.model.layers.{i}.{norm}.weight"] = (width,)
    if config.get("tie_word_embeddings"):
        del shapes[f"{HEAD}.weight"]
    return shapes


def part(name: str) -> str:
    """Component of a parameter."""
    if name.startswith((CONNECTOR, LINE)):
        return "merger"
    if name.startswith(VISION):
        return "patch_embed" if ".patch_embedding." in name else "vision"
    if name.startswith(HEAD):
        return "lm_head"
    if "embed_tokens" in name:
        return "embed_tokens"
    return "norms" if "norm" in name else "language"


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Every matrix, by canonical name."""
    return Architecture(
        linears(config),
        parameters(config),
        part,
        frozenset({HEAD}),
        lambda name: name.startswith(VISION),
        f"{TEXT}.model.layers",
    )


def settings(config: Mapping[str, Any]) -> Mapping[str, held.Settings]:
    """What its modules compute with, by part."""
    connector = {"activation": [config.get("projector_hidden_act", "gelu")]}
    tower = held.siglip(config["vision_config"])
    return {"decoder": held.llama(config["text_config"]), "tower": tower, "connector": connector}


def _reordered(places: Callable[[int], Sequence[int]]) -> Plant:
    """What leaves the connector, its tiles in another order: their places for so many."""

    def turned(module: Any, args: Any, out: Any) -> Any:
        return out[[*places(len(out))]]

    return lambda model: model.model.multi_modal_projector.register_forward_hook(turned)


def _while_packed(module: Callable[[Any], Any], name: str, other: Callable[[Any], Any]) -> Plant:
    """A function of a module exchanged while pictures become lines. other: of the own one."""

    def planted(model: Any) -> None:
        inner, there = model.model, module(model.model)
        packed = inner.pack_image_features

        def exchanged(*args: Any, **kwargs: Any) -> Any:
            own = getattr(there, name)
            setattr(there, name, other(own))
            try:
                return packed(*args, **kwargs)
            finally:
                setattr(there, name, own)

        inner.pack_image_features = exchanged

    return planted


def _library(inner: Any) -> Any:
    return sys.modules[type(inner).__module__]


def _normed(model: Any) -> None:
    norm = model.model.vision_tower.post_layernorm
    model.model.multi_modal_projector.register_forward_pre_hook(lambda module, args: norm(args[0]))


PLANTED: Mapping[str, Plant] = {
    "lines without an end": set_to("image_newline", 0.0),
    "patches without places": set_to("position_embedding.weight", 0.0),
    "margins cut a line too low": _while_packed(
        _library, "unpad_image", lambda own: lambda lines, size: own(lines.roll(1, 1), size)
    ),
    "the nearest patch instead of those between": _while_packed(
        lambda inner: _library(inner).nn.functional,
        "interpolate",
        lambda own: lambda lines, size, mode: own(lines, size),
    ),
    "tiles in the wrong order": _reordered(lambda n: [0, *range(n - 1, 0, -1)]),
    "the whole picture last": _reordered(lambda n: [*range(1, n), 0]),
    "the tower's last norm put in": _normed,
    "queries without biases": set_to("q_proj.bias", 0.0, "language_model"),
    "keys without biases": set_to("k_proj.bias", 0.0, "language_model"),
    "values without biases": set_to("v_proj.bias", 0.0, "language_model"),
}
