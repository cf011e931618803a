"""Tokens that the snapshot's tokenizer does not have: do their rows train?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.errors import NotRunnable
from harness.measuring.audit.finding import Findings
from harness.measuring.audit.rows import rows_of
from harness.measuring.audit.training import Training


def new_token_checks(training: Training, findings: Findings) -> None:
    """Tokens that the snapshot's own tokenizer does not have, and that stand in rows, train: their
    row of the embedding where they are read, that of the head where they are targets."""
    names = findings.attempt("new_tokens_untrained", lambda: _new_tokens(training))
    if names is None:
        return
    core = training.core
    embedding, head = core.get_input_embeddings(), core.get_output_embeddings()
    untrained = []
    for token_id, name in sorted(names.items()):
        read = _trains(embedding, token_id)
        is_target = any(
            row.labels is not None and token_id in row.labels for row in rows_of(training)
        )
        if not read:
            untrained.append(f"{name} in the embedding")
        # Asked of the head's own tensors, whatever the config says is tied: peft puts the same
        # single rows on both, and a copy of the table leaves a head that was tied to it behind.
        if is_target and head is not None and not _trains(head, token_id):
            untrained.append(f"{name} in the head")
    findings.put(
        "new_tokens_untrained",
        len(untrained),
        0,
        unit="rows",
        evidence=untrained,
        setting="modules_to_save",
    )


def _new_tokens(training: Training) -> dict[int, str]:
    """By id, those of the captured rows. Raises NotRunnable where the snapshot has no tokenizer."""
    if training.tokenizer is None:
        raise NotRunnable("The Trainer has no tokenizer: no token can be read.")
    before = _snapshot_tokens(training)
    ids = {token_id for row in rows_of(training) for token_id in row.ids}
    return {
        token_id: name
        for name, token_id in training.tokenizer.get_vocab().items()
        if token_id in ids and name not in before
    }


def _snapshot_tokens(training: Training) -> set[str]:
    from transformers import AutoTokenizer

    path = str(getattr(training.core, "name_or_path", "") or "")
    if not path:
        raise NotRunnable("The model does not say which snapshot it was loaded from.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise NotRunnable(f"The tokenizer of {path} cannot be read ({error}).") from error
    return set(tokenizer.get_vocab())


def _trains(module: Any, token_id: int) -> bool:
    """Whether a token's row of an embedding or head changes in training: with the whole table, by
    an adapter on it, or by peft's rows of single tokens."""
    if module is None:
        return False
    trained = {n for n, p in module.named_parameters() if p.requires_grad}
    if any("trainable_tokens" not in name for name in trained):
        return True
    return bool(trained) and token_id in set(_single_tokens(module))


def _single_tokens(module: Any) -> Iterator[int]:
    for inner in module.modules():
        for indices in dict(getattr(inner, "token_indices", None) or {}).values():
            yield from map(int, indices)
