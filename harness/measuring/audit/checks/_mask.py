"""Padding and the attention mask: in the batch, and as the first layer's attention has it."""

from __future__ import annotations

from typing import Any

from harness.errors import NotRunnable
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.inside import Inside
from harness.measuring.audit.training import Batch, Training
from harness.records.audit import Basis

# Far below any score, far above the smallest number that masks are written with.
_CLOSED = -1e4


def padding_checks(training: Training, findings: Findings) -> None:
    """The mask closes padding, and nothing but padding, in every batch."""
    pad = training.pad_token_id
    if pad is None:
        findings.not_run("padding_unmasked", "The tokenizer names no padding.")
        return
    open_padding, closed_tokens = 0, 0
    for batch in training.batches:
        mask = batch.mask
        is_two = mask is None or mask.ndim == 2
        if not is_two:
            findings.not_run("padding_unmasked", "The collator's mask is of another kind.")
            return
        for row, ids in enumerate(batch.ids.tolist()):
            seen = [1] * len(ids) if mask is None else mask[row].tolist()
            padding = _padding(training, ids)
            open_padding += sum(1 for place in padding if seen[place])
            closed_tokens += sum(
                1 for token, shown in zip(ids, seen, strict=True) if not shown and token != pad
            )
    findings.put("padding_unmasked", open_padding, 0, unit="tokens", setting="attention_mask")
    findings.put("tokens_masked", closed_tokens, 0, unit="tokens", setting="attention_mask")


def _padding(training: Training, ids: list[int]) -> list[int]:
    """Places of the padding token that begin or end a row. Where it is also what begins or ends a
    text, one of them may be real."""
    pad, tokenizer = training.pad_token_id, training.tokenizer
    left = next((i for i, token in enumerate(ids) if token != pad), len(ids))
    right = next((i for i, token in enumerate(reversed(ids)) if token != pad), len(ids))
    real_left = int(pad == getattr(tokenizer, "bos_token_id", None))
    real_right = int(pad in _ends(training))
    before = range(max(0, left - real_left))
    after = range(len(ids) - max(0, right - real_right), len(ids))
    return [*before, *(place for place in after if place not in before)]


def _ends(training: Training) -> set[int]:
    """Tokens that end a text or a turn."""
    tokenizer = training.tokenizer
    ends = {getattr(tokenizer, "eos_token_id", None)}
    configured = getattr(training.core, "generation_config", None)
    several = getattr(configured, "eos_token_id", None)
    ends |= set(several) if isinstance(several, list) else {several}
    return {token for token in ends if isinstance(token, int)}


def mask_checks(training: Training, findings: Findings, batch: Batch, inside: Inside) -> None:
    """Attention of the first layer sees no padding, and every token before the one at hand."""
    opened = findings.attempt("padding_attended", lambda: _open(batch, inside.mask))
    if opened is None:
        return
    count = len(batch.ids[0])
    real = _real(batch)
    # Only what a real token sees reaches a loss.
    padding = (opened & real[:, :, None] & ~real[:, None, :]).any(1)
    findings.put(
        "padding_attended",
        int(padding.sum()),
        0,
        basis=Basis.IDENTITY,
        unit="tokens",
        setting="attention_mask",
    )
    if _is_windowed(training, count) or batch.mask is None:
        findings.not_run("tokens_unattended", "Attention has a window, or rows lie in one.")
        return
    import torch

    past = torch.ones(count, count, dtype=torch.bool, device=opened.device).tril()
    hidden = past & real[:, :, None] & real[:, None, :] & ~opened
    findings.put(
        "tokens_unattended",
        int(hidden.any(1).sum()),
        0,
        basis=Basis.IDENTITY,
        unit="tokens",
        setting="attention_mask",
    )


def _real(batch: Batch) -> Any:
    """bool (rows, tokens): what is no padding."""
    import torch

    return torch.ones_like(batch.ids, dtype=torch.bool) if batch.mask is None else batch.mask.bool()


def _open(batch: Batch, mask: Any) -> Any:
    """bool (rows, queries, keys): what attention may see. Raises NotRunnable for a mask of a kind
    that is not read here."""
    import torch

    rows, count = batch.ids.shape
    causal = torch.ones(count, count, dtype=torch.bool, device=batch.ids.device).tril()
    if mask is None:
        return causal.expand(rows, count, count)
    if not isinstance(mask, torch.Tensor) or mask.ndim not in {2, 4}:
        raise NotRunnable("The mask of the first layer is of a kind that is not read here.")
    if mask.ndim == 2:
        return causal & mask.bool()[:, None, :]
    opened = mask if mask.dtype is torch.bool else mask > _CLOSED
    return opened[:, 0, :count, :count].expand(rows, -1, -1)


def _is_windowed(training: Training, count: int) -> bool:
    """Whether a layer may see only the last tokens, fewer than the row has."""
    config = training.core.config
    text = getattr(config, "text_config", None) or config
    windows = (getattr(text, "sliding_window", None), getattr(text, "attention_chunk_size", None))
    return any(isinstance(w, int) and w < count for w in windows)
