"""What the ladder must show of any samples, worked out from what a family's oracle says of one.

A family's oracle (`<family>.py`) gives `oracle(folder)`, an `Oracle` for a snapshot's vocabulary
and settings; `architecture(config)`, its matrices; `settings(config)`, what its modules compute
with beside them (held.py); SIZES, the published sizes' config numbers, and
COUNTS, their published numbers of parameters; FAULTS, changes of a tiny model's config each of
which another loss follows from, by what is wrong then; PLANTED, if any, what does the same to a
loaded model, for parts that no config switches; IDLE, parameters of a tiny model without a
gradient, by name, with the reason. KNOWN, by a stack's name what it is known to show otherwise than
the truths, from which golden/expected/ is written (suites/write_families.py), and ABSENT, by the
same name, the reason by each finding of the recipe's own family that it does not show. The rest of
its file is its own.

Conversations are lists of turns whose contents are lists of parts, as a chat template takes them;
of a picture in a conversation only `height` and `width` are looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .adapter import Adapter

Turns = Sequence[Mapping[str, Any]]
SIDES = ("left", "right")
ROLES = ("system", "user", "assistant")
IGNORED = -100
# Above this many pixels the second path stops at the fetched picture, as rung 4 does.
LARGE = 4_000_000
# Float32 against float64: losses of about 7 nats through a few layers; every part that a tiny model
# has moves them by more.
PLAIN = 2e-5
# Bytes of the weights of a model whose forward pass is worked out.
MOST_WEIGHTS = 100_000_000


@dataclass(frozen=True)
class Truth:
    """What a metric must be, by case. No cases: it cannot be told for these samples; `reason`
    says why. within: how far a number may be off, for one that is recorded rounded. otherwise: by
    the name of a known fault, what it makes of a case. required: whether every release shows it."""

    rung: str
    metric: str
    cases: Mapping[str, Any]
    origin: str
    reason: str
    within: float = 0.0
    otherwise: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    required: bool = True


@dataclass(frozen=True)
class Own:
    """Samples. rendered: (turns, the template's switches) by case. texts: by case. batch: the
    conversations of the fixed batch. pictures: (height, width) by case, on the recipe's path.
    direct: pictures (PIL) by case, given to the processor as they are and on the recipe's path.
    rules: (height, width) by case, for the resize rule alone. plain: conversations by case whose
    loss is worked out, their pictures of sizes that nothing resizes. mask_prompt: whether only
    completions are trained. adapter: with which those without pictures are worked out once more;
    None for one that is not of known numbers."""

    rendered: Mapping[str, tuple[Turns, Mapping[str, bool]]]
    texts: Mapping[str, str]
    batch: Sequence[Turns]
    pictures: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    direct: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    plain: Mapping[str, Turns] = field(default_factory=dict)
    mask_prompt: bool = False
    adapter: Adapter | None = None


@dataclass(frozen=True)
class Sample:
    """A conversation as the model is given it, without padding. positions: one list an axis."""

    ids: list[int]
    positions: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Words:
    """Where a family's truths are from, and why they hold, for people.

    template, vocabulary, pictures, positions, labels, together, model: origins. masked: what no
    label asks for. encoded, kept: by which algorithm, and what it keeps of a text. grid, token:
    what the grid and one position of a picture are. placed: what the positions are. resized: by
    which filter the published processor makes a picture larger or smaller. lined_up: in which order
    a batch says its pictures' grids, '' where it says none.
    """

    template: str
    vocabulary: str
    pictures: str
    positions: str
    labels: str
    together: str
    masked: str
    encoded: str
    kept: str
    grid: str
    token: str
    placed: str
    model: str
    resized: str = "Pillow's bicubic"
    lined_up: str = "a batch's pictures, row by row, in their order"


@dataclass(frozen=True)
class Known:
    """What a stack shows otherwise than the truths, and why. finding: its id, `*` for what ends it
    otherwise. reference: where that can be read. when, optional, otherwise: as the list has them.
    sized: whether how large it is says something. within: by how much that may differ elsewhere,
    share: by how much of itself, most: what it is at most, and spread, why; detectable: what is
    seen all the same. type, says: of a call that breaks."""

    finding: str
    reason: str
    reference: str = ""
    when: str = "always"
    optional: bool = False
    otherwise: str = ""
    sized: bool = True
    within: float = 0.0
    share: float = 0.0
    most: float = 0.0
    spread: str = ""
    detectable: str = ""
    type: str = ""
    says: str = ""


class Oracle(Protocol):
    """What a family says of one sample, for a snapshot's vocabulary and settings.

    lacks: why texts cannot be encoded, '' where they can. pad: the id of padding. picture: the id
    that stands once per position of a picture. never: ids that no label asks for besides padding.
    constants: (value, why) of rung 3, by metric.
    """

    lacks: str
    pad: int
    picture: int
    never: frozenset[int]
    constants: Mapping[str, tuple[Any, str]]
    words: Words

    def render(self, turns: Turns, **switches: bool) -> str:
        """The conversation in the template's words."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text that may hold control tokens."""

    def decoded(self, text: str) -> str:
        """What comes back of a text that was encoded."""

    def sample(self, turns: Turns) -> Sample:
        """A conversation of the recipe's path, pictures fetched and processed."""

    def answer(self, ids: Sequence[int]) -> int:
        """Where the last answer's own text begins."""

    def roles(self, ids: Sequence[int]) -> list[str]:
        """Whose text each token is: a role or `control`."""

    def undecided(self, height: int, width: int) -> bool:
        """Whether a float's last bit decides the size that a picture of the path gets."""

    def fetched(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) after the recipe's own resize; the same where a family has none."""

    def grid(self, height: int, width: int) -> list[int]:
        """What the processor counts of a picture: whole numbers by axis, as the family has them."""

    def tokens(self, height: int, width: int) -> int:
        """Positions that a picture given to the processor takes in a text."""

    def levels(self, picture: Any, path: Sequence[tuple[int, int]]) -> str | None:
        """Digest of the 0–255 levels in the processor's order; path: (height, width) that the
        recipe resizes the picture to before. None for one that is too large to be worked out."""

    @property
    def weights(self) -> Mapping[str, Any]:
        """float64 by the checkpoint's names; none where there are none, or too many."""

    def logits(self, turns: Turns) -> Any | None:
        """float64 (tokens, vocabulary) by a forward pass of our own from the weights; None for a
        snapshot without weights or with too many."""

    def shown(self, turns: Turns) -> Any | None:
        """float64 (tokens, width): what the pictures of a conversation that has some become before
        they enter the decoder; None like `logits`, and where a resize may round otherwise."""

    def rule(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) by the resize rule under the published limits."""


def grids(oracle: Oracle, sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Of a row's pictures, (height, width) each. An oracle has a `row_grids` of its own where
    pictures of a row that has several become something else than each alone."""
    own = getattr(oracle, "row_grids", None)
    return [oracle.grid(*size) for size in sizes] if own is None else own(sizes)


def read_json(path: Path) -> Mapping[str, Any]:
    """A snapshot's file."""
    content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def pictures(turns: Turns) -> list[Any]:
    """The pictures of a conversation, in order."""
    return [p["image"] for turn in turns for p in turn["content"] if p["type"] == "image"]
