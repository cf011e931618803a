"""Rung 12, which tokens may be drawn, how often each is, and which is taken where none is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.measuring.models import of
from harness.measuring.probes._generate import encode, new_tokens
from harness.measuring.probes._tempered import NOTHING_ELSE
from harness.recipe.published import Recipe

# What is asked for to be kept; a snapshot's own settings are switched off.
KEPT: Mapping[str, Mapping[str, float]] = {"top_k": {"top_k": 5}, "top_p": {"top_p": 0.9}}
# Closer to the last token that is kept than this, in logits: rounding may decide.
TIE = 1e-3
# A distribution of four tokens, and draws of it: rows times new tokens.
WEIGHTS = (0.4, 0.3, 0.2, 0.1)
ROWS, NEW = 4, 48
GREEDY = 8

Rows = Sequence[Mapping[str, Any]]


def kept_gap(model: Any, processor: Any, rows: Rows, recipe: Recipe, way: str) -> int:
    """Tokens that may be drawn and should not, or the other way round, by the definitions of top_k
    and of top_p (arXiv 1904.09751)."""
    generated = _generate(
        model,
        encode(processor, rows[:1], recipe, of(model)),
        max_new_tokens=1,
        do_sample=True,
        temperature=recipe.generation.temperature,
        **{**NOTHING_ELSE, **KEPT[way]},
        output_scores=True,
        output_logits=True,
        return_dict_in_generate=True,
    )
    logits = generated.logits[0][0].double().cpu().numpy() / recipe.generation.temperature
    kept = np.isfinite(generated.scores[0][0].float().cpu().numpy())
    least = last_kept(logits, way)
    clear = np.abs(logits - least) > TIE
    return int((kept != (logits >= least))[clear].sum())


def last_kept(logits: Any, way: str) -> float:
    """The smallest logit that is kept. logits: float64 (vocabulary,)."""
    ordered = np.sort(logits)[::-1]
    if way == "top_k":
        return float(ordered[int(KEPT[way]["top_k"]) - 1])
    shares = np.exp(ordered - ordered[0])
    before = (np.cumsum(shares) - shares) / shares.sum()
    # As few as reach the share: those before which less than it has been counted.
    return float(ordered[before < KEPT[way]["top_p"]][-1])


def drawn_gap(model: Any, processor: Any, rows: Rows, recipe: Recipe, seed: int) -> float:
    """Total variation between how often each of four tokens is drawn and how often it should be:
    their weights to the power of one over the temperature (arXiv 1503.02531)."""
    import torch
    from transformers import LogitsProcessor, LogitsProcessorList

    encode_word = processor.tokenizer.encode
    letters = [encode_word(letter, add_special_tokens=False)[-1] for letter in "abcd"]

    class Weighted(LogitsProcessor):
        """Gives each row the same four tokens."""

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            given = torch.full_like(scores, float("-inf"))
            given[:, letters] = torch.tensor(WEIGHTS, device=scores.device).log().to(scores.dtype)
            return given

    repeated = [rows[i % len(rows)] for i in range(ROWS)]
    inputs = encode(processor, repeated, recipe, of(model))
    torch.manual_seed(seed)
    whole = _generate(
        model,
        inputs,
        max_new_tokens=NEW,
        do_sample=True,
        temperature=recipe.generation.temperature,
        **NOTHING_ELSE,
        logits_processor=LogitsProcessorList([Weighted()]),
    )
    counts = Counter(new_tokens(whole, inputs).reshape(-1).tolist())
    powers = np.asarray(WEIGHTS) ** (1 / recipe.generation.temperature)
    wanted = powers / powers.sum()
    shares = np.asarray([counts[letter] for letter in letters]) / (ROWS * NEW)
    # Whatever else was drawn is missing from the four.
    return float(max(np.abs(shares - wanted).sum() / 2, 1 - shares.sum()))


def greedy_gap(model: Any, processor: Any, rows: Rows, recipe: Recipe) -> float:
    """How far below its step's largest logit any token lies that is taken without drawing."""
    import torch

    inputs = encode(processor, rows[:2], recipe, of(model))
    generated = _generate(
        model,
        inputs,
        max_new_tokens=GREEDY,
        min_new_tokens=GREEDY,
        do_sample=False,
        repetition_penalty=1.0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    taken = new_tokens(generated.sequences, inputs)
    gaps = []
    ends = torch.as_tensor(_ends(model, processor), device=taken.device)
    for step, logits in enumerate(generated.logits):
        # Ends are forbidden here: a text of fewer tokens says less.
        allowed = logits.double().index_fill(1, ends, float("-inf"))
        chosen = logits.double().gather(1, taken[:, step : step + 1])[:, 0]
        gaps.append(float((allowed.max(dim=1).values - chosen).abs().max()))
    return max(gaps)


def _ends(model: Any, processor: Any) -> list[int]:
    ends = model.generation_config.eos_token_id
    if ends is None:
        ends = processor.tokenizer.eos_token_id
    return [*ends] if isinstance(ends, list | tuple) else [ends]


def decoded(processor: Any, end: str) -> str:
    """A text with spaces before its marks and ends of turns in it, through ids and back by the
    recipe's call."""
    text = f"Soft , small . It 's not {end}heavy ?{end}"
    ids = processor.tokenizer.encode(text, add_special_tokens=False)
    [back] = processor.batch_decode(
        [ids], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return str(back)


def _generate(model: Any, inputs: Mapping[str, Any], **arguments: Any) -> Any:
    import torch

    device = next(model.parameters()).device
    with torch.no_grad():
        return model.generate(**{k: v.to(device) for k, v in inputs.items()}, **arguments)
