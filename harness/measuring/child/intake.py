"""Look through a data source before anything is measured: a bad row must not end a training."""

from __future__ import annotations

from pathlib import Path

from harness.errors import BadInput
from harness.measuring.snapshots.weights import json_object


def check_data(data: str, snapshot: Path) -> None:
    """Read every row of a data source once. Raises BadInput naming row, column and what is wrong.

    Besides what data/dataset.py refuses: control tokens of the snapshot's vocabulary inside the
    product texts. They would end a turn early or claim a picture that is not there, and train
    silently on a wrong conversation. The catalogue is our own and is not read.
    """
    if data == "catalogue":
        return
    from harness.data.dataset import TEXT_COLUMNS, load_rows

    tokens = control_tokens(snapshot)
    for row in [*load_rows(data, "train"), *load_rows(data, "heldout")]:
        for column in TEXT_COLUMNS:
            hit = next((token for token in tokens if token in row[column]), None)
            if hit is not None:
                raise BadInput(
                    f"{row['id']} of {data}, column {column!r}, contains the control token "
                    f"{hit}; remove it from the product data."
                )


def control_tokens(snapshot: Path) -> tuple[str, ...]:
    """The special tokens that the snapshot's tokenizer_config.json adds to the vocabulary."""
    added = json_object(snapshot / "tokenizer_config.json").get("added_tokens_decoder") or {}
    return tuple(str(entry["content"]) for entry in added.values())
