"""Other models' control tokens, which are plain text here."""

from __future__ import annotations

from harness.measuring.audit.finding import Findings
from harness.measuring.audit.rows import rows_of
from harness.measuring.audit.training import Training
from harness.measuring.models import families, family

# Of published chat models that are no family here: what begins and ends texts and turns.
OTHERS = (
    "</s>",
    "<|eot_id|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|end|>",
    "[INST]",
    "[/INST]",
)


def _controls() -> set[str]:
    """What looks like a control token, of every family and of others."""
    own = {token for name in families() for token in family(name).CHAT.controls if "<" in token}
    return own | set(OTHERS)


def foreign_checks(training: Training, findings: Findings) -> None:
    """Rows hold no control token of another model: here its letters are tokens like any other."""
    vocabulary = training.tokenizer.get_vocab()
    others = [token for token in sorted(_controls()) if token not in vocabulary]
    named = [(row, token) for row in rows_of(training) for token in others if token in row.text]
    findings.put(
        "foreign_tokens",
        len({row.number for row, _ in named}),
        0,
        unit="rows",
        evidence=[f"{row.name}: {token}" for row, token in named],
        setting="train_dataset",
    )
