"""NF4 with double quantisation from its definition, one value at a time, in numpy.

Independent of harness/measuring/instruments/nf4.py: thresholds are compared one by one, the nested
code is the nearest map value found by looking at all 256, and the map comes from its formula in
float64. Sources: QLoRA (arXiv 2305.14314) appendix E; 8-bit optimizers (arXiv 2110.02861) and
arXiv 1511.04561 for the dynamic map.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

VALUES = np.array(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ],
    dtype=np.float32,
)
# The CUDA kernel's decision constants as its source spells them, in decimal. A scaled value above
# the k-th has a code of at least k + 1.
CUDA_LITERALS = (
    "-0.8480964004993439",
    "-0.6106329262256622",
    "-0.4599952697753906",
    "-0.33967943489551544",
    "-0.23460740596055984",
    "-0.13791173323988914",
    "-0.045525018125772476",
    "0.03979014977812767",
    "0.1202552504837513",
    "0.2035212516784668",
    "0.2920137718319893",
    "0.3893125355243683",
    "0.5016634166240692",
    "0.6427869200706482",
    "0.8614784181118011",
)


def float32_of(literal: str) -> np.float32:
    """The float32 nearest to a decimal literal, rounded once (not through float64)."""
    exact = Fraction(literal)
    start = np.float32(float(literal))
    near = (start, np.nextafter(start, np.float32(-9)), np.nextafter(start, np.float32(9)))
    return min(near, key=lambda x: abs(Fraction(float(x)) - exact))


CUDA_THRESHOLDS = np.array([float32_of(text) for text in CUDA_LITERALS], dtype=np.float32)
# By definition: halfway between two neighbours, in float32.
MIDPOINTS = (VALUES[1:] + VALUES[:-1]) * np.float32(0.5)


def dynamic_map() -> np.ndarray:
    """256 values in float64: +-(mean of neighbouring tenths) * 10^(i-6), and 0 and 1."""
    values = [0.0, 1.0]
    for i in range(7):
        parts = 2**i
        for k in range(parts):
            low, high = 0.1 + 0.9 * k / parts, 0.1 + 0.9 * (k + 1) / parts
            mean = (low + high) / 2 * 10.0 ** (i - 6)
            values += [mean, -mean]
    return np.array(sorted(values))


def code_of(scaled: np.float32, thresholds: np.ndarray = MIDPOINTS) -> int:
    """4-bit code of a value in [-1, 1]."""
    return int(sum(bool(scaled > limit) for limit in thresholds))


def nearest_code(scaled: np.float32) -> int:
    """The value at the smallest distance, the first one where several are as near."""
    return int(np.argmin(np.abs(scaled - VALUES)))


def pack(codes: list[int]) -> np.ndarray:
    """Two codes a byte, the first in the high half; an odd end is filled with the code of 0."""
    if len(codes) % 2:
        codes = [*codes, 7]
    return np.array([a * 16 + b for a, b in zip(codes[::2], codes[1::2], strict=True)], np.uint8)


def blocks(values: np.ndarray, size: int) -> list[np.ndarray]:
    """Consecutive pieces of that size, the last one shorter."""
    return [values[i : i + size] for i in range(0, len(values), size)]


def quantise(
    weight: np.ndarray, code: Callable[[np.float32], int] = code_of
) -> tuple[np.ndarray, np.ndarray]:
    """Packed codes (uint8) and true absmax per 64 values (float32) of a flat float32 array.

    code: of a value in [-1, 1]. Blocks of zeros get the code of 0, as the definition says; the CUDA
    kernel gives them 0 / 0.
    """
    codes: list[int] = []
    scales = []
    for block in blocks(weight, 64):
        scale = np.float32(np.max(np.abs(block)))
        scales.append(scale)
        inverse = np.float32(1) / scale if scale else np.float32(0)
        codes += [code(np.float32(x * inverse)) for x in block]
    return pack(codes), np.array(scales, np.float32)


def nested(
    scales: np.ndarray, lowest: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Nearest nested codes, distance of each value to its decision boundary, scales, offset.

    lowest: stands for the map's lowest value where a library has overwritten it. The distance (in
    units of the nested scale) lets a caller leave out values that rounding or a coarse lookup
    table may put on either side.
    """
    table = dynamic_map()
    if lowest is not None:
        table[0] = lowest
    offset = float(np.mean(scales.astype(np.float64)))
    codes, margins, tops = [], [], []
    for block in blocks(scales.astype(np.float64) - offset, 256):
        top = float(np.max(np.abs(block)))
        tops.append(top)
        for value in block:
            scaled = value / top if top else 0.0
            code = int(np.argmin(np.abs(table - scaled)))
            codes.append(code)
            middles = (table[:-1] + table[1:]) / 2
            margins.append(float(np.min(np.abs(middles - scaled))))
    return np.array(codes, np.uint8), np.array(margins), np.array(tops), offset
