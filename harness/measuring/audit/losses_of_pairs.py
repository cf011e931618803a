"""Losses of preference pairs as their papers define them, in float64 and without any library's.

`chosen`, `rejected`: (pairs,) log π(y|x) - log π_ref(y|x) of both answers. Those that releases of
TRL define differently under one name (bco_pair's shift, label smoothing of sigmoid) are not here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ratios:
    """chosen, rejected: float64 (pairs,) log-ratios. long_chosen, long_rejected: tokens of each
    answer. nll: float64, the mean over all tokens of the chosen answers of -log π."""

    chosen: Any
    rejected: Any
    long_chosen: Any
    long_rejected: Any
    nll: Any

    @property
    def margin(self) -> Any:
        """By how much more the chosen answers gained."""
        return self.chosen - self.rejected

    @property
    def margin_by_token(self) -> Any:
        """The same of means over each answer's tokens."""
        return self.chosen / self.long_chosen - self.rejected / self.long_rejected


@dataclass(frozen=True)
class Strength:
    """beta: of the preference. flipped: the share of pairs that are taken for wrongly labelled."""

    beta: float
    flipped: float


def _log_sigmoid(x: Any) -> Any:
    import torch

    return -torch.log1p(torch.exp(-x))


def _sigmoid(x: Any) -> Any:
    return _log_sigmoid(x).exp()


def _dpo(given: Ratios, by: Strength) -> Any:
    """Rafailov et al., arXiv 2305.18290, eq. 7."""
    return -_log_sigmoid(by.beta * given.margin)


def _dpo_by_token(given: Ratios, by: Strength) -> Any:
    """The same of means over tokens, as Tülu 3 has it (arXiv 2411.15124)."""
    return -_log_sigmoid(by.beta * given.margin_by_token)


def _hinge(given: Ratios, by: Strength) -> Any:
    """SLiC-HF, arXiv 2305.10425, of the margin: max(0, 1 - β margin)."""
    return (1 - by.beta * given.margin).clamp(min=0)


def _ipo(given: Ratios, by: Strength) -> Any:
    """Azar et al., arXiv 2310.12036, eq. 17; by token, as its authors said that it is meant."""
    return (given.margin_by_token - 1 / (2 * by.beta)) ** 2


def _robust(given: Ratios, by: Strength) -> Any:
    """Chowdhury et al., arXiv 2403.00409."""
    right, wrong = (_log_sigmoid(sign * by.beta * given.margin) for sign in (1, -1))
    return ((1 - by.flipped) * -right + by.flipped * wrong) / (1 - 2 * by.flipped)


def _exo(given: Ratios, by: Strength) -> Any:
    """Ji et al., arXiv 2402.00856, eq. 16: KL(p || q) of two answers, q = (1 - ε, ε)."""
    right, wrong = (_log_sigmoid(sign * by.beta * given.margin) for sign in (1, -1))
    kept, flipped = math.log1p(-by.flipped), math.log(by.flipped)
    return right.exp() * (right - kept) + wrong.exp() * (wrong - flipped)


def _nca(given: Ratios, by: Strength) -> Any:
    """Chen et al., arXiv 2402.05369, for two answers."""
    chosen, rejected = by.beta * given.chosen, by.beta * given.rejected
    return -_log_sigmoid(chosen) - (_log_sigmoid(-chosen) + _log_sigmoid(-rejected)) / 2


def _sppo(given: Ratios, by: Strength) -> Any:
    """Wu et al., arXiv 2405.00675, eq. 4.7 with certain winners."""
    half = 1 / (2 * by.beta)
    return (given.chosen - half) ** 2 + (given.rejected + half) ** 2


def _apo_zero(given: Ratios, by: Strength) -> Any:
    """D'Oosterlinck et al., arXiv 2408.06266, eq. 7."""
    return 1 - _sigmoid(by.beta * given.chosen) + _sigmoid(by.beta * given.rejected)


def _apo_down(given: Ratios, by: Strength) -> Any:
    """The same, eq. 8."""
    return _sigmoid(by.beta * given.chosen) + 1 - _sigmoid(by.beta * given.margin)


def _aot(given: Ratios, by: Strength) -> Any:
    """Melnyk et al., arXiv 2406.05882, unpaired: sorted ratios against each other."""
    import torch

    chosen, rejected = torch.sort(given.chosen).values, torch.sort(given.rejected).values
    right, wrong = (_log_sigmoid(sign * by.beta * (chosen - rejected)) for sign in (1, -1))
    return -(1 - by.flipped) * right - by.flipped * wrong


def _sft(given: Ratios, by: Strength) -> Any:
    """Cross-entropy of the chosen answers, as RPO (arXiv 2404.19733) and MPO (2411.10442) add."""
    return given.nll


# By the name that TRL's loss_type has.
LOSSES: Mapping[str, Callable[[Ratios, Strength], Any]] = {
    "sigmoid": _dpo,
    "sigmoid_norm": _dpo_by_token,
    "hinge": _hinge,
    "ipo": _ipo,
    "robust": _robust,
    "exo_pair": _exo,
    "nca_pair": _nca,
    "sppo_hard": _sppo,
    "apo_zero": _apo_zero,
    "apo_down": _apo_down,
    "aot_unpaired": _aot,
    "sft": _sft,
}
# What a loss does with the share of wrongly labelled pairs is its own; of others it must be 0.
SMOOTHED = frozenset({"robust", "exo_pair", "aot_unpaired"})


def loss_of_pairs(given: Ratios, by: Strength, kinds: Mapping[str, float]) -> float:
    """Their mean over pairs, each multiplied by its weight. kinds: weight by name in `LOSSES`."""
    return sum(weight * float(LOSSES[kind](given, by).mean()) for kind, weight in kinds.items())
