"""What a family says of itself. A family is one file; its module is checked against `Family`.

Facts are capitals, what needs a model or a batch at hand is a function. Nothing here knows one
family; nothing outside a family's file knows its tokens, names, sizes or formulas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from harness.measuring.models._samples import PixelLimits as PixelLimits
from harness.measuring.models._samples import Samples as Samples
from harness.records.components import Component

# What a picture's tokens may see: what stands before them, or each other too.
Mask = Literal["causal", "pictures see both ways"]
# What a batch's tensor has along its first axis.
Axis = Literal["row", "picture", "patch"]


@dataclass(frozen=True)
class Published:
    """One published size. revision: the commit of the hub that these facts are of.

    config: the shape-giving numbers of its config.json, so that its inventory is judged without
    any snapshot. control_ids: ids of its control tokens, by which a vocabulary is recognised.
    """

    model_id: str
    revision: str
    config: Mapping[str, Any]
    control_ids: Mapping[str, int]


@dataclass(frozen=True)
class Chat:
    """How a conversation is spelled.

    turn_start, turn_end: around a turn; turn_start may be '' where a role's name begins it.
    roles: what the template writes for `system`, `user`, `assistant`; a role that has no turn of
    its own is left out. after_role: between the role's name and its text. image: the token that
    stands once per position that a picture takes. masked: what no label asks for besides padding.
    others: further control tokens, no text of any role. numbering: the template's switch that
    numbers pictures, '' for none. ordinary: a regular expression of added tokens that are plain
    text, such as runs of line breaks; '' for none. beside: words that the processor writes beside
    a picture that it cuts.
    """

    turn_start: str
    turn_end: str
    roles: Mapping[str, str]
    after_role: str
    image: str
    masked: tuple[str, ...]
    others: tuple[str, ...] = ()
    numbering: str = ""
    ordinary: str = ""
    beside: tuple[str, ...] = ()

    @property
    def controls(self) -> tuple[str, ...]:
        """Every control token named here, each once."""
        named = (*self.masked, self.image, self.turn_start, self.turn_end, *self.others)
        return tuple(dict.fromkeys(token for token in named if token))

    def header(self, role: str) -> str:
        """What begins a role's turn, without what follows its name."""
        return self.turn_start + self.roles[role]


@dataclass(frozen=True)
class BatchTensor:
    """A tensor that the processor gives. rung: which one answers for it. axis: its first one.

    holds: `pixels` are compared to a thousandth of a standard deviation; `marks` say which
    tokens are pictures and follow from the ids; `mask` is as long as the pixels are on its axes
    and 0 where they are no picture's: a row's pictures, all zero, that fill it up to the longest.
    """

    rung: str
    axis: Axis = "row"
    holds: Literal["numbers", "pixels", "marks", "mask"] = "numbers"


@dataclass(frozen=True)
class Parts:
    """The modules of a loaded model (never peft's wrapper).

    decoder: takes embeddings, gives hidden states. owner: the module that is given the ids and
    derives positions from them. layers, rotary, embedding: the decoder's. attention, mlps: of
    each layer that has one. head: hidden states to logits. tower: pictures to what enters the
    decoder, connector included unless that lies behind it. patch_embedding, blocks, connector: the
    tower's. leaving: what gives the decoder its pictures, where that is not the tower.
    """

    decoder: Any
    owner: Any
    layers: Sequence[Any]
    attention: Sequence[Any]
    mlps: Sequence[Any]
    rotary: Any
    embedding: Any
    head: Any
    tower: Any
    patch_embedding: Any
    blocks: Sequence[Any]
    connector: Any
    leaving: Any = None


@dataclass(frozen=True)
class TowerCall:
    """One picture on its way into the tower. pixels: (patches, …). shape: int64 (1, axes), what
    beside the pixels tells it from another picture. rest: arguments that hold for all."""

    pixels: Any
    shape: Any
    rest: Mapping[str, Any]


@dataclass(frozen=True)
class OnePicture:
    """A picture as the processor gives it. pixels: its tensor. grid: whole numbers by axis, as
    the family counts. tokens: positions that it takes in a text."""

    pixels: Any
    grid: list[int]
    tokens: int


@dataclass(frozen=True)
class Proportions:
    """How wide pictures are for their height. shown: by a grid. least, most: those of the pictures
    that come out at it, of any size."""

    least: float
    shown: float
    most: float


