"""Gemma 3: what the recipe's ladder must show of any conversations, all its oracles together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from . import digest, ladder, numerics, sentence_pieces
from .gemma3_architecture import COUNTS as COUNTS
from .gemma3_architecture import PATCH, SIDE
from .gemma3_architecture import SIZES as SIZES
from .gemma3_architecture import architecture as architecture
from .gemma3_architecture import settings as settings
from .gemma3_forward import forward, seen
from .gemma3_known import ABSENT as ABSENT
from .gemma3_known import KNOWN as KNOWN
from .ladder import Sample, Turns, Words, pictures

BEGIN, START, END = "<bos>", "<start_of_turn>", "<end_of_turn>"
BEFORE, SOFT, BEHIND = "<start_of_image>", "<image_soft_token>", "<end_of_image>"
ROLES = {"user": "user", "assistant": "model"}
OWN = "suites/oracles/gemma3.py"
WORDS = Words(
    template=OWN,
    vocabulary="suites/oracles/sentence_pieces.py over the snapshot's tokenizer.json",
    pictures=OWN,
    positions=OWN,
    labels=OWN,
    together=OWN,
    masked="pad, start_of_image, end_of_image and image_soft_token",
    encoded="SentencePiece's BPE by its definition",
    kept="spaces and bytes come back as they were; a space's own mark comes back as a space",
    grid="one per square of patches that are averaged",
    token="the same number for every picture",
    placed="one after the other, pictures' tokens like any",
    model="suites/oracles/gemma3_forward.py",
)
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "windows ignored": {"text_config": {"sliding_window": 4096}},
    "windows one token shorter": {"text_config": {"sliding_window": 23}},
    "windows in other layers": {"text_config": {"sliding_window_pattern": 3}},
    "windows with the other layers' angles": {"text_config": {"rope_local_base_freq": 1e6}},
    "angles of another base": {"text_config": {"rope_theta": 10_000.0}},
    "positions not divided": {"text_config": {"rope_scaling": None}},
    "scores scaled by a head's width": {"text_config": {"query_pre_attn_scalar": 32}},
    "norms of another epsilon": {"text_config": {"rms_norm_eps": 1e-2}},
    "another activation": {"text_config": {"hidden_activation": "silu"}},
    "another activation in the tower": {"vision_config": {"hidden_act": "quick_gelu"}},
    "norms of another epsilon in the tower": {"vision_config": {"layer_norm_eps": 1e-2}},
    "fewer blocks in the tower": {"vision_config": {"num_hidden_layers": 1}},
    "a head of its own": {"tie_word_embeddings": False},
}


def _as_it_came(module: Any) -> None:
    module.forward = lambda x: x


def _without_norms_of_heads(model: Any) -> None:
    for layer in model.model.language_model.layers:
        _as_it_came(layer.self_attn.q_norm)
        _as_it_came(layer.self_attn.k_norm)


def _norms_as_stored(model: Any) -> None:
    for name, weight in model.named_parameters():
        if name.startswith("model.language_model.") and "norm" in name:
            weight.data -= 1.0


def _unscaled(model: Any) -> None:
    model.model.language_model.embed_tokens.embed_scale.fill_(1.0)


def _largest_of_a_square(model: Any) -> None:
    pool = model.model.multi_modal_projector.avg_pool
    pool.forward = lambda x: x[..., :: pool.kernel_size, :: pool.kernel_size]


# Parts that no number of the config leaves out: what is done to a loaded model.
PLANTED: Mapping[str, Callable[[Any], None]] = {
    "norms of queries and keys left out": _without_norms_of_heads,
    "norms' weights taken as they are stored": _norms_as_stored,
    "an embedding that is not scaled": _unscaled,
    "one patch of a square instead of their mean": _largest_of_a_square,
}
IDLE: Mapping[str, str] = {}


class Family:
    """The oracle of one snapshot. folder: its tokenizer.json, preprocessor_config.json and
    processor_config.json are read."""

    words = WORDS
    start, end = START, END
    before, soft, behind = BEFORE, SOFT, BEHIND
    names: Mapping[str, str] = ROLES
    constants: Mapping[str, tuple[Any, str]] = {
        "padding_side": ("left", "the tokenizer's own default; the snapshot does not say"),
        "pad_token": ("<pad>", "not the eos token"),
        "eos_token": ("<eos>", "ends a document; a turn ends with <end_of_turn>"),
        "begin_tokens": (1, "the template writes it: the tokenizer must not add another"),
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def lacks(self) -> str:
        """Why texts cannot be encoded."""
        whole = (self.folder / "tokenizer.json").is_file()
        return "" if whole else "the snapshot has no tokenizer.json to encode them with"

    @cached_property
    def encoder(self) -> sentence_pieces.Encoder:
        """Of the snapshot's vocabulary."""
        return sentence_pieces.Encoder.from_folder(self.folder)

    @property
    def pad(self) -> int:
        """The id of padding."""
        return self.encoder.added["<pad>"]

    @property
    def picture(self) -> int:
        """The id that stands once per position of a picture."""
        return self.encoder.added[self.soft]

    @property
    def never(self) -> frozenset[int]:
        """Ids that no label asks for."""
        return frozenset(
            self.encoder.added[token] for token in (self.before, self.soft, self.behind)
        )

    @property
    def controls(self) -> frozenset[int]:
        """Ids of no role's text."""
        others = (BEGIN, self.start, self.end, "<eos>", "<pad>")
        return self.never | {self.encoder.added[token] for token in others}

    def render(self, turns: Turns, *, add_generation_prompt: bool = False) -> str:
        """The begin token; the system's first text before that of the first turn; texts without
        white space around them, nothing between parts."""
        opening, spoken = "", list(turns)
        if spoken[0]["role"] == "system":
            told = spoken.pop(0)["content"]
            opening = (told if isinstance(told, str) else told[0]["text"]) + "\n\n"
        out = BEGIN
        for turn in spoken:
            content = turn["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            texts = {"image": lambda part: BEFORE, "text": lambda part: part["text"].strip()}
            shown = [texts[part["type"]](part) for part in parts if part["type"] in texts]
            out += f"{START}{ROLES[turn['role']]}\n{opening}{''.join(shown)}{END}\n"
            opening = ""
        return out + (f"{START}model\n" if add_generation_prompt else "")

    def encode(self, text: str) -> list[int]:
        """Pieces, and bytes for what is none."""
        return self.encoder.encode(text)

    def decoded(self, text: str) -> str:
        """The mark of a space is read back as one."""
        return text.replace(sentence_pieces.SPACE, " ")

    @cached_property
    def side(self) -> int:
        """Of the square that every picture becomes."""
        return int(ladder.read_json(self.folder / "preprocessor_config.json")["size"]["height"])

    @cached_property
    def count(self) -> int:
        """Tokens of a picture."""
        return int(ladder.read_json(self.folder / "processor_config.json")["image_seq_length"])

    def fetched(self, height: int, width: int) -> tuple[int, int]:
        """Nothing resizes before the processor does."""
        return height, width

    def undecided(self, height: int, width: int) -> bool:
        """Never."""
        return False

    def grid(self, height: int, width: int) -> list[int]:
        """Rows and columns of patches."""
        return [self.side // PATCH] * 2

    def tokens(self, height: int, width: int) -> int:
        """Of any picture."""
        return self.count

    def rule(self, height: int, width: int) -> tuple[int, int]:
        """The published square."""
        return SIDE, SIDE

    def levels(self, picture: Any, path: Sequence[tuple[int, int]]) -> str | None:
        """Pillow's bilinear filter, rows first and then columns; colour by colour."""
        if picture.size != (self.side, self.side):
            filtered = Image.Resampling.BILINEAR
            rows = picture.resize((self.side, picture.height), filtered)
            picture = rows.resize((self.side, self.side), filtered)
        return digest.of_bytes(np.asarray(picture).transpose(2, 0, 1).tobytes())

    def sample(self, turns: Turns) -> Sample:
        """Ids, and one axis. Line breaks stand around a picture, two on either side."""
        whole = f"\n\n{BEFORE}{SOFT * self.count}{BEHIND}\n\n"
        ids = self.encode(self.render(turns).replace(BEFORE, whole))
        return Sample(ids, [list(range(len(ids)))])

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """config.json."""
        return ladder.read_json(self.folder / "config.json")

    @cached_property
    def weights(self) -> Mapping[str, Any]:
        """float64 by name; none where there are none, or too many to be worked out so."""
        return numerics.weights_of(self.folder, ladder.MOST_WEIGHTS)

    def logits(self, turns: Turns) -> Any | None:
        """Of pictures that no resize touches."""
        return self.forward(self.sample(turns), self.arrays(turns)) if self.weights else None

    def shown(self, turns: Turns) -> Any | None:
        """Of such pictures too."""
        if not self.weights:
            return None
        return np.concatenate([self.seen(picture) for picture in self.arrays(turns)])

    def arrays(self, turns: Turns) -> list[Any]:
        """uint8 (height, width, 3) of every picture."""
        arrays = [np.asarray(p.convert("RGB")) for p in pictures(turns)]
        assert all(self.fits(*p.shape[:2]) for p in arrays)
        return arrays

    def fits(self, height: int, width: int) -> bool:
        """Whether no resize touches a picture."""
        return (height, width) == (self.side, self.side)

    def forward(self, sample: Sample, arrays: Sequence[Any]) -> Any:
        """float64 (tokens, vocabulary)."""
        return forward(self.weights, self.config, sample, self.picture, arrays)

    def seen(self, picture: Any) -> Any:
        """float64 (tokens, width) of one picture."""
        return seen(self.weights, self.config, picture)

    def answer(self, ids: Sequence[int]) -> int:
        """After the last model header and the one token of its line break."""
        header = self.encode(f"{self.start}model")
        starts = range(len(ids) - len(header) + 1)
        last = max(i for i in starts if list(ids[i : i + len(header)]) == header)
        return last + len(header) + 1

    def roles(self, ids: Sequence[int]) -> list[str]:
        """By turns; the role's name and the token of the line break after it are control."""
        out = ["control"] * len(ids)
        start, end = self.encoder.added[self.start], self.encoder.added[self.end]
        names = {role: self.encode(name) for role, name in self.names.items()}
        role, behind = "control", 0
        for i, token in enumerate(ids):
            if token == start:
                role, name = next(
                    (r, n) for r, n in names.items() if list(ids[i + 1 : i + 1 + len(n)]) == n
                )
                behind = i + 1 + len(name) + 1
            elif token == end:
                role = "control"
            elif i >= behind and token not in self.controls:
                out[i] = role
        return out


def oracle(folder: Path) -> Family:
    """The oracle of a snapshot."""
    return Family(folder)
