"""Labels: what the loss asks for, token by token and by role, and what it must never ask for."""

from __future__ import annotations

from collections import Counter

from harness.measuring.audit.contents import pictures_of
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.training import Batch, Training
from harness.measuring.audit.turns import CONTROL, roles_of
from harness.records.audit import Basis, DrawnRow
from harness.records.beside import Token

IGNORED = -100
# Rows that are drawn: a reader looks at one or two.
DRAWN = 2


def checks(training: Training, findings: Findings) -> None:
    """See the module."""
    if any(batch.labels is None for batch in training.batches):
        findings.put("there", False, True, setting="data_collator")
        return
    _never(training, findings)
    _shares(training, findings)
    for number, (batch, row) in enumerate(_rows(training)[:DRAWN]):
        findings.rows.append(_drawn(training, batch, row, number))


def _rows(training: Training) -> list[tuple[Batch, int]]:
    return [(batch, row) for batch in training.batches for row in range(len(batch.ids))]


def _never(training: Training, findings: Findings) -> None:
    """Padding and what stands for pictures is never a target."""
    padded, asked = 0, Counter[str]()
    for batch in training.batches:
        trained = batch.labels != IGNORED
        if batch.mask is not None:
            padded += int((trained & (batch.mask == 0)).sum())
        for token_id, token in training.never_trained.items():
            asked[token] += int((trained & (batch.labels == token_id)).sum())
    findings.put("padding_trained", padded, 0, unit="tokens", setting="data_collator")
    if training.never_trained:
        findings.put(
            "image_tokens_trained",
            sum(asked.values()),
            0,
            unit="tokens",
            evidence=[f"{token} × {count}" for token, count in asked.items() if count],
            setting="data_collator",
        )


def _shares(training: Training, findings: Findings) -> None:
    total, trained, by_role = 0, 0, Counter[str]()
    for batch, row in _rows(training):
        labels = training.row_labels(batch, row)
        roles = roles_of(len(labels), training.row_turns(batch, row))
        total += len(labels)
        for label, role in zip(labels, roles, strict=True):
            if label != IGNORED:
                trained += 1
                by_role[role] += 1
    findings.record("trained_share", trained / total if total else 0.0, unit="share")
    findings.record("trained_by_role", dict(by_role), unit="tokens")
    prompt = sum(n for role, n in by_role.items() if role not in {"assistant", CONTROL})
    if training.loss_on in {"assistant", "completion"}:
        findings.put("prompt_trained", prompt, 0, basis=Basis.DECLARED, unit="tokens")
    elif not training.loss_on and training.spelled is not None:
        findings.put("prompt_trained_unsaid", prompt, 0, unit="tokens")


def _drawn(training: Training, batch: Batch, row: int, number: int) -> DrawnRow:
    ids, labels = training.row_ids(batch, row), training.row_labels(batch, row)
    texts = training.row_texts(batch, row)
    roles = roles_of(len(ids), training.row_turns(batch, row))
    tokens = [
        Token(
            text,
            "image"
            if token_id == training.picture_token_id
            else "trained"
            if label != IGNORED
            else "masked",
            role,
        )
        for token_id, label, text, role in zip(ids, labels, texts, roles, strict=True)
    ]
    pictures = pictures_of(batch.features[row]) if row < len(batch.features) else []
    sizes = tuple((int(p.width), int(p.height)) for p in pictures)
    return DrawnRow(number, "", tuple(tokens), sizes)