class Family(Protocol):
    """A module of this folder.

    TITLE: its name in sentences. SPECIAL: what it has that others have not, in a few words.
    MODEL_TYPES: config.json's `model_type`s. NEEDS: version
    specifier by distribution; elsewhere it is NOT_RUN. ARCHITECTURE, IMAGE_PROCESSOR: classes of
    transformers. PUBLISHED: by size. TENSORS: what the processor gives. SPLIT: the regular
    expression that cuts texts before bytes are paired. CONFIG_TOKENS: config field by token.
    POSITION_AXES: 1, or 3 (time, height, width). MASK: what a picture's tokens see in the decoder.
    RENAMED: prefixes of parameter names in the installed library and their canonical ones, first
    match wins. NOT_QUANTISED: canonical names of modules that 4-bit loading leaves alone. TOWER:
    of those that see pictures.
    """

    TITLE: str
    SPECIAL: str
    MODEL_TYPES: tuple[str, ...]
    NEEDS: Mapping[str, str]
    ARCHITECTURE: str
    IMAGE_PROCESSOR: str
    PUBLISHED: Mapping[str, Published]
    CHAT: Chat
    TENSORS: Mapping[str, BatchTensor]
    SPLIT: str
    CONFIG_TOKENS: Mapping[str, str]
    POSITION_AXES: int
    MASK: Mask
    RENAMED: tuple[tuple[str, str], ...]
    NOT_QUANTISED: tuple[str, ...]
    TOWER: tuple[str, ...]
    SAMPLES: Samples

    @staticmethod
    def processor(snapshot: Path) -> Any:
        """The stack's own processor with its defaults."""

    @staticmethod
    def config(numbers: Mapping[str, Any]) -> Any:
        """The library's config of a config.json's numbers, which it must not fill or change."""

    @staticmethod
    def tiny(config: Mapping[str, Any]) -> dict[str, Any]:
        """A config.json shrunk to two layers and two blocks; widths are multiples of 64."""

    @staticmethod
    def files(config: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a tiny snapshot holds beside config.json and weights, by file name, as text or as
        what a JSON file says: a vocabulary and a template of the project's own, and the published
        settings of the image processor. config: that of the published size."""

    @staticmethod
    def depths(config: Mapping[str, Any]) -> dict[str, int]:
        """Count by the canonical name of every numbered list of modules in a snapshot."""

    @staticmethod
    def parts(model: Any) -> Parts:
        """The modules of a model, wherever the installed library keeps them."""

    @staticmethod
    def component(name: str) -> Component:
        """What a parameter of that canonical name belongs to."""

    @staticmethod
    def picture_id(config: Any) -> int:
        """The id at which a picture's rows are put in."""

    @staticmethod
    def pictures(conversation: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The pictures of a conversation as training hands them to the processor; none: []."""

    @staticmethod
    def one_picture(processor: Any, picture: Any) -> OnePicture:
        """The image processor's answer to one picture. Raises what it raises."""

    @staticmethod
    def levels(pixels: Any) -> tuple[Any, float]:
        """uint8 levels behind normalised pixels, and the largest distance from a whole level.

        The published mean and deviation are undone, not the processor's own.
        """

    @staticmethod
    def resized(picture: Any, grid: Sequence[int]) -> Any:
        """uint8 (patches, …) levels of a picture at the grid's size by Pillow alone, in the pixels'
        order."""

    @staticmethod
    def resize_rule(height: int, width: int) -> tuple[int, int]:
        """(height, width) in px by the library's own function, under the published limits."""

    @staticmethod
    def patches(batch: Mapping[str, Any]) -> tuple[int, ...]:
        """Patches of every picture of a batch, before any are merged."""

    @staticmethod
    def filled(batch: Mapping[str, Any]) -> list[int] | None:
        """Of every picture of a batch how many places along its pixels' first axis are its own,
        where pictures are filled up to the one with most. None where none is."""

    @staticmethod
    def entering(batch: Mapping[str, Any]) -> Any:
        """A batch's pixels as the tower must be given them: as they are, or without what fills
        pictures up, one after the other."""

    @staticmethod
    def image_tokens(
        processor: Any, batch: Mapping[str, Any], pictures: Sequence[int]
    ) -> list[int]:
        """Tokens that each row's pictures must take. pictures: how many each row has."""

    @staticmethod
    def picture_grids(processor: Any, batch: Mapping[str, Any]) -> list[list[int]] | None:
        """The grid of every picture of a batch, row by row, as `one_picture` counts. None where a
        batch does not say it."""

    @staticmethod
    def proportions(grid: Sequence[int]) -> Proportions | None:
        """What a grid says of a picture's. None where it says nothing, for the picture is squeezed
        to a square: the last of its `levels`, (…, 3, side, side), is the whole of it."""

    @staticmethod
    def position_ids(model: Any, batch: Mapping[str, Any]) -> Any:
        """int64 (axes, batch, sequence), or (batch, sequence), by the library's own rule."""

    @staticmethod
    def defined_positions(config: Any, batch: Mapping[str, Any]) -> list[list[list[int]]]:
        """Per row, per axis, the position of every token that is no padding, by the publication's
        definition and no library. config: the model's. Raises NotRunnable for what it leaves open.
        """

    @staticmethod
    def seen(model: Any, batch: Mapping[str, Any]) -> list[Any]:
        """Per picture what the tower makes of it: (tokens, width)."""

    @staticmethod
    def one_by_one(*args: Any, **kwargs: Any) -> list[TowerCall]:
        """The arguments of a tower's call, split into one call per picture."""

    @staticmethod
    def together(calls: Sequence[TowerCall]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of one call for several pictures."""

    @staticmethod
    def picture_side(image_tokens: int) -> int:
        """Side in px of the square picture with about that many image tokens."""

    @staticmethod
    def vision_flops(config: Any, weights: Mapping[Component, int], patches: Sequence[int]) -> int:
        """The tower's forward. weights: matrices' elements by component."""
