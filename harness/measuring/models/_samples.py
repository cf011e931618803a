"""What a family's text and pictures must be tried with beside what every family's are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PixelLimits:
    """What a processor is told so that pictures take less memory, or small ones more.

    picture: (width, height) in px. most: below its area. fewest: above it.
    """

    picture: tuple[int, int]
    most: int
    fewest: int


@dataclass(frozen=True)
class Samples:
    """What only this family's text and pictures must be tried with.

    texts: by case, control tokens included. sizes: (width, height) in px at which its resize
    rule changes its mind. plain: two (width, height), unequal where the family can have that, that
    no resize touches; None where every picture becomes the square that the snapshot says.
    rule_sizes: (height, width) for the rule alone, no pixels. too_long: (width, height) that its
    processor refuses, None where it refuses none. limits: how its pictures are kept small; None
    where the processor has no limit in pixels.
    """

    texts: Mapping[str, str]
    sizes: Mapping[str, tuple[int, int]]
    plain: tuple[tuple[int, int], tuple[int, int]] | None
    rule_sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    too_long: tuple[int, int] | None = None
    limits: PixelLimits | None = None
