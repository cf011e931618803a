"""Other models' control tokens, which are plain text here."""

from __future__ import annotations

from harness.measuring.audit.finding import Findings
from harness.measuring.audit.rows import rows_of
from harness.measuring.audit.training import Training

# Control tokens of published chat models: what begins and ends texts and turns, and what stands
# for a picture before a processor has put in its tokens.
FOREIGN = (
    "</s>",
    "<eos>",
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<|end|>",
    "[INST]",
    "[/INST]",
    "<image>",
    "<|image|>",
    "<|image_pad|>",
    "<image_soft_token>",
)


def foreign_checks(training: Training, findings: Findings) -> None:
    """Rows hold no control token of another model: here its letters are tokens like any other."""
    vocabulary = training.tokenizer.get_vocab()
    others = [token for token in FOREIGN if token not in vocabulary]
    named = [(row, token) for row in rows_of(training) for token in others if token in row.text]
    findings.put(
        "foreign_tokens",
        len({row.number for row, _ in named}),
        0,
        unit="rows",
        evidence=[f"{row.name}: {token}" for row, token in named],
        setting="train_dataset",
    )
