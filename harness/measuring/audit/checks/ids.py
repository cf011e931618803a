"""Ids: tokens that exist, rows that are whole, padding that the mask knows."""

from __future__ import annotations

from itertools import takewhile

from harness.measuring.audit.finding import Findings
from harness.measuring.audit.rows import Row, cut, is_cut_at_start, limits, rows_of
from harness.measuring.audit.training import Batch, Training
from harness.records.audit import Basis, Relation


def checks(training: Training, findings: Findings) -> None:
    """See the module."""
    _known(training, findings)
    _lengths(training, findings)
    _padding(training, findings)


def _rows(findings: Findings, name: str, rows: list[Row], setting: str) -> None:
    evidence = [f"{row.name}: {len(row.ids)} tokens" for row in rows]
    findings.put(name, len(rows), 0, unit="rows", evidence=evidence, setting=setting)


def _known(training: Training, findings: Findings) -> None:
    """Every id has a row in the embedding and a token in the tokenizer."""
    ids = {token_id for row in rows_of(training) for token_id in row.ids}
    if training.vocabulary is None:
        findings.not_run("largest_id", "The model does not show its embedding.")
    else:
        findings.put(
            "largest_id",
            max(ids, default=0),
            training.vocabulary - 1,
            relation=Relation.AT_MOST,
            unit="id",
            setting="resize_token_embeddings",
        )
    if training.tokenizer is None:
        findings.not_run("unknown_tokens", "The Trainer has no tokenizer: no id can be named.")
        return
    unknown = getattr(training.tokenizer, "unk_token_id", None)
    ends = {training.tokenizer.eos_token_id, training.pad_token_id}
    count = 0
    if unknown is not None and unknown not in ends:
        count = sum(row.ids.count(unknown) for row in rows_of(training))
    findings.put("unknown_tokens", count, 0, unit="tokens", setting="processing_class")
    unnamed = sorted(ids - set(training.tokenizer.get_vocab().values()))
    findings.put(
        "unnamed_tokens",
        len(unnamed),
        0,
        unit="ids",
        evidence=[str(token_id) for token_id in unnamed],
        setting="processing_class",
    )


def _lengths(training: Training, findings: Findings) -> None:
    """Rows hold something, and nothing of them was cut."""
    rows = rows_of(training)
    lengths = [len(row.ids) for row in rows]
    findings.record("longest", max(lengths), unit="tokens")
    findings.record("shortest", min(lengths), unit="tokens")
    findings.record("length_limits", [*sorted(limits(training))], unit="tokens")
    _rows(findings, "rows_empty", [row for row in rows if not row.ids], "data_collator")
    if training.declared.get("packing") is True:
        parts = [r for r in rows if cut(training, r) or is_cut_at_start(training, r)]
        _rows(findings, "packing_cuts", parts, "packing")
        return
    for name, what in (
        ("pictures_cut", "picture"),
        ("prompts_cut", "prompt"),
        ("answers_cut", "answer"),
    ):
        _rows(findings, name, [r for r in rows if cut(training, r) == what], "max_length")
    if training.spelled is None:
        findings.not_run(
            "starts_cut", "There is no chat template that can be read: no start is known."
        )
        return
    starts = [row for row in rows if is_cut_at_start(training, row)]
    _rows(findings, "starts_cut", starts, "max_length")


def _padding(training: Training, findings: Findings) -> None:
    """The mask leaves out padding and nothing else, and padding is no end of a turn."""
    pad = training.pad_token_id
    findings.record("padding_side", getattr(training.tokenizer, "padding_side", ""), unit="text")
    hidden, attended, ragged = 0, 0, 0
    for batch in training.batches:
        if batch.mask is None:
            attended += sum(_padded_ends(training, ids) for ids in batch.ids.tolist())
            continue
        ragged += _ragged(batch)
        if pad is not None:
            hidden += int(((batch.mask == 0) & (batch.ids != pad)).sum())
    attended += sum(
        _padded_ends(training, row.ids) for row in rows_of(training) if row.batch.mask is not None
    )
    findings.put("tokens_hidden", hidden, 0, unit="tokens", setting="data_collator")
    findings.put("padding_attended", attended, 0, unit="tokens", setting="data_collator")
    findings.put("mask_holes", ragged, 0, unit="rows", setting="data_collator")
    _ends_as_padding(training, findings)


def _padded_ends(training: Training, ids: list[int]) -> int:
    """Padding at a row's ends that the mask lets be seen; one is an end where both are one id."""
    pad = training.pad_token_id
    if pad is None or not ids:
        return 0
    start = len(list(takewhile(lambda token_id: token_id == pad, ids)))
    if start == len(ids):
        return start
    stop = len(list(takewhile(lambda token_id: token_id == pad, reversed(ids))))
    ends = {getattr(training.tokenizer, name, None) for name in ("eos_token_id", "bos_token_id")}
    own = 1 if pad in ends else 0
    return max(0, start - own) + max(0, stop - own)


def _ragged(batch: Batch) -> int:
    """Rows whose mask is not one run of ones."""
    mask = batch.mask.bool().int()
    changes = (mask[:, 1:] != mask[:, :-1]).sum(-1)
    inside = (changes == 2) & (mask[:, 0] == 0)
    return int(((changes > 1) & ~inside).sum())


def _ends_as_padding(training: Training, findings: Findings) -> None:
    """Ends of trained turns that no label asks for because they are the padding's id."""
    if training.spelled is None:
        findings.not_run(
            "ends_as_padding", "There is no chat template that can be read: no end is known."
        )
        return
    masked = 0
    for row in rows_of(training):
        for turn in row.answers:
            end = turn.end[0]
            trained = any(row.is_trained(token) for token in range(turn.start, turn.stop))
            if turn.closed and end < len(row.ids) and row.ids[end] == training.pad_token_id:
                masked += trained and not row.is_trained(end)
    findings.put(
        "ends_as_padding",
        masked,
        0,
        unit="turns",
        basis=Basis.ARITHMETIC,
        evidence=[f"pad_token {training.tokenizer.pad_token!r}"] if masked else (),
        setting="pad_token",
    )
